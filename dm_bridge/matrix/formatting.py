"""Text between Matrix message events and the network-neutral form, sanitised both ways.

The rule that must never break: no HTML crosses this module unsanitised, whoever wrote it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from typing import Any
from urllib.parse import unquote

import nh3
from markdown_it import MarkdownIt

from dm_bridge.ids import EventId, UserId
from dm_bridge.matrix.homeserver import Json
from dm_bridge.network.events import Text

MAX_HTML = (
    65_536  # longest formatted_body that is looked at, in characters; events are at most 64 KiB
)
MAX_PART = 48_000  # bytes of JSON for a text; the rest of the event needs some too
_PIECE = 4_000
HTML_FORMAT = "org.matrix.custom.html"

# The subset that clients are recommended to support (client-server API, m.room.message msgtypes).
_TAGS = {
    "a", "b", "blockquote", "br", "caption", "code", "del", "details", "div", "em", "font", "h1",
    "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s", "span",
    "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
_ATTRIBUTES = {
    "a": {"href"},
    "code": {"class"},
    "ol": {"start"},
    "font": {"data-mx-color", "data-mx-bg-color"},
    "span": {"data-mx-color", "data-mx-bg-color", "data-mx-spoiler"},
}
_WORDED = {"img": {"alt", "title"}}
"""What stays of an image, such as a custom emoji, on its way to a network: what it says."""
_SCHEMES = {"https", "http", "ftp", "mailto", "magnet", "xmpp", "matrix"}

_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_PILL = re.compile("""href=["'](?:https://matrix\\.to/#/|matrix:u/)([^"'?]+)""")
_QUOTE = re.compile(r"<mx-reply\b.*?(?:</mx-reply>|$)", re.DOTALL | re.IGNORECASE)
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_ESCAPE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)|\\(?P<escaped>[!-/:-@\[-`{-~])")
_LINK = re.compile(rf"{_ESCAPE.pattern}|\[(?P<words>(?:\\.|[^\]\\\n])*)\]\((?P<link>[^)\s]*)\)")
_FALLBACK = re.compile(r"> (?:\* )?<@[^\s<>]+:[^\s<>]+>[^\n]*\n(?:>[^\n]*\n)*\n")
_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True})


def sanitise(html: str, *, worded: bool = False) -> str:
    """The harmless part of ``html``: recommended tags and attributes, safe links, balanced.

    ``worded``: keep of images what they say.
    """
    return nh3.clean(
        html,
        tags=_TAGS | _WORDED.keys() if worded else _TAGS,
        attributes=_ATTRIBUTES | _WORDED if worded else _ATTRIBUTES,
        url_schemes=_SCHEMES,
        attribute_filter=_harmless,
        link_rel=None,
        strip_comments=True,
        clean_content_tags={"script", "style", "mx-reply"},
    )


def _harmless(_tag: str, attribute: str, value: str) -> str | None:
    """Links lead somewhere by themselves: relative to a message, there is nothing. Colours are colours."""
    match attribute:
        case "href":
            scheme, colon, _ = value.strip().partition(":")
            return value if colon and scheme.lower() in _SCHEMES else None
        case "data-mx-color" | "data-mx-bg-color":
            return value if _COLOUR.fullmatch(value) else None
        case _:
            return value


def to_content(text: Text) -> Json:
    """The content of an ``m.room.message`` event."""
    content: Json = {"msgtype": "m.emote" if text.emote else "m.text", "body": text.body}
    if text.html is not None and len(text.html) <= MAX_HTML:
        content["format"] = HTML_FORMAT
        content["formatted_body"] = sanitise(text.html)
    return content


def edit_of(content: Json, target: EventId) -> Json:
    """The content of an event that replaces that of ``target`` (client-server API, event replacements)."""
    fallback = dict(content)
    if _size(json.dumps(content)) > MAX_PART // 2:  # both together have to fit into an event
        fallback["body"] = fallback["body"][:_PIECE]
        for key in ("format", "formatted_body"):
            fallback.pop(key, None)
    for key in ("body", "formatted_body"):
        if key in fallback:
            fallback[key] = f"* {fallback[key]}"
    relation = {"rel_type": "m.replace", "event_id": target}
    return {**fallback, "m.new_content": content, "m.relates_to": relation}


def mentions(*users: UserId) -> Json:
    """What says whom a message mentions, and with nobody, that no name in it is meant so (client-server API,
    user and room mentions): to be put into its content."""
    return {"m.mentions": {"user_ids": list(users)} if users else {}}


def names_user(content: Json, user: UserId) -> bool:
    """Whether a message mentions a user. A reply lists the author of what it answers, or names them in its quote,
    and names nobody by that."""
    html = content.get("formatted_body")
    said = _QUOTE.sub("", html[:MAX_HTML]) if isinstance(html, str) else ""
    if any(unquote(link[1]).removeprefix("@") == user[1:] for link in _PILL.finditer(said)):
        return True
    relation, listed = content.get("m.relates_to"), content.get("m.mentions")
    if isinstance(relation, dict) and "m.in_reply_to" in relation:
        return False
    users = listed.get("user_ids") if isinstance(listed, dict) else None
    return isinstance(users, list) and user in users


def to_reaction(emoji: str, target: EventId) -> Json:
    """The content of an ``m.reaction`` event."""
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": emoji}}


def in_reply_to(target: EventId) -> Json:
    """What makes a message an answer to another one: to be put into its content."""
    return {"m.relates_to": {"m.in_reply_to": {"event_id": target}}}


def quoting(quote: str, text: Text) -> Text:
    """``text`` after a ``quote``, where what it answers cannot be pointed to."""
    lines = "".join(f"> {line}\n" for line in quote.split("\n"))
    said, above = (escape(each, quote=False).replace("\n", "<br>") for each in (text.body, quote))
    html = f"<blockquote>{above}</blockquote>{said if text.html is None else text.html}"
    return replace(text, body=f"{lines}\n{text.body}", html=html)


def in_parts(text: Text) -> list[Text]:
    """``text`` in parts that fit into an event each (at most 65,535 bytes of JSON, all included).

    A text that has to be split loses its formatting, since tags would have to be split with it.
    """
    html = text.html if text.html is not None and len(text.html) <= MAX_HTML else None
    if _size(text.body) + _size(html or "") <= MAX_PART:
        return [text]
    if _size(text.body) <= MAX_PART:
        return [replace(text, html=None)]
    parts, start, taken, size = [], 0, 0, 0
    while start + taken < len(text.body):
        piece = text.body[start + taken : start + taken + _PIECE]
        if size and size + _size(piece) > MAX_PART:
            end = text.body.rfind("\n", start + taken - _PIECE, start + taken)
            end = start + taken if end <= start else end + 1
            parts.append(text.body[start:end])
            start, taken, size = end, 0, 0
        else:
            taken, size = taken + len(piece), size + _size(piece)
    parts.append(text.body[start:])
    first, *others = parts
    return [
        Text(first, None, text.emote, text.mention),
        *(Text(part, None, text.emote) for part in others),
    ]


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))


def from_content(content: Json) -> Text | None:
    """The text of an ``m.room.message`` event, without the fallback of a reply; None when it has none."""
    body = content.get("body")
    if not isinstance(body, str):
        return None
    html: Any = content.get("formatted_body")
    if content.get("format") != HTML_FORMAT or not isinstance(html, str) or len(html) > MAX_HTML:
        html = None
    clean = None if html is None else sanitise(html, worded=True)
    relation = content.get("m.relates_to")
    if isinstance(relation, dict) and "m.in_reply_to" in relation:
        body = _without_quote(body)
    return Text(body, clean or None, emote=content.get("msgtype") == "m.emote")


def without_fallback(changed: Json) -> Json:
    """The new content of an edit, which does not say what it answers, without a quote that a client repeats in it.

    It should have none (client-server API, "Edits of replies"). What is left is not empty.
    """
    body = changed.get("body")
    shorter = _without_quote(body) if isinstance(body, str) and _FALLBACK.match(body) else ""
    return {**changed, "body": shorter} if shorter.strip() else changed


def _without_quote(body: str) -> str:
    """``body`` without the lines that quote the message it replies to (client-server API, replies)."""
    if not body.startswith(("> <@", "> * <@")):
        return body
    lines = body.split("\n")
    quoted = next((n for n, line in enumerate(lines) if not line.startswith(">")), len(lines))
    if not quoted:
        return body
    rest = lines[quoted:]
    return "\n".join(rest[1:] if rest and not rest[0] else rest)


def notice(markdown: str) -> Json:
    """A notice by the bot, from a few words of Markdown of our own.

    The plain body shows where a link leads in parentheses, instead of Markdown's brackets.
    """
    html = _markdown.render(markdown).strip()
    return {
        "msgtype": "m.notice",
        "body": _LINK.sub(_unformatted, markdown),
        "format": HTML_FORMAT,
        "formatted_body": html,
        **mentions(),
    }


def _unformatted(found: re.Match[str]) -> str:
    """A code span, which stays as it is, what is escaped, or a link."""
    if found["words"] is None:
        return found["escaped"] or found[0]
    words, link = (
        _ESCAPE.sub(lambda each: each["escaped"] or each[0], found[part])
        for part in ("words", "link")
    )
    return f"{words} ({link})"


def plain(text: str) -> str:
    """``text``, whatever it contains, as Markdown that says just that, on one line."""
    return _PUNCTUATION.sub(r"\\\g<0>", " ".join(text.split()))


def code(text: str) -> str:
    """``text``, whatever it contains, as a Markdown code span on one line."""
    flat = " ".join(text.split()) or " "
    fence = "`"
    while fence in flat:
        fence += "`"
    pad = " " if flat[0] == "`" or flat[-1] == "`" else ""
    return f"{fence}{pad}{flat}{pad}{fence}"
