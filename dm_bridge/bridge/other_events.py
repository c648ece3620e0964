"""Events that are no messages, and yet something that a user says: as text, where there is any. Pure.

Polls (MSC3381), live locations (MSC3489, MSC3672), calls (client-server API, "Voice over IP"; MSC4075), and
whatever has a text for clients that do not know it (MSC1767).
"""

from __future__ import annotations

from typing import Any

from dm_bridge.network.events import Text
from dm_bridge.texts import phrase

Json = dict[str, Any]

_POLLS = ("m.poll.start", "org.matrix.msc3381.poll.start")
_IN_POLLS = ("m.poll", *_POLLS)
"""Where a poll stands in such an event."""
_ENDS = ("m.poll.end", "org.matrix.msc3381.poll.end")
_CALLS = (
    "m.call.invite",
    "m.call.notify",
    "org.matrix.msc4075.call.notify",
    "m.rtc.notification",
    "org.matrix.msc4075.rtc.notification",
)
_VOTES = ("m.poll.response", "org.matrix.msc3381.poll.response")
_LIVE = ("m.beacon_info", "org.matrix.msc3672.beacon_info")
_WHEREABOUTS = ("m.beacon", "org.matrix.msc3672.beacon")
_TEXTS = ("m.text", "org.matrix.msc1767.text", "body")
MAX_ANSWERS = 50


def in_words(kind: str, content: Json) -> Text | str | None:
    """What to send instead of an event of type ``kind``; or a sentence why nothing can be sent.

    None where nobody would expect that the contact sees anything.
    """
    if kind in _CALLS:
        return phrase("delivery-no-calls")
    if kind in _VOTES:
        return phrase("delivery-no-votes")
    if kind in _WHEREABOUTS:  # of what the user was told when it began
        return None
    poll = next((content[key] for key in _IN_POLLS if isinstance(content.get(key), dict)), None)
    words = _poll(poll) if kind in _POLLS and poll is not None else ""
    words = words or _text(content)
    if kind in _ENDS and (not words or _names_event(words, content.get("m.relates_to"))):
        words = phrase("delivery-poll-over")
    return Text(words) if words else None


def state_in_words(kind: str, content: Json) -> str | None:
    """Why nothing can be sent of a state of the room; None where nobody would expect it to be."""
    live = kind in _LIVE and content.get("live") is True
    return phrase("delivery-no-live-places") if live else None


def _poll(poll: Json) -> str:
    """A question, and its answers with numbers."""
    question = poll.get("question")
    asked = _text(question) if isinstance(question, dict) else ""
    given = poll.get("answers")
    answers = (
        [_text(one) for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    )
    lines = [f"{n}. {answer}" for n, answer in enumerate(answers[:MAX_ANSWERS], 1) if answer]
    return "\n".join([f"📊 {asked}", *lines]) if asked else ""


def _names_event(words: str, relation: Any) -> bool:
    """Whether a text has the id of the event in it that it is about, which says nothing to a contact."""
    event = relation.get("event_id") if isinstance(relation, dict) else None
    return isinstance(event, str) and event in words


def _text(content: Json) -> str:
    """The plain text of an event that may have several forms of it."""
    for key in _TEXTS:
        value = content.get(key)
        if isinstance(value, list):  # MSC1767: forms of it, the best first
            plain = (one for one in value if isinstance(one, dict))
            value = next((one.get("body") for one in plain if _is_plain(one)), None)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _is_plain(form: Json) -> bool:
    return bool(form.get("mimetype", "text/plain") == "text/plain")
