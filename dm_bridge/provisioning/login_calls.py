"""Calls about logging in."""

from __future__ import annotations

from dm_bridge.bridge.logins import Logins
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.choosing import Choosing
from dm_bridge.provisioning.logins import LoginProcesses
from dm_bridge.provisioning.refusals import Refusal, not_found
from dm_bridge.provisioning.wire import LoginStep, Nothing, StepValues
from dm_bridge.texts import phrase


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
            raise not_found(phrase("provisioning-no-flow"))
        again = self._choosing.asked(call)
        if again is not None and again.network != network.name:
            raise Refusal(400, "M_INVALID_PARAM", phrase("provisioning-another-network"))
        override = None if again is None else again.id
        return await self._processes.start(call.user, network, override)

    async def submit(self, call: Call) -> LoginStep:
        return await self._step(call, "user_input", call.read(StepValues).values)

    async def wait(self, call: Call) -> LoginStep:
        return await self._step(call, "display_and_wait", {})

    async def _step(self, call: Call, kind: str, values: dict[str, str]) -> LoginStep:
        process, step = call.path["loginProcessID"], call.path["stepID"]
        txn = call.query.get("txn_id", "")
        return await self._processes.step(call.user, process, step, kind, txn, values)

    async def cancel(self, call: Call) -> Nothing:
        await self._processes.cancel(call.user, call.path["loginProcessID"])
        return Nothing()
