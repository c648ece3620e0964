"""The page's messages, as browsers put them together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fluent.runtime import FluentResource
from fluent.syntax.ast import Message

from dm_bridge.page.static import StaticFiles
from dm_bridge.page.words import NotForBrowsers, Pieces, direction, pieces_of, spoken
from dm_bridge.texts import ENGLISH, be_strict, languages, speak

CHATS = """
    { $count ->
        [0] no chat
        [one] one chat
       *[other] { $count } chats
    } of { $name }{"!"}
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """The admin's folder of messages."""
    yield tmp_path
    speak(ENGLISH)
    be_strict()


def read(text: str) -> tuple[Pieces, set[str]]:
    (message,) = FluentResource(f"page-it = {text}").body
    assert isinstance(message, Message)
    assert message.value is not None
    return pieces_of(message.value)


def test_messages_become_pieces() -> None:
    pieces, values = read(CHATS)
    forms = {"0": ["no chat"], "one": ["one chat"], "other": [{"value": "count"}, " chats"]}
    chats = {"value": "count", "forms": forms, "otherwise": "other"}
    assert pieces == [chats, " of ", {"value": "name"}, "!"]
    assert values == {"count", "name"}


@pytest.mark.parametrize(
    "text",
    ["{ NUMBER($n) }", "{ other }", "{ -term }", "{ 1 }", "{ $n ->\n [red] 1\n *[other] 2\n }"],
)
def test_what_browsers_cannot_say_is_a_mistake(text: str) -> None:
    with pytest.raises(NotForBrowsers):
        read(text)


def test_every_language_has_messages_that_browsers_can_say(own: Path) -> None:
    for language in languages():
        speak(language)
        StaticFiles()


def test_what_a_language_lacks_or_has_wrong_is_said_in_english(own: Path) -> None:
    names = {"page-start", "page-cancel", "page-log-out-label"}
    (own / "ar").mkdir()
    wrong = "page-start = Los\npage-cancel = { NUMBER($n) }\npage-log-out-label = { $nobody }\n"
    (own / "ar" / "ours.ftl").write_text(wrong)
    speak("ar", own)
    with pytest.raises(LookupError, match="page-"):
        spoken(names)
    be_strict(False)
    arabic, english = spoken(names)
    assert arabic == {"language": "ar", "messages": {"page-start": ["Los"]}}
    assert english["messages"] == {
        "page-cancel": ["Cancel"],
        "page-log-out-label": ["Log out of ", {"value": "login"}],
    }
    assert [direction(each) for each in ("ar", "en", "en-XA", "no language")] == [
        "rtl",
        *["ltr"] * 3,
    ]


def test_what_the_admin_says_and_browsers_cannot_is_said_as_we_say_it(own: Path) -> None:
    (own / "en").mkdir()
    (own / "en" / "ours.ftl").write_text(
        "page-cancel = { page-start }\npage-start = Begin\npage-moment = { $nobody }\n"
    )
    speak(ENGLISH, own)
    be_strict(False)
    found = spoken({"page-cancel", "page-start", "page-moment"})
    assert {each["language"] for each in found} == {"en"}
    said: dict[str, Pieces] = {}
    for each in reversed(found):
        said |= each["messages"]
    assert said == {
        "page-cancel": ["Cancel"],
        "page-start": ["Begin"],
        "page-moment": ["One moment …"],
    }
