"""What is logged, how, and what never is."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dm_bridge.ops.logging import REDACTED, TextRenderer, configure_logging, redact
from tests.logs import logging_put_back


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with logging_put_back():
        yield


def set_up(format_: Any, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, format_, stream=stream)
    return stream


def test_a_text_line_has_time_level_event_and_fields() -> None:
    stream = set_up("text")
    structlog.get_logger("dm_bridge.x").info("it works", room="!a", count=3, name="a b", empty="")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z info     it works "
        r'room=!a count=3 name="a b" empty=""\n',
        stream.getvalue(),
    )


def test_a_json_line_is_one_object() -> None:
    stream = set_up("json")
    structlog.get_logger("dm_bridge.x").info("it wörks", room="!a", count=3)
    event = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-.*Z", event.pop("timestamp"))
    assert event == {
        "event": "it wörks", "level": "info", "logger": "dm_bridge.x", "room": "!a", "count": 3,
    }  # fmt: skip


@pytest.mark.parametrize("format_", ["text", "json"])
def test_values_under_sensitive_names_are_replaced_at_any_depth(format_: str) -> None:
    stream = set_up(format_)
    structlog.get_logger("dm_bridge.x").warning(
        "careful",
        password="hunter2",
        as_token="hunter2",
        Authorization="hunter2",
        accessToken="hunter2",
        HSToken="hunter2",
        body="hunter2",
        url=SecretStr("hunter2"),
        event_={"content": {"body": "hunter2"}, "formatted_body": "hunter2"},
        nested=[{"deep": ({"client_secret": "hunter2"},)}],
        body_bytes=11,
        token_count=12,
        everybody="kept",
    )
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count(REDACTED) >= 9
    for kept in ("11", "12", "kept"):
        assert kept in text


@given(
    st.sampled_from(["password", "token", "secret", "body", "authorization"]),
    st.sampled_from(["", "hs_", "X-", "my.", "a_b_"]),
    st.booleans(),
)
def test_no_prefix_or_case_saves_a_secret(word: str, prefix: str, upper: bool) -> None:
    key = prefix + (word.upper() if upper else word)
    event: dict[str, Any] = {"event": "x", "inner": {key: "hunter2"}, key: "hunter2"}
    assert "hunter2" not in repr(redact(None, "info", event))


def test_redaction_leaves_the_callers_objects_alone() -> None:
    inner = {"password": "x"}
    redact(None, "info", {"event": "x", "inner": inner})
    assert inner == {"password": "x"}


def test_libraries_are_heard_from_warning_on_whatever_they_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the XMPP connector, when it has been started in this process, takes slixmpp's loggers over
    monkeypatch.setattr(logging.getLogger("slixmpp"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("slixmpp"), "handlers", [])
    stream = set_up("text", "debug")
    for name in ("slixmpp.xmlstream", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).debug("SEND: hunter2")
        logging.getLogger(name).info("hunter2")
        logging.getLogger(name).warning("heard %s", name)
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "heard slixmpp.xmlstream logger=slixmpp.xmlstream" in text
    assert "heard aiohttp.access" in text


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_the_level_is_for_our_own_events(level: str, heard: int) -> None:
    stream = set_up("text", level)
    for logger in (structlog.get_logger("dm_bridge.x"), logging.getLogger("dm_bridge.y")):
        for method in ("debug", "info", "warning", "error"):
            getattr(logger, method)("said")
    assert stream.getvalue().count("said") == 2 * heard


def test_libraries_follow_a_stricter_level() -> None:
    stream = set_up("text", "error")
    logging.getLogger("aiohttp").warning("said")
    assert stream.getvalue() == ""


def test_setting_up_again_replaces_the_set_up_before() -> None:
    first, second = set_up("text"), set_up("json")
    structlog.get_logger("dm_bridge.x").info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def raise_something() -> None:
    local_variable = "hunter" + str(2)
    message = "it broke"
    try:
        raise ValueError(f"cause, {len(local_variable)}")
    except ValueError as error:
        raise RuntimeError(message.upper()) from error


@pytest.mark.parametrize("format_", ["text", "json"])
def test_exceptions_come_with_their_cause_and_without_locals(format_: str) -> None:
    stream = set_up(format_)
    try:
        raise_something()
    except RuntimeError as error:
        structlog.get_logger("dm_bridge.x").exception("ours")
        logging.getLogger("asyncio").error("theirs", exc_info=error)
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count("IT BROKE") == 2
    assert text.count("cause, 7") == 2
    assert text.count("raise_something") >= 2
    if format_ == "json":
        events = [json.loads(line) for line in text.splitlines()]
        assert [event["exception"][0]["exc_type"] for event in events] == ["RuntimeError"] * 2
        assert all("locals" not in frame for frame in events[0]["exception"][0]["frames"])


def test_nobody_can_forge_a_line_or_steer_a_terminal() -> None:
    stream = set_up("text")
    structlog.get_logger("dm_bridge.x").info("a\nb", name="x\r\ny\x1b[2J\x9b\u2028")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert r"a\nb" in text
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\u2028" not in text


@given(st.text(), st.text())
def test_every_event_without_a_traceback_is_one_line(event: str, value: str) -> None:
    line = TextRenderer(colours=False)(None, "info", {"event": event, "value": value})
    assert len(line.splitlines()) == 1


def test_colours_appear_on_a_terminal_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    configure_logging("info", "text", stream=terminal)
    structlog.get_logger("dm_bridge.x").info("colourful")
    assert "\x1b[" in terminal.getvalue()
    plain = set_up("text")
    structlog.get_logger("dm_bridge.x").info("plain")
    assert "\x1b[" not in plain.getvalue()


def test_warnings_of_the_interpreter_are_logged_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = set_up("text")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert "old thing" in stream.getvalue()
    assert "logger=py.warnings" in stream.getvalue()


def test_bound_values_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = set_up("text")
    with structlog.contextvars.bound_contextvars(login="l1"):
        structlog.get_logger("dm_bridge.x").bind(chat="c1").info("bound")
    assert "login=l1" in stream.getvalue()
    assert "chat=c1" in stream.getvalue()
