"""Examines any account's ``m.direct``: what is wrong with it, judged by what its rooms say.

The rule that must never break: silence proves nothing. A room whose state could not be learned gives no
finding about that room, and what a user may have decided on purpose is proposed, never `sure`. Nor is
it sure that what stands under a key that is no user id, and is no room, is of no use to anybody.

Each room is judged once, by the first of these that applies: not in it, a space, upgraded, the wrong
people. Keys and values are judged by their form alone. Findings do not depend on each other: any of
them can be mended without the others, and mending all sure ones leaves none that is sure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dm_bridge.direct.document import DirectDocument, Entry, is_room_id, is_user_id
from dm_bridge.direct.facts import Membership, RoomFacts, Standing
from dm_bridge.direct.findings import Finding, Kind
from dm_bridge.direct.upgrades import Upgraded, Upgrades
from dm_bridge.ids import RoomId, UserId


@dataclass(frozen=True, slots=True)
class Audit:
    """``unknown``: marked rooms about which the homeserver gave no clear answer."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...] = ()


def examine(document: DirectDocument, rooms: Mapping[RoomId, RoomFacts], account: UserId) -> Audit:
    """What is wrong with ``document``, the m.direct of ``account``.

    ``rooms``: facts about every room that the account is in, and about those that `rooms_in` names.
    """
    return _Examination(document, rooms, account).run()


def rooms_in(document: DirectDocument) -> dict[RoomId, tuple[str, ...]]:
    """Every room that a document names, and the keys under which it stands, user ids or not."""
    found: dict[RoomId, dict[str, None]] = {}
    for key, value in document.content().items():
        items = value if isinstance(value, list) else [value]
        for item in items:
            if is_room_id(item):
                found.setdefault(item, {})[key] = None
    return {room: tuple(keys) for room, keys in found.items()}


@dataclass(slots=True)
class _Examination:
    document: DirectDocument
    rooms: Mapping[RoomId, RoomFacts]
    account: UserId
    content: dict[str, Any] = field(init=False)
    marks: dict[RoomId, tuple[str, ...]] = field(init=False)
    proper: set[RoomId] = field(init=False)
    findings: list[Finding] = field(init=False, default_factory=list)
    spoken_for: set[str] = field(init=False, default_factory=set)
    upgrades: Upgrades = field(init=False)

    def __post_init__(self) -> None:
        self.content = self.document.content()
        listed: dict[RoomId, dict[str, None]] = {}
        for key, value in self.content.items():
            if isinstance(value, list):
                for item in value:
                    if is_room_id(item):
                        listed.setdefault(item, {})[key] = None
        self.marks = {room: tuple(keys) for room, keys in listed.items()}
        self.proper = {room for _, room in self.document.entries()}
        self.upgrades = Upgrades(self.rooms)

    def run(self) -> Audit:
        for key, value in self.content.items():
            self.findings += self._form_of(key, value)
        for room, keys in self.marks.items():
            self.findings += self._marked(room, keys)
        for key, value in self.content.items():
            if isinstance(value, list) and not is_user_id(key):
                self.findings += self._not_a_user(key)
        bots = frozenset[str]().union(*(facts.bots for facts in self.rooms.values()))
        for room, facts in self.rooms.items():
            if room not in self.marks and room not in self.spoken_for:
                self.findings += self._unmarked(room, facts, bots)
        order = {kind: number for number, kind in enumerate(Kind)}
        self.findings.sort(key=lambda finding: order[finding.kind])
        unknown = sorted(room for room in rooms_in(self.document) if self._doubtful(room))
        return Audit(tuple(self.findings), tuple(unknown))

    def _doubtful(self, room: RoomId) -> bool:
        facts = self.rooms.get(room)
        if facts is None or facts.membership is Membership.UNKNOWN:
            return True
        return facts.membership is Membership.JOIN and any(
            facts.members.get(key) is Membership.UNKNOWN for key in self.marks.get(room, ())
        )

    # -- keys and values, by their form

    def _form_of(self, key: str, value: Any) -> Iterator[Finding]:
        shown, sure = _shown(key), is_user_id(key)
        if not isinstance(value, list):
            rescued = self._rescued(key)
            self.spoken_for.update(room for _, room in rescued)
            outcome = (
                "It names a room, which can be kept as a list of one."
                if rescued
                else "It cannot be read as rooms."
            )
            yield Finding(
                Kind.VALUE_NOT_A_LIST,
                sure,
                f"What stands under {shown} is {_sort_of(value)}, where a list of rooms belongs. {outcome}",
                rooms=tuple(room for _, room in rescued),
                keys=(key,),
                drop_keys=(key,),
                add=rescued,
            )
            return
        if not value:
            said = f"The list of {shown} is empty."
            yield Finding(Kind.EMPTY_LIST, sure, said, keys=(key,), drop_keys=(key,))
            return
        rooms = [item for item in value if is_room_id(item)]
        if len(rooms) < len(value):
            junk = len(value) - len(rooms)
            what = (
                "1 item that is no room id" if junk == 1 else f"{junk:,} items that are no room ids"
            )
            said = f"The list of {shown} has {what}."
            yield Finding(Kind.NOT_ROOM_IDS, sure, said, keys=(key,), drop_junk=(key,))
        if len(rooms) > len(set(rooms)):
            twice = tuple(room for room, times in Counter(rooms).items() if times > 1)
            said = f"The list of {shown} repeats {_count(len(twice), 'room')}."
            yield Finding(Kind.DUPLICATES, True, said, twice, (key,), dedupe=(key,))

    def _rescued(self, key: str) -> tuple[Entry, ...]:
        """The entry that a malformed value of ``key`` surely meant: a room id without its list."""
        room = self.content.get(key)
        if not is_room_id(room) or not is_user_id(key):
            return ()
        upgraded = self.upgrades.outcome(room)
        room = room if upgraded is None else upgraded.room
        facts = self.rooms.get(room, RoomFacts(Membership.UNKNOWN))
        standing = facts.standing(key, self.account)
        match facts.membership:
            case Membership.UNKNOWN:
                fits = True
            case Membership.INVITE:
                fits = standing in (Standing.FITS, Standing.UNSETTLED)
            case _:
                fits = facts.membership is Membership.JOIN and standing is Standing.FITS
        kept = fits and not facts.space and room not in self.marks
        return ((UserId(key), room),) if kept else ()

    def _adding(self, *entries: Entry) -> dict[str, Any]:
        """``add`` for a finding, with what a malformed value at its keys makes necessary."""
        broken = [
            key
            for key, _ in entries
            if key in self.content and not isinstance(self.content[key], list)
        ]
        rescued = [entry for key in broken for entry in self._rescued(key)]
        return {"drop_keys": tuple(broken), "add": (*rescued, *entries)}

    # -- rooms that are marked

    def _marked(self, room: RoomId, keys: tuple[str, ...]) -> Iterator[Finding]:
        facts = self.rooms.get(room)
        if facts is None:
            return
        everywhere = tuple((key, room) for key in keys)
        successor = self.upgrades.outcome(room)
        if successor is not None and (facts.membership.present or facts.membership.gone):
            yield self._upgraded(room, keys, successor)
            return
        match facts.membership:
            case Membership.LEAVE if facts.by in ("", self.account):
                bridged = " It is bridged: the bridge may invite you back." if facts.bridged else ""
                said = f"You left {_name(room, facts)}.{bridged}"
                yield Finding(Kind.LEFT, not facts.bridged, said, (room,), keys, everywhere)
            case Membership.LEAVE | Membership.BAN:
                did = "banned" if facts.membership is Membership.BAN else "removed"
                by = f" by {facts.by}" if facts.by else ""
                said = f"You were {did} from {_name(room, facts)}{by}."
                yield Finding(Kind.REMOVED, True, said, (room,), keys, everywhere)
            case Membership.NONE:
                said = f"You are not in {room}: you left and forgot it, never joined it, or it does not exist."
                yield Finding(Kind.GONE, True, said, (room,), keys, everywhere)
            case Membership.JOIN | Membership.INVITE if facts.space:
                said = f"{_name(room, facts)} is a space."
                yield Finding(Kind.SPACE, True, said, (room,), keys, everywhere)
            case Membership.JOIN | Membership.INVITE:
                yield from self._people(room, facts, keys)
            case _:
                return

    def _upgraded(self, room: RoomId, keys: tuple[str, ...], upgraded: Upgraded) -> Finding:
        everywhere = tuple((key, room) for key in keys)
        old, new = _name(room, self.rooms[room]), upgraded.room
        if new in self.marks:
            said = f"{old} was replaced by {new}, and both are marked."
            sure = upgraded.proven or self.rooms[room].membership.gone
            return Finding(Kind.UPGRADED, sure, said, (room, new), keys, everywhere)
        self.spoken_for.add(new)
        said = f"{old} was replaced by {new}, which is not marked."
        broken = [key for key in self.content if any(new == to for _, to in self._rescued(key))]
        if broken:  # it stands there without its list, and will be marked once that is mended
            rescued = tuple((UserId(key), new) for key in broken)
            sure = upgraded.proven or self.rooms[room].membership.gone
            return Finding(
                Kind.UPGRADED, sure, said, (room, new), keys, everywhere,
                drop_keys=tuple(broken), add=rescued,
            )  # fmt: skip
        if not upgraded.proven:
            said += " The new room says so; the old one can no longer be seen."
        users = [UserId(key) for key in keys if is_user_id(key)]
        fits = Standing.FITS
        heirs = [user for user in users if upgraded.facts.standing(user, self.account) is fits]
        partner = upgraded.facts.partner(self.account)
        if not heirs and partner is not None:
            heirs = [partner]
        return Finding(
            Kind.UPGRADED,
            upgraded.proven and bool(heirs),
            said,
            (room, new),
            keys,
            everywhere,
            **self._adding(*((heir, new) for heir in heirs or users)),
        )

    # -- under whom a room stands

    def _people(self, room: RoomId, facts: RoomFacts, keys: tuple[str, ...]) -> Iterator[Finding]:
        users = [UserId(key) for key in keys if is_user_id(key)]
        standing = {user: facts.standing(user, self.account) for user in users}
        fitting = [user for user in users if standing[user] is Standing.FITS]
        stays = bool(fitting) or Standing.UNSETTLED in standing.values()
        persons, partner = facts.persons(self.account), facts.partner(self.account)
        for user in users:
            wrong = _why_wrong(user, standing[user], facts, bool(persons))
            if wrong is None:
                continue
            kind, said = wrong
            said = f"{_name(room, facts)} stands under {said}"
            sure = stays
            moved: dict[str, Any] = {}
            if not stays and partner is not None:
                said += f" The other person there is {partner}."
                sure = standing[user] is not Standing.DEPARTED
                moved = self._adding((partner, room))
            elif facts.complete and not persons:
                said += " Nobody else is there."
            yield Finding(kind, sure, said, (room,), (user,), ((user, room),), **moved)
        if len(fitting) > 1:
            yield self._several(room, facts, fitting)

    def _several(self, room: RoomId, facts: RoomFacts, fitting: list[UserId]) -> Finding:
        said = f"{_name(room, facts)} stands under {_enumerate(fitting)}, who are all in it."
        hints = (
            facts.bridge_creators if facts.bridged else frozenset(),
            {facts.creator},
        )
        chosen = next(
            (
                real[0]
                for hint in hints
                if len(real := [user for user in fitting if user in hint]) == 1
            ),
            None,
        )
        if chosen is None:
            said += " Which of them it is for cannot be told."
            return Finding(Kind.SEVERAL_TARGETS, False, said, (room,), tuple(fitting))
        said += f" It was most likely made for {chosen}."
        remove = tuple((user, room) for user in fitting if user != chosen)
        return Finding(Kind.SEVERAL_TARGETS, False, said, (room,), tuple(fitting), remove)

    def _not_a_user(self, key: str) -> Iterator[Finding]:
        """A key such as an e-mail address, as clients write when they invite by it, or plain junk."""
        rooms = dict.fromkeys(item for item in self.content[key] if is_room_id(item))
        rest = [room for room in rooms if not self._is_gone(room)]
        if not rest:
            return
        entries: list[Entry] = []
        settled = True
        for room in rest:
            facts = self.rooms.get(room)
            partner = None if facts is None else facts.partner(self.account)
            if room in self.proper:
                continue
            if partner is None:
                settled = False
            else:
                entries.append((partner, room))
        said = f"{_shown(key)} is no user id; under it: {_count(len(rest), 'room')}."
        address = "@" in key[1:] or key.removeprefix("+").isdigit()
        if address:
            said += " It looks like an address somebody was invited by."
        yield Finding(
            Kind.KEY_NOT_A_USER,
            settled and not address,
            said,
            tuple(rest),
            (key,),
            remove=tuple((key, room) for room in rest),
            **self._adding(*entries),
        )

    def _is_gone(self, room: RoomId) -> bool:
        """Whether a finding about the room itself takes it from every key."""
        facts = self.rooms.get(room)
        if facts is None:
            return False
        return facts.membership.gone or facts.space or self.upgrades.outcome(room) is not None

    # -- rooms that are not marked

    def _unmarked(self, room: RoomId, facts: RoomFacts, bots: frozenset[str]) -> Iterator[Finding]:
        partner = facts.partner(self.account)
        if (
            facts.membership is not Membership.JOIN
            or partner is None
            or facts.room_type
            or facts.successor
            or (not facts.direct and (facts.named or facts.public))
            or partner in bots
            or (not facts.direct and _called_a_bot(partner))
        ):
            return
        name = _name(room, facts)
        if facts.direct:
            by = "Your" if facts.invited_by_us else "The"
            said = f"{name} has one other person in it, {partner}. {by} invitation said that it is a direct chat."
        else:
            said = f"{name} has no name and one other person in it, {partner}."
        yield Finding(
            Kind.UNMARKED, False, said, (room,), (partner,), **self._adding((partner, room))
        )


def _why_wrong(
    user: UserId, standing: Standing, facts: RoomFacts, others: bool
) -> tuple[Kind, str] | None:
    """What is wrong with ``user`` as the one whom the room is for. ``others``: some are in it."""
    joined = facts.membership is Membership.JOIN
    match standing:
        case Standing.OWN if others:
            return Kind.OWN_KEY, "your own user id, but others are in it."
        case Standing.HELPER:
            return Kind.BOT_KEY, f"{user}, a bot that only serves it."
        case Standing.DEPARTED if joined:
            return Kind.NOT_A_MEMBER, f"{user}, who is no longer in it."
        case Standing.NEVER if joined:
            return Kind.NOT_A_MEMBER, f"{user}, who is not in it."
        case _:
            return None


def _called_a_bot(user: UserId) -> bool:
    return user.partition(":")[0].lower().endswith("bot")


def _name(room: RoomId, facts: RoomFacts) -> str:
    title = " ".join(facts.title.split())
    return f"“{title[:60]}” ({room})" if title else room


def _shown(key: str) -> str:
    return key if key.strip() else json.dumps(key)


def _sort_of(value: object) -> str:
    if value is None:
        return "null"
    names = {str: "a text", bool: "a truth value", dict: "an object"}
    return names.get(type(value), "a number")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _enumerate(names: list[UserId]) -> str:
    if len(names) > 5:
        return f"{', '.join(names[:4])} and {len(names) - 4:,} others"
    return f"{', '.join(names[:-1])} and {names[-1]}"
