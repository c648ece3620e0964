"""`space`: what people are told of their spaces, and which one they mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dm_bridge.bridge.commands.reply import Reply
from dm_bridge.bridge.commands.space import SpaceCommand
from dm_bridge.errors import UserError
from dm_bridge.ids import LoginId, RoomId, UserId
from dm_bridge.network.api import Network
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.spaces import SpaceMode, SpaceRow

from .fakes import FakeNetwork
from .test_chat_commands import OTHER, USER, login

SPACE = RoomId("!space")


class World:
    """Juliet with a login. In the place of `Logins` and `Spaces`; ``works``: spaces come and go as asked."""

    def __init__(self) -> None:
        self.mine = [login("mine")]
        self.rows: dict[LoginId, SpaceRow] = {}
        self.reasons: dict[LoginId, str] = {}
        self.works = True
        self.command = SpaceCommand(self, self)  # type: ignore[arg-type]

    networks: tuple[Network, ...] = (FakeNetwork(),)

    def of(self, user: UserId) -> list[LoginRow]:
        return self.mine if user == USER else []

    async def row(self, login: LoginId) -> SpaceRow | None:
        return self.rows.get(login)

    def trouble(self, login: LoginId) -> str | None:
        return self.reasons.get(login)

    async def want(self, login: LoginId) -> None:
        self.rows[login] = SpaceRow(login, SpaceMode.ON, creating=True)
        if self.works:
            self.rows[login] = SpaceRow(login, SpaceMode.ON, room=SPACE, invited=True)

    async def refuse(self, login: LoginId) -> None:
        self.rows[login] = replace(self.rows[login], mode=SpaceMode.OFF)
        if self.works:
            self.rows[login] = SpaceRow(login, SpaceMode.OFF)

    async def say(self, rest: str = "", user: UserId = USER) -> str:
        answers: list[str] = []

        async def answer(reply: Reply) -> None:
            answers.append(reply.text)

        await self.command.run(user, RoomId("!management"), rest, answer)
        (text,) = answers
        return text


@pytest.fixture
def world() -> World:
    return World()


async def test_a_space_comes_and_goes_and_each_answer_says_how_to_go_on(world: World) -> None:
    assert "no space. `space on mine` makes one" in await world.say()
    said = await world.say("`On`")
    assert "[a space](https://matrix.to/#/!space)" in said
    assert "`space off mine`" in said
    assert "no space" in await world.say("off mine")


async def test_what_could_not_be_done_is_told_with_the_reason(world: World) -> None:
    world.works = False
    world.reasons[LoginId("mine")] = "The homeserver does *not*"
    said = await world.say("on")
    assert "its space is not there yet; I try again by myself." in said
    assert said.endswith("⚠ The homeserver does \\*not\\*")
    assert "not gone yet" in await world.say("off")


async def test_who_has_left_is_told_so(world: World) -> None:
    world.rows[LoginId("mine")] = SpaceRow(LoginId("mine"), SpaceMode.LEFT, room=SPACE)
    said = await world.say()
    assert "you have left its space" in said
    assert "`space on mine`" in said


async def test_of_several_logins_the_named_one_is_meant(world: World) -> None:
    world.mine.append(login("second"))
    with pytest.raises(UserError, match=r"Which one\? `space on mine`.*`space on second`"):
        await world.say("on")
    await world.say("on second@example.com")
    assert list(world.rows) == ["second"]
    assert (await world.say()).count("\n- ") == 2
    with pytest.raises(UserError, match="no such login"):
        await world.say("off theirs")


@pytest.mark.parametrize("rest", ["onn", "of", "sideways"])
async def test_what_is_mistyped_changes_nothing_and_is_answered_with_what_there_is(
    world: World, rest: str
) -> None:
    with pytest.raises(UserError, match="`space on` to have a space"):
        await world.say(rest)
    assert world.rows == {}


async def test_who_has_no_login_is_told_to_make_one(world: World) -> None:
    with pytest.raises(UserError, match="not logged in"):
        await world.say("on", OTHER)
