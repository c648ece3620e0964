"""The language in which it is seen what is said by no message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_bridge.testing import pseudo
from dm_bridge.texts import ENGLISH, Catalogue, speak

MESSAGES = """
state = { $name } is { $how }. Write `login { $network }`, or look at [the page]({ $link }).
chats = { $count ->
    [one] one chat
   *[other] { NUMBER($count) } chats
}, { status }
status =
    - connected

    to { "{" }all{ "}" }
"""


@pytest.fixture
def phrase(tmp_path: Path) -> Iterator[Catalogue]:
    (tmp_path / "ours" / ENGLISH).mkdir(parents=True)
    (tmp_path / "ours" / ENGLISH / "some.ftl").write_text(MESSAGES)
    pseudo.write(tmp_path / "written", tmp_path / "ours")
    speak(pseudo.LANGUAGE, tmp_path / "written")
    yield Catalogue(tmp_path / "ours")
    speak(ENGLISH)


def test_brackets_are_around_messages_and_values_and_commands_and_links_stay(
    phrase: Catalogue,
) -> None:
    said = phrase("state", name="`romeo`", how="away", network="xmpp", link="https://x")
    assert said == "⟦⟨`romeo`⟩ is ⟨away⟩. Write `login xmpp`, or look at [the page](https://x).⟧"
    assert phrase("chats", count=2) == "⟦⟨2⟩ chats, ⟦- connected\n\nto {all}⟧⟧"


def test_what_no_message_says_is_seen(phrase: Catalogue) -> None:
    def state(how: str) -> str:
        return phrase("state", name="`romeo`", how=how, network="xmpp", link="https://x")

    assert pseudo.strays(f"- {state('away')}, and more") == ["away", "and", "more"]
    assert pseudo.strays(state(phrase("chats", count=1))) == []
    assert pseudo.strays(state("far away from all"), ["far", "away", "or"]) == ["from", "all"]
    assert pseudo.strays("`some code`, 1. [](https://example.org)") == []


@pytest.mark.parametrize("cut", ["⟦Hello", "Hello⟧", "⟦Hello ⟨you⟧⟩"])
def test_a_message_that_was_cut_is_seen(cut: str) -> None:
    with pytest.raises(ValueError, match="bracket"):
        pseudo.strays(cut)
