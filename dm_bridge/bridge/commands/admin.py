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
from dm_bridge.store.queue import Depth, QueueStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.users import UserLine, UserStore
from dm_bridge.texts import phrase

PAGE = 40
ENTRIES = 25
CONFIRMED = "DELETE"


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
            await answer(Reply(phrase("admin-help")))
            return
        if name not in ("users", "user", "logout", "stop", "allow", "erase", "queue", "audit"):
            raise UserError(phrase("admin-unknown"))
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
            raise UserError(phrase("admin-whom"))
        return None

    async def _about(self, admin: UserId, name: str, who: UserId, last: str) -> str:
        if name != "stop" and not await self._erasures.knows(who):
            raise UserError(phrase("admin-nothing-known", user=code(who)))
        match name:
            case "user":
                return await self._user(who)
            case "logout":
                fields = {"login": uncopied(last), "by": admin}
                done = await self._ask(who, LOGOUT, fields)
                names = ", ".join(code(each) for each in done["logged_out"])
                return phrase("admin-logout-done", user=code(who), logins=names)
            case "stop":
                return await self._stop(admin, who, last)
            case "allow":
                return await self._allow(admin, who)
            case _:
                if last.strip() != CONFIRMED:
                    raise UserError(
                        phrase("admin-erase-sure", user=code(who), id=who, word=CONFIRMED)
                    )
                await self._erase(who, admin)
                return phrase("admin-erase-begun", user=code(who))

    # -- looking

    async def _users(self, page: str) -> str:
        if not (page.isdecimal() and len(page) < 7 and 1 <= int(page) <= 100_000):
            raise UserError(phrase("admin-users-page"))
        users, logins, lines = await self._overview.users(PAGE, (int(page) - 1) * PAGE)
        stopped = await self._safeguards.stopped()
        sums = [phrase("admin-users", logins=logins, users=users)]
        if stopped:
            sums.append(phrase("admin-users-stopped", users=len(stopped)))
        said = [" ".join(sums), "", *(f"- {_user_line(line)}" for line in lines)]
        if users > int(page) * PAGE:
            said += ["", phrase("admin-users-more", page=str(int(page) + 1))]
        return "\n".join(said)

    async def _user(self, who: UserId) -> str:
        counts = await self._overview.counts(who)
        stop = (await self._safeguards.stopped([who])).get(who)
        said = [f"{code(who)}:", ""]
        if stop is not None:
            by, when, why = plain(stop.by), _day(stop.at), plain(stop.reason)
            stopped = (
                phrase("admin-user-stopped", admin=by, when=when, why=why)
                if why
                else phrase("admin-user-stopped-no-reason", admin=by, when=when)
            )
            said.append(f"- {stopped}")
        try:
            logins = (await self._ask(who, DESCRIBE, {}))["logins"]
        except BridgeError as error:
            said.append(f"- {phrase('admin-user-logins-unknown', why=plain(str(error)))}")
        else:
            said += [
                f"- {code(each['id'])}: {plain(each['network'])}, {code(each['name'])}, {each['state']}"
                for each in logins[:PAGE]
            ] or [f"- {phrase('admin-user-no-logins')}"]
        numbers = phrase(
            "admin-user-counts",
            chats=counts.chats,
            rooms=counts.bot_rooms,
            waiting=counts.waiting,
            aside=counts.aside,
        )
        said.append(f"- {numbers}")
        if counts.token:
            said.append(f"- {phrase('admin-user-token')}")
        entries = await self._entries.latest(5, users=self._names(who))
        said += [f"- {_line(entry)}" for entry in entries]
        return "\n".join(said)

    async def _queue(self) -> str:
        depths = [f"- {_depth_line(depth)}" for depth in await self._queues.depths()]
        return phrase("admin-queue", depths="\n".join(depths))

    async def _log(self, who: UserId | None) -> str:
        names = () if who is None else self._names(who)
        entries = await self._entries.latest(ENTRIES, users=names)
        return "\n".join(f"- {_line(entry)}" for entry in entries) or phrase("admin-audit-nothing")

    # -- doing

    async def _stop(self, admin: UserId, who: UserId, reason: str) -> str:
        if self.may_administer(who):
            raise UserError(phrase("admin-stop-admin"))
        reason = " ".join(reason.split())[:200]
        known = await self._erasures.knows(who)
        await self._audit.insist(admin, Act.STOPPED, who, {"reason": reason}, BOT)
        await self._safeguards.stop(who, admin, reason)
        text = (
            phrase("admin-you-are-stopped-why", why=plain(reason))
            if reason
            else phrase("admin-you-are-stopped")
        )
        applied = await self._applied(who, text) if known else phrase("admin-stop-never-met")
        return f"{phrase('admin-stop-done', user=code(who))} {applied}"

    async def _allow(self, admin: UserId, who: UserId) -> str:
        await self._audit.insist(admin, Act.ALLOWED, who, {}, BOT)
        if not await self._safeguards.allow(who):
            raise UserError(phrase("admin-allow-not-stopped", user=code(who)))
        applied = await self._applied(who, phrase("admin-you-are-allowed"))
        return f"{phrase('admin-allow-done', user=code(who))} {applied}"

    async def _applied(self, who: UserId, text: str) -> str:
        try:
            done = await self._ask(who, LOOK_AGAIN, {"text": text})
        except BridgeError as error:
            return phrase("admin-no-answer", why=plain(str(error)))
        rooms = (await self._overview.counts(who)).bot_rooms
        return phrase("admin-told" if done["told"] and rooms else "admin-not-told")


def _user_line(line: UserLine) -> str:
    how = [phrase("admin-users-active", logins=line.active)] if line.active else []
    how += [phrase("admin-users-refused", logins=line.refused)] if line.refused else []
    how += [phrase("admin-users-is-stopped")] if line.stopped else []
    how += [] if line.held else [phrase("admin-users-moving")]
    return phrase(
        "admin-users-line", user=code(line.user), networks=line.networks, how=", ".join(how)
    )


def _depth_line(depth: Depth) -> str:
    queue, state, rows = depth.direction.value, depth.state, depth.rows
    if not rows:
        return phrase("admin-queue-depth", direction=queue, state=state, rows=rows)
    minutes = round(depth.oldest / 60)
    return phrase(
        "admin-queue-depth-oldest", direction=queue, state=state, rows=rows, minutes=minutes
    )


def _line(entry: AuditEntry) -> str:
    details = ", ".join(f"{key} {value}" for key, value in entry.details.items() if value != "")
    subject = "" if entry.subject in (None, entry.actor) else f" → {plain(entry.subject or '')}"
    more = f" ({plain(details[:150])})" if details else ""
    return f"{_day(entry.at)} {plain(entry.actor)}{subject}: {entry.act}, {entry.door}{more}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M")
