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
from dm_bridge.texts import phrase

OUT, IN = "out", "in"
_DIGITS = 18
_NO_REASON = {
    "not_delivered": "provisioning-not-delivered",
    "perhaps_delivered": "provisioning-perhaps-delivered",
    "not_shown": "provisioning-not-shown",
    "waiting": "provisioning-waiting",
}
"""The messages for reasons that nobody gave."""


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
            raise not_found(phrase("provisioning-no-message"))
        seq = int(number[:_DIGITS])
        if direction == IN:
            shown = await self._tries.show_again(call.user, [seq])
            if not shown:
                raise not_found(phrase("provisioning-no-message"))
            return await self._tried(call, _said(shown=len(shown)))
        written, _ = await self._tries.written(call.user)
        chosen = [each for each in written if each.row.seq == seq]
        if not chosen:
            raise not_found(phrase("provisioning-no-message"))
        return await self._tried(call, await self._send(call.user, chosen))

    async def retry_all(self, call: Call) -> DeliveriesRetried:
        written, _ = await self._tries.written(call.user)
        sent = await self._send(call.user, written) if written else ""
        waiting = [each.seq for each in await self._tries.not_shown(call.user)]
        shown = await self._tries.show_again(call.user, waiting) if waiting else ()
        said = " ".join(filter(None, (sent, _said(shown=len(shown)) if shown else "")))
        return await self._tried(call, said or phrase("provisioning-nothing-to-retry"))

    async def _tried(self, call: Call, message: str) -> DeliveriesRetried:
        return DeliveriesRetried(message=message, deliveries=await self.of(call.user))

    async def _send(self, user: UserId, chosen: Sequence[Written]) -> str:
        tried = await self._tries.send_again(user, chosen)
        if not tried.done and tried.resting:
            names = ", ".join(row.name for row in tried.resting)
            raise Refusal(
                400,
                "FI.MAU.NOT_LOGGED_IN",
                phrase("provisioning-nothing-retried", names=names),
            )
        said = _said(sent=len(tried.done))
        left = [phrase("provisioning-left", name=row.name) for row in tried.resting]
        return " ".join([said, *left])

    def _written(self, row: Undelivered, *, hopeless: bool = False) -> DeliveryProblem:
        connected = self._tries.is_connected(row.login)
        state = "perhaps_delivered" if row.uncertain else "not_delivered"
        advice = phrase("provisioning-advice-doubt") if row.uncertain else None
        if hopeless:
            advice = phrase("provisioning-advice-write-again")
        elif not connected:
            advice = phrase("provisioning-advice-log-in")
        return DeliveryProblem.model_validate(
            {
                "id": f"{OUT}:{row.seq}",
                "direction": "to_network",
                "state": state,
                "room_id": row.room,
                "contact": row.contact,
                "login_id": row.login,
                "ts": int(row.at * 1000),
                "reason": _sentence(row.reason) or phrase(_NO_REASON[state]),
                "can_retry": connected and not hopeless,
                "advice": advice,
            }
        )

    def _stuck(self, stuck: Stuck) -> DeliveryProblem:
        state = "waiting" if stuck.waits else "not_shown"
        advice = None
        if stuck.waits:
            connected = not stuck.to_remote or self._tries.is_connected(stuck.login)
            advice = phrase(
                "provisioning-advice-patience" if connected else "provisioning-advice-away"
            )
        return DeliveryProblem.model_validate(
            {
                "id": f"{OUT if stuck.to_remote else IN}:{stuck.seq}",
                "direction": "to_network" if stuck.to_remote else "to_matrix",
                "state": state,
                "room_id": stuck.room,
                "contact": stuck.contact,
                "login_id": stuck.login,
                "ts": int(stuck.at * 1000),
                "reason": _sentence(stuck.reason) or phrase(_NO_REASON[state]),
                "behind": stuck.behind,
                "can_retry": not stuck.waits,
                "advice": advice,
            }
        )


def _said(*, sent: int = 0, shown: int = 0) -> str:
    if shown:
        return phrase("provisioning-shown-again", count=shown)
    if sent:
        return phrase("provisioning-sent-again", count=sent)
    return phrase("provisioning-retried-already")


def _sentence(text: str) -> str:
    """A reason as it is stored, as a sentence."""
    text = " ".join(text.split())
    if not text:
        return ""
    is_address = "@" in text.partition(" ")[0]
    first = text[0] if is_address else text[0].upper()
    return f"{first}{text[1:]}{'' if text[-1] in '.!?…' else '.'}"
