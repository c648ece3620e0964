"""How messages are put into words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_bridge.texts import Catalogue, be_strict, languages, speak

ENGLISH = """
chats = { $count ->
    [one] one chat
   *[other] { $count } chats
}
hello = Hello { $name }!
only-english = Good morning.
"""
GERMAN = """
chats = { $count ->
    [one] ein Chat
   *[other] { $count } Chats
}
hello = Hallo { $nobody }!
"""


@pytest.fixture
def phrase(tmp_path: Path) -> Iterator[Catalogue]:
    for language, messages in (("en", ENGLISH), ("de", GERMAN)):
        (tmp_path / language).mkdir()
        (tmp_path / language / "some.ftl").write_text(messages)
    yield Catalogue(tmp_path)
    speak("en")
    be_strict()


def test_it_is_said_in_the_chosen_language(phrase: Catalogue) -> None:
    assert phrase("chats", count=1) == "one chat"
    assert phrase("chats", count=1234) == "1,234 chats"
    speak("de-AT")
    assert phrase("chats", count=1) == "ein Chat"
    assert phrase("chats", count=1234) == "1.234 Chats"
    assert phrase("only-english") == "Good morning."
    assert {"de", "en"} <= {*languages(phrase.folder)}


def test_what_is_prepared_reads_no_file_later(phrase: Catalogue) -> None:
    speak("de")
    phrase.prepare()
    for path in phrase.folder.glob("*/*.ftl"):
        path.unlink()
    assert phrase("chats", count=1) == "ein Chat"


def test_what_is_put_in_is_put_in_as_it_is(phrase: Catalogue) -> None:
    assert phrase("hello", name="{ $name } `*x*`\u2068") == "Hello { $name } `*x*`\u2068!"


def test_what_is_put_in_may_be_long(phrase: Catalogue) -> None:
    assert phrase("hello", name="x" * 100_000) == f"Hello {'x' * 100_000}!"


def test_a_mistake_in_a_language_is_said_in_english(phrase: Catalogue) -> None:
    speak("de")
    be_strict(False)
    assert phrase("hello", name="Juliet") == "Hello Juliet!"
    be_strict()
    with pytest.raises(LookupError, match="nobody"):
        phrase("hello", name="Juliet")


def test_a_mistake_of_ours_keeps_nobody_from_hearing_something(
    phrase: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    be_strict(False)
    assert phrase("hello") == "Hello name!"
    assert phrase("unheard-of") == "unheard-of"
    assert "unheard-of is in no language" in caplog.text


def test_the_admins_messages_come_before_ours(phrase: Catalogue, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "en").mkdir(parents=True)
    (own / "en" / "ours.ftl").write_text("only-english = Welcome to Example Corp.\n")
    speak("en", own)
    assert phrase("only-english") == "Welcome to Example Corp."
    assert phrase("hello", name="you") == "Hello you!"


def test_a_mistake_of_the_admins_is_said_as_we_say_it(phrase: Catalogue, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "en").mkdir(parents=True)
    (own / "en" / "ours.ftl").write_text("hello = Welcome, { $nobody }!\n")
    speak("en", own)
    be_strict(False)
    assert phrase("hello", name="you") == "Hello you!"


@pytest.mark.parametrize("pattern", ["{ -term }", "{ hello } { hello }"])
def test_a_message_that_says_itself_is_said_as_we_say_it(
    phrase: Catalogue, tmp_path: Path, pattern: str
) -> None:
    own = tmp_path / "own"
    (own / "en").mkdir(parents=True)
    (own / "en" / "ours.ftl").write_text(f"hello = {pattern}\n-term = {{ -term }}\n")
    speak("en", own)
    be_strict(False)
    assert phrase("hello", name="you") == "Hello you!"


@pytest.mark.parametrize("language", ["klingon_x", "en-*", "en-../../x", "xx-x-"])
def test_a_language_may_be_called_anything(
    phrase: Catalogue, tmp_path: Path, language: str
) -> None:
    own = tmp_path / "own"
    (own / language).mkdir(parents=True)
    speak(language, own)
    assert phrase("chats", count=1234) == "1,234 chats"


def test_a_file_that_cannot_be_read_is_logged_and_the_others_are_said(
    phrase: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own" / "en"
    own.mkdir(parents=True)
    (own / "1.ftl").write_bytes("hello = Grüß Gott!\n".encode("latin-1"))
    (own / "2.ftl").mkdir()
    (own / "3.ftl").write_text("deep = " + "{" * 5000)
    (own / "4.ftl").write_text("\ufeffonly-english = Welcome.\n")
    speak("en", own.parent)
    be_strict(False)
    assert phrase("hello", name="you") == "Hello you!"
    assert phrase("only-english") == "Welcome."
    assert all(f"{number}.ftl cannot be read" in caplog.text for number in (1, 2, 3))


def test_what_is_no_message_is_logged_and_the_others_are_said(
    phrase: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "en" / "broken.ftl").write_text("this is no message\nfine = Fine.\n")
    speak("en")
    be_strict(False)
    assert phrase("fine") == "Fine."
    assert "this is no message" in caplog.text
