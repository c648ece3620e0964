"""Calls about what has not arrived: seeing it, and having it tried again.

The rule that must never break: nothing of what people wrote is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from dm_bridge.bridge.names import name_of
from dm_bridge.bridge.second_tries import SecondTries, Written
from dm_bridge.ids import RoomId, UserId
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.refusals import Refusal, not_found
from dm_bridge.provisioning.wire_watch import Deliveries, DeliveriesRetried, DeliveryProblem
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.undelivered import Stuck, Undelivered

OUT, IN = "out", "in"
_DIGITS = 18
_NO_REASON = {
    "not_delivered": "The network did not take it.",
    "perhaps_delivered": "The network never said whether it has it.",
    "not_shown": "It could not be shown in Matrix.",
    "waiting": "The bridge is still at it.",
}
_DOUBT = (
    "It may have arrived. Where the network keeps an archive, the bridge looks there first; where it does not, "
    "your contact may get it twice."
)
_UNCONNECTED = "Log in again first: this login is not connected."
_HOPELESS = "It fails every time it is tried. Write it again, in a way that the bridge can read."
_PATIENCE = "There is nothing to do: the bridge goes on trying."
_AWAY = "It goes on when this login is connected again."


class DeliveryCalls:
    """Answers them, by what is behind the bot's `retry`."""

    def __init__(self, tries: SecondTries, people: PeopleStore) -> None:
        self._tries = tries
        self._people = people

    async def list(self, call: Call) -> Deliveries:
        return await self.of(call.user)

    async def of(self, user: UserId) -> Deliveries:
        """What of the user's has not arrived."""
        written, hopeless = await self._tries.written(user)
        problems = [self._written(each.row) for each in written]
        problems += [self._written(row, hopeless=True) for row in hopeless]
        problems += [self._stuck(each) for each in await self._tries.not_shown(user)]
        problems += [self._stuck(each) for each in await self._tries.waiting(user)]
        called = await self._people.called(user) if problems else {}
        named = [
            each.model_copy(
                update={"contact_name": name_of(called.get(RoomId(each.room_id or "")))}
            )
            for each in problems
        ]
        return Deliveries(problems=sorted(named, key=lambda each: (each.ts, each.id)))

    async def retry(self, call: Call) -> DeliveriesRetried:
        direction, _, number = call.path["deliveryID"].partition(":")
        if direction not in (OUT, IN) or not (number.isascii() and number.isdigit()):
            raise not_found("Message")
        seq = int(number[:_DIGITS])
        if direction == IN:
            shown = await self._tries.show_again(call.user, [seq])
            if not shown:
                raise not_found("Message")
            return await self._tried(call, _said(shown=len(shown)))
        written, _ = await self._tries.written(call.user)
        chosen = [each for each in written if each.row.seq == seq]
        if not chosen:
            raise not_found("Message")
        return await self._tried(call, await self._send(call.user, chosen))

    async def retry_all(self, call: Call) -> DeliveriesRetried:
        written, _ = await self._tries.written(call.user)
        sent = await self._send(call.user, written) if written else ""
        waiting = [each.seq for each in await self._tries.not_shown(call.user)]
        shown = await self._tries.show_again(call.user, waiting) if waiting else ()
        said = " ".join(filter(None, (sent, _said(shown=len(shown)) if shown else "")))
        return await self._tried(call, said or "There is nothing to try again.")

    async def _tried(self, call: Call, message: str) -> DeliveriesRetried:
        return DeliveriesRetried(message=message, deliveries=await self.of(call.user))

    async def _send(self, user: UserId, chosen: Sequence[Written]) -> str:
        tried = await self._tries.send_again(user, chosen)
        if not tried.done and tried.resting:
            names = ", ".join(row.name for row in tried.resting)
            raise Refusal(
                400,
                "FI.MAU.NOT_LOGGED_IN",
                f"{names} is not connected, so nothing was tried. Log in again first.",
            )
        said = _said(sent=len(tried.done))
        left = [
            f"{row.name} is not connected; what waits for it was left." for row in tried.resting
        ]
        return " ".join([said, *left])

    def _written(self, row: Undelivered, *, hopeless: bool = False) -> DeliveryProblem:
        connected = self._tries.is_connected(row.login)
        state = "perhaps_delivered" if row.uncertain else "not_delivered"
        advice = _DOUBT if row.uncertain else None
        if hopeless:
            advice = _HOPELESS
        elif not connected:
            advice = _UNCONNECTED
        return DeliveryProblem.model_validate(
            {
                "id": f"{OUT}:{row.seq}",
                "direction": "to_network",
                "state": state,
                "room_id": row.room,
                "contact": row.contact,
                "login_id": row.login,
                "ts": int(row.at * 1000),
                "reason": _sentence(row.reason) or _NO_REASON[state],
                "can_retry": connected and not hopeless,
                "advice": advice,
            }
        )

    def _stuck(self, stuck: Stuck) -> DeliveryProblem:
        state = "waiting" if stuck.waits else "not_shown"
        advice = None
        if stuck.waits:
            connected = not stuck.to_remote or self._tries.is_connected(stuck.login)
            advice = _PATIENCE if connected else _AWAY
        return DeliveryProblem.model_validate(
            {
                "id": f"{OUT if stuck.to_remote else IN}:{stuck.seq}",
                "direction": "to_network" if stuck.to_remote else "to_matrix",
                "state": state,
                "room_id": stuck.room,
                "contact": stuck.contact,
                "login_id": stuck.login,
                "ts": int(stuck.at * 1000),
                "reason": _sentence(stuck.reason) or _NO_REASON[state],
                "behind": stuck.behind,
                "can_retry": not stuck.waits,
                "advice": advice,
            }
        )


def _said(*, sent: int = 0, shown: int = 0) -> str:
    if shown:
        return f"{_messages(shown)} from the network will be shown where it belongs."
    return f"{_messages(sent)} will be sent again." if sent else "That is being tried already."


def _messages(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"


def _sentence(text: str) -> str:
    """A reason as it is stored, as a sentence."""
    text = " ".join(text.split())
    if not text:
        return ""
    is_address = "@" in text.partition(" ")[0]
    first = text[0] if is_address else text[0].upper()
    return f"{first}{text[1:]}{'' if text[-1] in '.!?…' else '.'}"
