"""The user's own message archive on their server (XEP-0313, ``urn:xmpp:mam:2``), page by page.

Queries are slixmpp's stanzas. Its plugin's paging is not used, because that takes results from
anybody, and ends at an error as it does at the end of the archive.

The rule that must never break: a failed query is an error, never an empty page.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from slixmpp import InvalidJID
from slixmpp.plugins.xep_0004.stanza import Form
from slixmpp.plugins.xep_0059.stanza import Set
from slixmpp.plugins.xep_0313.stanza import MAM
from slixmpp.xmlstream import register_stanza_plugin

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.failures import PASSING, RejectedError
from dm_bridge.connectors.xmpp.stanzas import CLIENT, DELAY, FORWARD, IDS, Account
from dm_bridge.errors import NetworkError
from dm_bridge.texts import phrase

FEATURE = "urn:xmpp:mam:2"
PAGE = 100
"""Entries asked for at once; a server may give fewer."""
CLOCK_SKEW = 300.0
"""Seconds by which the server's clock may differ from ours."""
MAX_PAGES = 100
"""Pages that are looked through for one message."""
_DISCO_INFO = "{http://jabber.org/protocol/disco#info}"
_FIN = "{urn:xmpp:mam:2}fin"


@dataclass(frozen=True, slots=True)
class Entry:
    """One archived stanza. ``forwarded``: its XEP-0297 element. ``stored_at``: since the epoch."""

    id: str
    forwarded: Element
    stored_at: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, the oldest first. ``last``: where the next page begins; None when there is none."""

    entries: tuple[Entry, ...]
    last: str | None


class Archive:
    """The archive of the account that ``client`` is logged in to; ``timeout``: of one request.

    All methods raise `RejectedError` when the server refuses, `NetworkError` when it does not answer.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        register_stanza_plugin(MAM, Form)
        register_stanza_plugin(MAM, Set)

    async def exists(self) -> bool:
        """Whether the account has an archive of the kind we know (XEP-0313, section 8)."""
        query = Element(f"{_DISCO_INFO}query")
        try:
            answer = await self._client.request(
                "get", query, self._timeout, to=self._client.account.bare
            )
        except RejectedError as error:
            if error.condition in PASSING:
                raise
            return False
        path = f"{_DISCO_INFO}query/{_DISCO_INFO}feature"
        return any(feature.get("var") == FEATURE for feature in answer.findall(path))

    async def newest(self) -> str | None:
        """The id of the newest entry, if there is any."""
        page = await self._ask({"before": True, "max": "1"}, {})
        return page.entries[-1].id if page.entries else None

    async def page(
        self,
        after: str | None = None,
        start: float | None = None,
        chat: str | None = None,
        entries: int = PAGE,
    ) -> Page:
        """The oldest entries ``after`` an id, not older than ``start``, of one ``chat`` or of all.

        Raises `RejectedError` with the condition ``item-not-found`` when there is no such id.
        """
        fields = {} if chat is None else {"with": chat}
        if start is not None:
            begin = datetime.datetime.fromtimestamp(max(0.0, start), datetime.UTC)
            fields["start"] = begin.strftime("%Y-%m-%dT%H:%M:%SZ")
        bounds: dict[str, str | bool] = {"max": str(entries)}
        if after is not None:
            bounds["after"] = after
        page = await self._ask(bounds, fields)
        return Page(page.entries, None if page.last == after else page.last)

    async def before(self, end: str | None, chat: str | None = None, entries: int = PAGE) -> Page:
        """The newest entries before the one with the id ``end``, or of all, of one ``chat`` or of all.

        ``last`` is where the page before this one ends. Raises like `page`.
        """
        fields = {} if chat is None else {"with": chat}
        asked: str | bool = True if end is None else end
        page = await self._ask({"before": asked, "max": str(entries)}, fields)
        return Page(page.entries, page.entries[0].id if page.last and page.entries else None)

    async def has_sent(self, chat: str, identifier: str, since: float) -> bool:
        """Whether a message of the user's, with this origin-id or ``id``, is there.

        ``since``: when it was sent at the earliest, by our clock. Also raises `NetworkError` when that
        cannot be found out with `MAX_PAGES`.
        """
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self.page(after, since - CLOCK_SKEW, chat)
            account = self._client.account
            if any(_carries(entry, account, identifier) for entry in page.entries):
                return True
            after = page.last
            if after is None:
                return False
        raise NetworkError(
            phrase("xmpp-archive-too-long", address=self._client.account.bare), certain=False
        )

    async def _ask(self, bounds: dict[str, str | bool], fields: dict[str, str]) -> Page:
        query = MAM()
        query["queryid"] = secrets.token_hex(8)
        for name, value in fields.items():
            query[name] = value
        for name, bound in bounds.items():
            query["rsm"][name] = bound
        answer, results = await self._client.search(query.xml, self._timeout)
        entries = tuple(entry for entry in map(_entry, results) if entry is not None)
        fin = answer.find(_FIN)
        if fin is None or fin.get("complete") in ("true", "1"):
            return Page(entries, None)
        last = fin.findtext(f"{{{Set.namespace}}}set/{{{Set.namespace}}}last")
        return Page(entries, last or (entries[-1].id if entries else None))


def _entry(result: Element) -> Entry | None:
    forwarded = result.find(f"{FORWARD}forwarded")
    identifier = result.get("id")
    if forwarded is None or not identifier:
        return None
    delay = forwarded.find(f"{DELAY}delay")
    stored_at: float | None = None
    if delay is not None:
        try:
            stored_at = datetime.datetime.fromisoformat(delay.get("stamp", "")).timestamp()
        except (ValueError, OverflowError):
            stored_at = None
    return Entry(identifier, forwarded, stored_at)


def _carries(entry: Entry, account: Account, identifier: str) -> bool:
    message = entry.forwarded.find(f"{CLIENT}message")
    if message is None or message.get("type") == "error":
        return False
    try:
        sender = normal_jid(message.get("from") or account.bare).bare
    except (InvalidJID, UnicodeError):
        return False
    origin = message.find(f"{IDS}origin-id")
    ids = (message.get("id"), None if origin is None else origin.get("id"))
    return sender == account.bare and identifier in ids
