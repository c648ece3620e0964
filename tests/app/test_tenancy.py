"""What is taken in for users who come and go between processes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from dm_bridge.app.tenancy import Tenancy
from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.provisioning.relay import ANSWER, CALL
from dm_bridge.store.instances import Errand
from dm_bridge.store.outbox import OutboxRow

JULIET = UserId("@juliet:example.org")
ROOM = RoomId("!room:example.org")
CHAT = PortalKey(LoginId("login"), ChatId("chat"))


class World:
    """Everything that a `Tenancy` asks, as one user sees it. ``held``: whether the user is ours."""

    alone = False

    def __init__(self) -> None:
        self.held = True
        self.given_meanwhile = False
        self.woken: list[object] = []
        self.errands: list[Errand] = []
        self.with_rows: list[Errand] = []
        self.doubted: list[PortalKey] = []
        self.added: list[OutboxRow] = []
        self.strange: set[RoomId] = set()
        self.forgotten: list[UserId] = []
        world = cast(Any, self)
        self.tenancy = Tenancy(*[world] * 11)

    # shares
    def holds(self, user: UserId) -> bool:
        return self.held

    async def adopt(self, users: Collection[UserId]) -> None:
        pass

    async def leave_errands(self, errands: Sequence[Errand]) -> None:
        self.errands += errands

    # whose
    async def of(
        self, rooms: Collection[RoomId], senders: Mapping[RoomId, UserId] | None = None
    ) -> dict[RoomId, UserId]:
        known = [room for room in rooms if room not in self.strange or room in (senders or {})]
        return dict.fromkeys(known, JULIET)

    def forget(self, user: UserId) -> None:  # so does what keeps m.direct
        self.forgotten.append(user)

    # logins
    def owner(self, login: LoginId) -> UserId | None:
        return JULIET

    # outbox
    async def add(self, rows: list[OutboxRow], errands: Sequence[Errand]) -> list[OutboxRow]:
        self.with_rows += errands
        self.added += rows
        if self.given_meanwhile:
            self.held = False
        return rows

    # carrier
    def doubt(self, chats: Iterable[PortalKey]) -> None:
        self.doubted += chats

    # lanes
    def wake(self, key: object) -> None:
        self.woken.append(key)


def row() -> OutboxRow:
    return OutboxRow(EventId("$event"), ROOM, JULIET, {})


async def test_events_of_our_users_wake_their_rooms() -> None:
    world = World()
    await world.tenancy.accept([row()])
    assert (world.woken, world.with_rows, world.errands) == ([ROOM], [], [])


async def test_word_of_events_of_others_is_committed_with_them() -> None:
    world = World()
    world.held = False
    await world.tenancy.accept([row()])
    assert (world.woken, world.errands) == ([], [])
    assert world.with_rows == [Errand(JULIET, "room", ROOM)]


async def test_a_user_who_was_given_away_meanwhile_is_not_served_here() -> None:
    world = World()
    world.given_meanwhile = True
    await world.tenancy.accept([row()])
    assert world.woken == []
    assert world.errands == [Errand(JULIET, "room", ROOM)]


async def test_what_our_bot_does_in_a_room_that_nobody_knows_concerns_nobody() -> None:
    world = World()
    bot, space = UserId("@bot:example.org"), RoomId("!new:example.org")
    world.tenancy = cast(Any, Tenancy)(*[world] * 11, bot=bot)
    world.strange = {space}
    joins = OutboxRow(EventId("$join"), space, bot, {})
    await world.tenancy.accept([joins])
    assert (world.added, world.woken) == ([], [])
    await world.tenancy.accept([joins, row(), OutboxRow(EventId("$2"), ROOM, bot, {})])
    assert [each.id for each in world.added] == ["$event", "$2"]
    assert world.woken == [ROOM]


async def test_what_a_session_brings_as_it_is_closed_wakes_nobody_here() -> None:
    world = World()
    world.tenancy.wake_chats([CHAT])
    world.held = False
    world.tenancy.wake_chats([CHAT])
    assert world.woken == [CHAT]


async def test_what_was_put_back_for_users_of_others_is_no_business_of_ours() -> None:
    world = World()
    world.tenancy.requeued([CHAT])
    world.held = False
    world.tenancy.requeued([CHAT])
    assert (world.doubted, world.woken) == ([CHAT], [CHAT])


async def test_what_is_asked_over_http_reaches_the_relay() -> None:
    world = World()
    heard: list[tuple[str, Errand]] = []

    class Relay:
        def asked(self, errand: Errand) -> None:
            heard.append(("asked", errand))

        def answered(self, errand: Errand) -> None:
            heard.append(("answered", errand))

    world.tenancy = cast(Any, Tenancy)(*[world] * 11, relay=Relay())
    world.held = False  # the relay looks for itself, so that whoever asks is told
    asked, answered = Errand(JULIET, CALL, "x"), Errand("instance", ANSWER, "y")
    await world.tenancy.run(asked)
    await world.tenancy.run(answered)
    assert heard == [("asked", asked), ("answered", answered)]


async def test_of_who_was_erased_elsewhere_nothing_is_remembered_here() -> None:
    world = World()
    await world.tenancy.run(Errand("instance", "forgotten", JULIET))
    assert world.forgotten == [JULIET, JULIET]  # whose rooms they were, and how the list was seen
