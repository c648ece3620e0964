"""Stream management (XEP-0198) that acknowledges what is safe, not what was read.

slixmpp's plugin counts a stanza as handled when it is parsed. Here a message counts once its event
is committed; other stanzas count once every message before them does.

The rule that must never break: the ``h`` we send never includes a message whose event could still
be lost.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slixmpp.plugins.base import register_plugin
from slixmpp.plugins.xep_0198 import XEP_0198
from slixmpp.stanza import Iq, Message, Presence

ACK_REQUEST = "<r xmlns='urn:xmpp:sm:3'/>"
PLUGIN = "dm_bridge_stream_management"
_SEQUENCE = 2**32


class Ledger:
    """What of one stream was received, and how much of it is safe. Counts wrap at 2**32.

    ``on_commit`` is called after `commit` made more of it safe.
    """

    def __init__(self, start: int = 0) -> None:
        self._base = start
        self._received = 0
        self._pending: deque[int] = deque()
        self.on_commit: Callable[[], None] = lambda: None

    def receive(self) -> None:
        """One more stanza that the server counts came in."""
        self._received += 1

    def expect_commit(self) -> None:
        """The stanza just received has an event that must be committed first."""
        self._pending.append(self._received)

    def commit(self, count: int) -> None:
        """The ``count`` oldest expected events are committed."""
        for _ in range(min(count, len(self._pending))):
            self._pending.popleft()
        self.on_commit()

    @property
    def received(self) -> int:
        return (self._base + self._received) % _SEQUENCE

    @property
    def safe(self) -> int:
        """The ``h`` that may be sent now."""
        handled = self._pending[0] - 1 if self._pending else self._received
        return (self._base + handled) % _SEQUENCE


@dataclass(frozen=True, slots=True)
class Resumption:
    """What the next stream needs to continue this one (XEP-0198, section 5)."""

    id: str
    full_jid: str
    handled: int
    last_ack: int
    sequence: int
    unacked: tuple[tuple[int, Any], ...]


class StreamManagement(XEP_0198):
    """See the module. Registered under a name of its own, so that slixmpp's plugin stays as it is.

    Besides slixmpp's events it raises ``sm_inconsistent`` when the server acknowledges what was
    never sent.
    """

    name = PLUGIN
    description = "XEP-0198: Stream Management"

    def plugin_init(self) -> None:
        super().plugin_init()
        self.ledger = Ledger()
        self.ledger.on_commit = self._on_commit
        self.resume_refused_exactly = False
        self._sent_h = 0
        self._asked = False

    @property
    def active(self) -> bool:
        """Whether the server acknowledges what we send."""
        return bool(self.enabled_in and self.enabled_out)

    def continue_from(self, previous: Resumption) -> None:
        """Ask to resume the stream that ``previous`` describes."""
        self.sm_id = previous.id
        self.handled = previous.handled
        self.last_ack = previous.last_ack
        self.seq = previous.sequence
        self.unacked_queue.extend(previous.unacked)
        self.ledger = Ledger(previous.handled)
        self.ledger.on_commit = self._on_commit

    def resumption(self, full_jid: str) -> Resumption | None:
        """What the next stream needs, or None when the server does not allow it."""
        if not self.sm_id:
            return None
        return Resumption(
            id=self.sm_id,
            full_jid=full_jid,
            handled=self.ledger.safe,
            last_ack=self.last_ack,
            sequence=self.seq,
            unacked=tuple(self.unacked_queue),
        )

    def send_ack(self) -> None:
        self.handled = self.ledger.safe
        self._sent_h = self.handled
        self._asked = self.handled != self.ledger.received
        super().send_ack()

    def _on_commit(self) -> None:
        if self._asked and self.enabled_in and self.ledger.safe != self._sent_h:
            self.send_ack()

    def _handle_enabled(self, stanza: Any) -> None:
        self.ledger = Ledger()
        self.ledger.on_commit = self._on_commit
        super()._handle_enabled(stanza)
        if not stanza["resume"]:
            self.sm_id = None

    def _handle_resumed(self, stanza: Any) -> None:
        """slixmpp sends again what is not acknowledged, but never asks whether it came."""
        super()._handle_resumed(stanza)
        if self.unacked_queue:
            self.xmpp.send(ACK_REQUEST)

    def request_ack(self, e: object = None) -> None:
        """Ask in the order of the stanzas, not ahead of them as slixmpp does."""
        self.xmpp.send(ACK_REQUEST)

    def _handle_incoming(self, stanza: Any) -> Any:
        if self.enabled_in and isinstance(stanza, Message | Presence | Iq):
            self.ledger.receive()
        return stanza

    def _handle_ack(self, ack: Any) -> None:
        count = _count(ack)
        if count is None or (count - self.last_ack) % _SEQUENCE > len(self.unacked_queue):
            self.xmpp.event("sm_inconsistent", ack)
            return
        super()._handle_ack(ack)

    def _handle_failed(self, stanza: Any) -> None:
        """When the server still knows how much of the old stream it handled, that much is settled."""
        count = _count(stanza)
        if count is not None and self.sm_id:
            acknowledged = (count - self.last_ack) % _SEQUENCE
            if acknowledged <= len(self.unacked_queue):
                self.resume_refused_exactly = True
                for _ in range(acknowledged):
                    self.xmpp.event("stanza_acked", self.unacked_queue.popleft()[1])
        super()._handle_failed(stanza)


def _count(stanza: Any) -> int | None:
    text = stanza.xml.get("h", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def register_stream_management() -> None:
    """Make the plugin known to slixmpp; idempotent."""
    register_plugin(StreamManagement)
