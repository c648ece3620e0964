"""What logins ask for is said by messages: it is asked in a language in which all else is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_bridge.connectors.irc import connector as irc
from dm_bridge.connectors.irc.config import METHODS
from dm_bridge.connectors.xmpp import connector as xmpp
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep, LoginStep
from dm_bridge.testing import pseudo
from dm_bridge.texts import ENGLISH, speak


@pytest.fixture(autouse=True)
def foreign(tmp_path: Path) -> Iterator[None]:
    pseudo.write(tmp_path)
    speak(pseudo.LANGUAGE, tmp_path)
    yield
    speak(ENGLISH)


def network_of_irc(methods: tuple[str, ...]) -> Network:
    servers = {name: {"host": "127.0.0.1", "methods": methods} for name in ("net", "other")}
    return irc.build(irc.config_model.model_validate({"servers": servers}))


def strays(step: LoginStep) -> list[str]:
    assert isinstance(step, AskStep)
    said = " ".join([step.instructions, *(field.label for field in step.fields)])
    assert "⟦" in said
    return pseudo.strays(said, ["net", "other", *METHODS])


def test_xmpp_asks_in_messages() -> None:
    assert strays(xmpp.build(xmpp.config_model()).start_login().start()) == []


async def test_irc_asks_in_messages() -> None:
    some = network_of_irc(METHODS)
    await some.start()
    login = some.start_login()
    assert strays(login.start()) == []
    assert strays(await login.submit({"network": "net", "nick": "romeo"})) == []


@pytest.mark.parametrize("method", METHODS[1:])
async def test_irc_asks_for_every_secret_in_messages(method: str) -> None:
    some = network_of_irc((method,))
    await some.start()
    step = await some.start_login().submit({"network": "net", "nick": "romeo"})
    assert strays(step) == []
