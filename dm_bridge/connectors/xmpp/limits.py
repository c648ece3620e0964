"""What the clients of a contact do not know, said once when the user does it (XEP-0030).

Clients that know reactions, corrections or retractions say so. They can be asked while the user sees their
presence; of who is away, nothing is known, and nothing said.

The rule that must never break: nothing is said that the clients themselves have not said, and no message waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId
from dm_bridge.network.signals import RemoteLimit, Signal
from dm_bridge.texts import phrase

_INFO = "{http://jabber.org/protocol/disco#info}"
MAX_CHATS = 1000
MAX_CLIENTS = 5
"""Of one contact; who has more is not asked."""
REACTIONS, EDITS, RETRACTIONS = "reactions", "edits", "retractions"
_FEATURES = {
    REACTIONS: ("urn:xmpp:reactions:0",),
    EDITS: ("urn:xmpp:message-correct:0",),
    RETRACTIONS: ("urn:xmpp:message-retract:1", "urn:xmpp:message-retract:0"),
}
_SAID = {
    REACTIONS: "xmpp-limit-reactions",
    EDITS: "xmpp-limit-edits",
    RETRACTIONS: "xmpp-limit-retractions",
}


class Limits:
    """Those of one session. ``tell``: where it is said. ``timeout``: for each answer, in seconds."""

    def __init__(self, tell: Callable[[Signal], None], timeout: float) -> None:
        self._tell = tell
        self._timeout = timeout
        self._known: OrderedDict[tuple[ChatId, str], None] = OrderedDict()

    async def look(self, client: Client, chat: ChatId, what: str, clients: Sequence[str]) -> None:
        """The user did ``what`` in a chat with somebody who has these ``clients``: say if none knows it."""
        if (chat, what) in self._known or not 0 < len(clients) <= MAX_CLIENTS:
            return
        self._known[chat, what] = None
        if len(self._known) > MAX_CHATS:
            self._known.popitem(last=False)
        try:
            answers = await asyncio.gather(*(self._features(client, each) for each in clients))
        except NetworkError:  # whoever does not answer may know it
            self._known.pop((chat, what), None)
            return
        if not any(feature in known for known in answers for feature in _FEATURES[what]):
            self._tell(RemoteLimit(chat, what, phrase(_SAID[what])))

    async def _features(self, client: Client, address: str) -> set[str]:
        query = Element(f"{_INFO}query")
        answer = await client.request("get", query, self._timeout, to=address)
        found = answer.findall(f"{_INFO}query/{_INFO}feature")
        return {feature.get("var", "") for feature in found}
