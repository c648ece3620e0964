"""What people see of their direct chats, and may decide about them: the view behind `direct`.

The rule that must never break: a decision of a person is recorded before anything is written, and goes
through the keeper like everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from dm_bridge.bridge.commands.direct import (
    ChatState,
    DirectChat,
    DirectStatus,
    HistoryLine,
    Repair,
    RepairOutcome,
)
from dm_bridge.bridge.direct_words import words_of
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.names import name_of
from dm_bridge.direct import DMState, ManagedDM, Source, Version
from dm_bridge.direct.change import subjects
from dm_bridge.direct.conflicts import calmed, yielded
from dm_bridge.direct.journal import Journal
from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId, NetworkName, RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.journals import JournalStore
from dm_bridge.store.people import Called
from dm_bridge.texts import phrase

PATIENCE = 20.0  # seconds that a repair may take before it goes on by itself

Names = Callable[[UserId], Awaitable[Mapping[RoomId, Called]]]
Contact = Callable[[UserId], Awaitable[tuple[NetworkName, ContactId] | None]]


class View:
    """``contact``: whom a ghost stands for. ``called``: who is in an account's chats.

    ``access``, ``observed``: how an account is reached and seen.
    """

    def __init__(
        self,
        keeper: Keeper,
        store: DirectStore,
        journals: JournalStore,
        contact: Contact,
        called: Names,
        access: Callable[[UserId], Access],
        observed: Callable[[UserId], str],
        clock: Callable[[], float],
    ) -> None:
        self._keeper = keeper
        self._store = store
        self._journals = journals
        self._contact = contact
        self._called = called
        self._access = access
        self._observed = observed
        self._clock = clock

    async def status(self, account: UserId) -> DirectStatus:
        """How the account's direct chats are; empty for an account without any."""
        journal = await self._journals.read(account)
        fought = yielded(calmed(journal, self._clock()))
        entries = frozenset() if journal.head is None else journal.head.entries()
        seen = await self._journals.seen(account)
        chats = []
        for dm in await self._store.managed(account):
            marked = (dm.ghost, dm.room) in entries
            chats.append(
                DirectChat(dm.room, await self._name(dm), _state(dm, dm.room in fought, marked))
            )
        access = self._access(account)
        problem = None if access is Access.NONE else seen.refused or None
        return DirectStatus(chats, access, self._observed(account), seen.at, problem)

    async def mark(self, account: UserId, room: RoomId) -> None:
        """The user decides that a managed room is a direct chat."""
        await self._journals.at_peace(account)
        await self._opt(account, room, out=False)

    async def unmark(self, account: UserId, room: RoomId) -> None:
        """The user decides that a managed room is no direct chat."""
        await self._opt(account, room, out=True)

    async def repair(self, account: UserId) -> Repair:
        """Read, decide and write now; what came of it."""
        if self._access(account) is Access.NONE:
            raise UserError(phrase("direct-no-access"))
        await self._journals.at_peace(account)
        before = await self._journals.read(account)
        self._keeper.urge(account)
        await self._keeper.settled(account, within=PATIENCE)
        after = await self._journals.read(account)
        seen = await self._journals.seen(account)
        if seen.refused:
            return Repair(RepairOutcome.REFUSED, seen.refused)
        if after.doubt is not None or seen.at is None:
            return Repair(RepairOutcome.SLOW, phrase("direct-still-at-it"))
        known = before.seq - (before.doubt is not None)  # what is in doubt was not made before
        new = [v for v in after.versions if v.seq > known and v.source is Source.WRITTEN]
        if not new:
            return Repair(RepairOutcome.RIGHT, phrase("direct-as-it-should-be"))
        changed = [(*version.change.added, *version.change.removed) for version in new]
        changes = sum(len(subjects(atoms)) for atoms in changed)
        said = phrase("direct-put-right", things=changes)
        return Repair(RepairOutcome.REPAIRED, said, changes)

    async def history(self, account: UserId, limit: int) -> Sequence[HistoryLine]:
        """The last ``limit`` changes at most, newest last."""
        journal = await self._journals.read(account)
        versions = journal.versions[-limit:]
        called = await self._called(account)
        names: dict[str, str] = {}
        for dm in await self._store.managed(account):
            known = called.get(dm.room)
            address = await self._name(dm) if known is None else known.contact
            name = name_of(known)
            contact = phrase("direct-contact", name=name, address=address) if name else address
            names[dm.room] = phrase("direct-your-chat", contact=name or address)
            names.update(dict.fromkeys((dm.ghost, *dm.aliases), contact))
        lines = [_to_its_user(version, names) for version in versions]
        return [
            replace(line, before=b, after=a)
            for line, (b, a) in zip(lines, _around(journal, limit), strict=True)
        ]

    async def _opt(self, account: UserId, room: RoomId, *, out: bool) -> None:
        if not await self._store.opt(account, room, out):
            raise UserError(phrase("direct-none-of-yours"))
        self._keeper.urge(account)
        await self._keeper.settled(account, within=PATIENCE)

    async def _name(self, dm: ManagedDM) -> str:
        contact = await self._contact(dm.ghost)
        return str(dm.ghost) if contact is None else contact[1]


Rooms = dict[str, list[str]]


def _around(journal: Journal, limit: int) -> list[tuple[Rooms, Rooms]]:
    """For each of the last versions, what stood under the keys that it changed: before it, and after it."""
    entries: set[tuple[str, str]] = set() if journal.head is None else set(journal.head.entries())
    found = []
    for version in reversed(journal.versions[-limit:]):
        added, removed = (
            {(key, item) for key, item in atoms if item.startswith("!")}
            for atoms in (version.change.added, version.change.removed)
        )
        keys = {key for key, _ in added | removed}
        after = _under(keys, entries)
        entries = (entries - added) | removed
        found.append((_under(keys, entries), after))
    return found[::-1]


def _under(keys: set[str], entries: set[tuple[str, str]]) -> Rooms:
    return {key: sorted(room for k, room in entries if k == key) for key in sorted(keys)}


def _to_its_user(version: Version, names: Mapping[str, str]) -> HistoryLine:
    """A line for the user whose history it is: contacts by name, and the user as "you"."""
    sentence, details = words_of(version, lambda one: names.get(one, one), reader="you")
    ours = version.source is Source.WRITTEN
    return HistoryLine(version.at, _large(sentence), tuple(map(_large, details)), ours=ours)


def _large(text: str) -> str:
    """With a large first letter."""
    return text[:1].upper() + text[1:]


def _state(dm: ManagedDM, fought: bool, marked: bool) -> ChatState:
    if dm.state is DMState.RETIRED:
        return ChatState.RETIRED
    if fought:
        return ChatState.CONFLICT
    if dm.opted_out:
        return ChatState.OPTED_OUT
    return ChatState.MARKED if dm.wanted and marked else ChatState.PENDING
