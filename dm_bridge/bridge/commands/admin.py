"""`admin`: what an admin needs in an emergency. See who is logged in, log out, stop, allow, queues, the audit log.

The rule that must never break: to whoever is no admin there is no such command; each use is recorded before
anything is done; and no answer is longer than a screen or two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from dm_bridge.bridge.audit_log import BOT, AuditLog
from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.deeds import DESCRIBE, LOGOUT, LOOK_AGAIN, Ask
from dm_bridge.direct.document import is_user_id
from dm_bridge.errors import BridgeError, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.store.audit_log import Act, AuditEntry, AuditStore
from dm_bridge.store.erasing import ErasureStore
from dm_bridge.store.queue import QueueStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.users import UserStore

PAGE = 40
ENTRIES = 25
CONFIRMED = "DELETE"
_HELP = """\
For admins (each use is recorded):

- `admin users [PAGE]`: who has logins, and how they are
- `admin user @WHO:SERVER`: what there is of one user
- `admin logout @WHO:SERVER [ID]`: log them out of one login, or of all; they can log in again
- `admin stop @WHO:SERVER [REASON]`: disconnect all their logins, and let them make none
- `admin allow @WHO:SERVER`: take that back
- `admin erase @WHO:SERVER DELETE`: log them out, and delete all that is stored about them
- `admin queue`: what waits, and what was put aside
- `admin audit [@WHO:SERVER]`: who did what of late"""


class AdminCommands:
    """``may_administer``: whether a user is an admin. ``ask``: has something done to a user, wherever they are.

    ``erase``: records that a user's data are to be erased, for an admin, and sees to it.
    ``names``: under which names the audit log speaks of a user.
    """

    def __init__(
        self,
        may_administer: Callable[[UserId], bool],
        ask: Ask,
        erase: Callable[[UserId, str], Awaitable[None]],
        names: Callable[[UserId], Sequence[str]],
        overview: UserStore,
        safeguards: SafeguardStore,
        erasures: ErasureStore,
        queues: QueueStore,
        entries: AuditStore,
        audit: AuditLog,
    ) -> None:
        self.may_administer = may_administer
        self._ask = ask
        self._erase = erase
        self._names = names
        self._overview = overview
        self._safeguards = safeguards
        self._erasures = erasures
        self._queues = queues
        self._entries = entries
        self._audit = audit

    async def refused(self, user: UserId) -> None:
        """Somebody who is no admin has tried."""
        await self._audit.record_now_and_then(user, Act.REFUSED, user, {"command": "admin"}, BOT)

    async def run(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`admin …`. Raises `BridgeError`."""
        words = rest.split(maxsplit=2)
        name = words[0].lower() if words else "help"
        if name == "help":
            await answer(Reply(_HELP))
            return
        if name not in ("users", "user", "logout", "stop", "allow", "erase", "queue", "audit"):
            raise UserError("There is no such command for admins. Write `admin help`.")
        who = self._who(words[1:2], needed=name in ("user", "logout", "stop", "allow", "erase"))
        await self._audit.insist(user, Act.ADMIN, who, {"command": name}, BOT)
        last = words[2] if len(words) > 2 else ""
        match name:
            case "users":
                text = await self._users(words[1] if len(words) > 1 else "1")
            case "queue":
                text = await self._queue()
            case "audit":
                text = await self._log(who)
            case _:
                assert who is not None
                text = await self._about(user, name, who, last)
        await answer(Reply(text))

    def _who(self, words: list[str], *, needed: bool) -> UserId | None:
        name = uncopied(words[0]) if words else ""
        if name.startswith("@") and is_user_id(name):
            return UserId(name)
        if needed:
            raise UserError("Whom? Give a whole user id, such as `@alice:example.org`.")
        return None

    async def _about(self, admin: UserId, name: str, who: UserId, last: str) -> str:
        if name != "stop" and not await self._erasures.knows(who):
            raise UserError(f"Nothing is known of {code(who)} here.")
        match name:
            case "user":
                return await self._user(who)
            case "logout":
                fields = {"login": uncopied(last), "by": admin}
                done = await self._ask(who, LOGOUT, fields)
                names = ", ".join(code(each) for each in done["logged_out"])
                return f"{code(who)} is logged out of {names}, and was told."
            case "stop":
                return await self._stop(admin, who, last)
            case "allow":
                return await self._allow(admin, who)
            case _:
                if last.strip() != CONFIRMED:
                    raise UserError(
                        f"This deletes all that is stored about {code(who)}, and cannot be undone. If that is "
                        f"meant, write `admin erase {who} {CONFIRMED}`."
                    )
                await self._erase(who, admin)
                return f"All that is stored about {code(who)} is being deleted. They are told when it is done."

    # -- looking

    async def _users(self, page: str) -> str:
        if not (page.isdecimal() and len(page) < 7 and 1 <= int(page) <= 100_000):
            raise UserError("A page is a number: `admin users 2`.")
        users, logins, lines = await self._overview.users(PAGE, (int(page) - 1) * PAGE)
        stopped = await self._safeguards.stopped()
        said = [
            f"{logins} logins of {users} users."
            + (f" {len(stopped)} are stopped." if stopped else ""),
            "",
        ]
        for line in lines:
            how = [f"{line.active} to be connected"] if line.active else []
            how += [f"{line.refused} refused by the network"] if line.refused else []
            how += ["stopped"] if line.stopped else []
            how += [] if line.held else ["changing hands"]
            said.append(f"- {code(line.user)}: {line.networks}; {', '.join(how)}")
        if users > int(page) * PAGE:
            said.append(f"\n`admin users {int(page) + 1}` shows more.")
        return "\n".join(said)

    async def _user(self, who: UserId) -> str:
        counts = await self._overview.counts(who)
        stop = (await self._safeguards.stopped([who])).get(who)
        said = [f"{code(who)}:", ""]
        if stop is not None:
            said.append(
                f"- stopped by {plain(stop.by)} on {_day(stop.at)}: {plain(stop.reason) or 'no reason'}"
            )
        try:
            logins = (await self._ask(who, DESCRIBE, {}))["logins"]
        except BridgeError as error:
            said.append(f"- logins: {plain(str(error))}")
        else:
            said += [
                f"- {code(each['id'])}: {plain(each['network'])}, {code(each['name'])}, {each['state']}"
                for each in logins[:PAGE]
            ] or ["- no logins"]
        said.append(
            f"- {counts.chats} chats, {counts.bot_rooms} rooms with me; {counts.waiting} messages wait, "
            f"{counts.aside} were not delivered"
        )
        if counts.token:
            said.append("- has given a token for their Matrix account")
        entries = await self._entries.latest(5, users=self._names(who))
        said += [f"- {_line(entry)}" for entry in entries]
        return "\n".join(said)

    async def _queue(self) -> str:
        said = []
        for depth in await self._queues.depths():
            oldest = f", the oldest for {depth.oldest / 60:.0f} minutes" if depth.rows else ""
            where = depth.direction.value.replace("_", " ").replace("remote", "the networks")
            said.append(
                f"- {where.replace('matrix', 'Matrix')}: {depth.rows} {depth.state}{oldest}"
            )
        return "\n".join([*said, "", "`dm-bridge queue` shows and changes single ones."])

    async def _log(self, who: UserId | None) -> str:
        names = () if who is None else self._names(who)
        entries = await self._entries.latest(ENTRIES, users=names)
        return "\n".join(f"- {_line(entry)}" for entry in entries) or "Nothing is recorded."

    # -- doing

    async def _stop(self, admin: UserId, who: UserId, reason: str) -> str:
        if self.may_administer(who):
            raise UserError("They are an admin themselves; change `permissions` first.")
        reason = " ".join(reason.split())[:200]
        known = await self._erasures.knows(who)
        await self._audit.insist(admin, Act.STOPPED, who, {"reason": reason}, BOT)
        await self._safeguards.stop(who, admin, reason)
        why = f": {plain(reason)}" if reason else ""
        text = (
            f"⚠ An admin of this bridge has stopped your logins{why}. Nothing is carried until they allow it "
            "again; please ask them."
        )
        applied = await self._applied(who, text) if known else "I have never met them."
        return f"{code(who)} is stopped. {applied}"

    async def _allow(self, admin: UserId, who: UserId) -> str:
        await self._audit.insist(admin, Act.ALLOWED, who, {}, BOT)
        if not await self._safeguards.allow(who):
            raise UserError(f"{code(who)} was not stopped.")
        text = "An admin of this bridge has allowed your logins again; they are being connected."
        return f"{code(who)} may go on. " + await self._applied(who, text)

    async def _applied(self, who: UserId, text: str) -> str:
        try:
            done = await self._ask(who, LOOK_AGAIN, {"text": text})
        except BridgeError as error:
            return (
                f"⚠ It is recorded, but whoever has them just now did not answer ({plain(str(error))}). Write it "
                "again, or restart the bridge."
            )
        rooms = (await self._overview.counts(who)).bot_rooms
        return "They were told." if done["told"] and rooms else "They could not be told."


def _line(entry: AuditEntry) -> str:
    details = ", ".join(f"{key} {value}" for key, value in entry.details.items() if value != "")
    subject = "" if entry.subject in (None, entry.actor) else f" → {plain(entry.subject or '')}"
    more = f" ({plain(details[:150])})" if details else ""
    return f"{_day(entry.at)} {plain(entry.actor)}{subject}: {entry.act}, {entry.door}{more}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M")
