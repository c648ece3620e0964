"""Calls about logging in."""

from __future__ import annotations

from dm_bridge.bridge.logins import Logins
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.choosing import Choosing
from dm_bridge.provisioning.logins import LoginProcesses
from dm_bridge.provisioning.refusals import Refusal, not_found
from dm_bridge.provisioning.wire import LoginStep, Nothing, StepValues


class LoginCalls:
    """Answers them."""

    def __init__(self, logins: Logins, choosing: Choosing, processes: LoginProcesses) -> None:
        self._logins = logins
        self._choosing = choosing
        self._processes = processes

    async def start(self, call: Call) -> LoginStep:
        networks = {network.name: network for network in self._logins.networks}
        network = next((n for n in networks.values() if n.name == call.path["flowID"]), None)
        if network is None:
            raise not_found("Login flow")
        again = self._choosing.asked(call)
        override = None if again is None else again.id
        return await self._processes.start(call.user, network, override)

    async def step(self, call: Call) -> LoginStep:
        kind = call.path["stepType"]
        if kind not in ("user_input", "display_and_wait", "complete"):
            raise Refusal(404, "M_UNRECOGNIZED", "This bridge has no steps of this type.")
        values = call.read(StepValues).values if kind == "user_input" else {}
        return await self._processes.step(
            call.user,
            call.path["loginProcessID"],
            call.path["stepID"],
            kind,
            call.query.get("txn_id", ""),
            values,
        )

    async def cancel(self, call: Call) -> Nothing:
        await self._processes.cancel(call.user, call.path["loginProcessID"])
        return Nothing()
