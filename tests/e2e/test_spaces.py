"""A space for the chats of a login, on real servers: what its user sees, and that chats stay direct."""

from __future__ import annotations

import time

import pytest

from dm_bridge.errors import HomeserverError
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.prosody_archive import Archived
from dm_bridge.testing.stack import Stack
from tests.e2e.pairs import PASSWORD, Pair, ghost_of, invite_of, pair, unique, within
from tests.e2e.provisioning_client import Api
from tests.e2e.test_room_life import members, upgrade


async def children(user: MatrixUser, space: str) -> set[str]:
    """The rooms in a space, each with a way to it."""
    events = [event for event in await user.state(space) if event["type"] == "m.space.child"]
    kept = [event for event in events if event["content"]]
    assert all(event["content"]["via"] for event in kept)
    return {event["state_key"] for event in kept}


async def until_children(user: MatrixUser, space: str, *rooms: str) -> None:
    """Wait until exactly these rooms are in it."""

    async def there() -> bool:
        return await children(user, space) == set(rooms)

    try:
        await within(45, there)
    except TimeoutError:
        raise AssertionError(f"{await children(user, space)} should be {set(rooms)}") from None


async def spaces_of(user: MatrixUser) -> list[str]:
    """The spaces that the user is in."""
    found = []
    for room in await user.joined_rooms():
        create = await user.state_content(room, "m.room.create") or {}
        if create.get("type") == "m.space":
            found.append(room)
    return found


async def direct_rooms(p: Pair) -> set[str]:
    """The rooms in alice's m.direct, but for the bot's."""
    document = await p.alice.m_direct() or {}
    return {room for key, rooms in document.items() if key != p.stack.bot for room in rooms}


async def until_direct(p: Pair, *rooms: str) -> None:
    async def there() -> bool:
        return await direct_rooms(p) == set(rooms)

    await within(45, there)


async def space_on(p: Pair) -> str:
    """Alice wants a space; which one she has then."""
    await p.ask("space on", "has its chats")
    (space,) = await spaces_of(p.alice)
    return space


@pytest.mark.both_room_versions
async def test_a_space_holds_exactly_the_chats_and_they_stay_direct(stack: Stack) -> None:
    async with pair(stack) as p, stack.xmpp_user(f"nurse-{unique(stack)}") as nurse:
        first = await p.first_chat()
        await until_direct(p, first)
        await p.ask("space", "no space")
        await p.ask("help space", "a space with the chats of a login")
        await p.ask("spaec", "Did you mean")
        await p.ask("space offf", "Did you mean")
        space = await space_on(p)
        await until_children(p.alice, space, first)
        assert await spaces_of(p.alice) == [space]
        assert (await members(p.alice, space)) == {p.alice.user_id: "join", stack.bot: "join"}
        assert invite_of(p.alice, space).content.get("is_direct") is None
        name = await p.alice.state_content(space, "m.room.name")
        assert name == {"name": f"XMPP ({p.romeo})"}
        with pytest.raises(HomeserverError, match="403"):
            await p.alice.send_text(space, "help")
        with pytest.raises(HomeserverError, match="403"):
            await p.alice.send_state(space, "m.space.child", {"via": ["x"]}, p.management)
        who = await Api(stack.bridge, p.alice.token).get("whoami")
        assert [login["space_room"] for login in who["logins"]] == [space]
        # a new chat, and a room that takes another's place
        mark = p.alice.mark()
        nurse.send(p.romeo, "my lady")
        second = (await p.alice.wait_for_text("my lady", after=mark)).room_id
        await until_children(p.alice, space, first, second)
        third = await upgrade(p.alice, first)
        await until_children(p.alice, space, second, third)
        await until_direct(p, second, third)
        # another process finds it
        await stack.bridge.stop()
        await stack.bridge.run()
        mark = p.alice.mark()
        nurse.send(p.romeo, "after the restart")
        assert (await p.alice.wait_for_text("after the restart", after=mark)).room_id == second
        await p.ask(f"delete-chat {second}", "no longer bridged")
        await until_children(p.alice, space, third)
        assert await spaces_of(p.alice) == [space]
        await until_direct(p, third)
        # and it goes, and the chats do not
        await p.ask("space off", "no space")
        assert await spaces_of(p.alice) == []
        await until_direct(p, third)
        assert (await members(p.alice, third))[ghost_of(stack, p.juliet.bare_jid)] == "join"
        await p.ask("ping", "Pong")


async def test_who_leaves_their_space_is_invited_again_when_they_ask_for_it(stack: Stack) -> None:
    async with pair(stack) as p:
        space = await space_on(p)
        await p.alice.leave(space)

        async def noticed() -> bool:
            who = await Api(stack.bridge, p.alice.token).get("whoami")
            return "space_room" not in who["logins"][0]

        await within(45, noticed)
        await p.ask("space", "you have left its space")
        room = await p.first_chat()
        await until_direct(p, room)
        assert await spaces_of(p.alice) == []
        assert await space_on(p) == space
        assert await spaces_of(p.alice) == [space]
        await until_children(p.alice, space, room)


async def test_a_new_login_has_a_space_unasked_where_the_admin_says_so(stack: Stack) -> None:
    number, chats = unique(stack), 8
    romeo = await stack.prosody.add_user(f"romeo-{number}", PASSWORD)
    assert isinstance(stack.prosody, Prosody)
    begin = int(time.time()) - 100_000
    stack.prosody.write_archive(
        romeo, [Archived(f"c{n}@localhost", "hello", False, begin + n) for n in range(chats)]
    )
    await configured(stack, new_logins=True)
    try:
        async with stack.matrix_user(f"alice-{number}") as alice:
            management = await stack.open_bot_chat(alice)
            await stack.log_in(alice, management, romeo, PASSWORD)
            await alice.wait_for(lambda s: (s.body or "").startswith("I have brought over"))
            document = await alice.m_direct() or {}
            rooms = [room for key in document if key != stack.bot for room in document[key]]
            assert len(rooms) == chats

            async def there() -> bool:
                return bool(await spaces_of(alice))

            await within(45, there)
            (space,) = await spaces_of(alice)
            await until_children(alice, space, *rooms)
            assert await alice.m_direct() == document
    finally:
        await configured(stack, new_logins=False)


async def configured(stack: Stack, *, new_logins: bool) -> None:
    """Start the bridge anew, with this in its configuration."""
    await stack.bridge.stop()
    stack.bridge.configure({"spaces": {"new_logins": new_logins}})
    await stack.bridge.run()
