"""What a server can do: its capabilities (IRCv3) and what it says in ISUPPORT (005).

The rule that must never break: nothing is assumed of a server that did not say it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.connectors.irc.lines import MAX_BODY, Line

WANTED = (
    "account-notify", "account-tag", "batch", "cap-notify", "chghost", "draft/chathistory",
    "draft/event-playback", "echo-message",
    "extended-join", "extended-monitor", "draft/extended-monitor", "labeled-response", "message-tags",
    "server-time", "standard-replies", "userhost-in-names", "znc.in/batch", "znc.in/self-message",
)  # fmt: skip
"""The capabilities that are asked for where they are offered; SASL is asked for only to log in."""
PLAYBACK = "znc.in/playback"
_MAX_TOKENS = 500
_MAX_PAGE = 500
_USER_BYTES, _HOST_BYTES = 18, 64


@dataclass(slots=True)
class Features:
    """``caps``: those in use. ``tokens``: ISUPPORT, by name in upper case. ``offered``: caps, in use or not."""

    caps: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    offered: set[str] = field(default_factory=set)

    def support(self, line: Line) -> None:
        """Take what a 005 says."""
        for token in line.params[1:-1]:
            name, _, value = token.partition("=")
            if name.startswith("-"):
                self.tokens.pop(name[1:].upper(), None)
            elif name and len(self.tokens) < _MAX_TOKENS:
                self.tokens[name.upper()] = value

    @property
    def casemapping(self) -> CaseMapping:
        return CaseMapping.named(self.tokens.get("CASEMAPPING", "rfc1459"))

    @property
    def monitor(self) -> int:
        """How many nicks may be watched; 0 without MONITOR."""
        if "MONITOR" not in self.tokens:
            return 0
        return self._number("MONITOR", 100)

    @property
    def labels(self) -> bool:
        """Whether every line that is sent with a label is answered with it."""
        return {"labeled-response", "batch"} <= self.caps

    @property
    def accounts(self) -> bool:
        """Whether messages say who is logged in, so that a message that says nothing says that too."""
        return "account-tag" in self.caps

    @property
    def history(self) -> bool:
        """Whether the server can be asked for what was written (IRCv3 chathistory)."""
        return {"draft/chathistory", "batch", "server-time"} <= self.caps

    @property
    def history_page(self) -> int:
        """How many lines to ask for at once."""
        return min(self._number("CHATHISTORY", 0) or _MAX_PAGE, _MAX_PAGE)

    @property
    def playback(self) -> bool:
        """Whether the bouncer plays what it keeps when it is asked (ZNC's module ``playback``)."""
        return "server-time" in self.caps and PLAYBACK in self.offered

    @property
    def keeps_lines(self) -> bool:
        """Whether this is a bouncer, or a server like one: it may bring lines again that it brought before."""
        others = any(cap.startswith("znc.in/") for cap in self.offered)
        return "server-time" in self.caps and (self.history or others)

    @property
    def answers_itself(self) -> bool:
        """Whether PING and echoes are answered by a bouncer at once, before the server has seen anything (ZNC)."""
        return not self.labels and any(cap.startswith("znc.in/") for cap in self.caps)

    @property
    def several_clients(self) -> bool:
        """Whether the user may have other clients on the same connection, of whose lines we hear."""
        return self.history or "znc.in/self-message" in self.caps

    @property
    def typing(self) -> bool:
        """Whether others can be told that somebody types (IRCv3 typing)."""
        return "message-tags" in self.caps and self.passes("typing")

    def passes(self, tag: str) -> bool:
        """Whether a tag of clients, named without its ``+``, reaches others (CLIENTTAGDENY)."""
        denied = self.tokens.get("CLIENTTAGDENY", "").split(",")
        return f"-{tag}" in denied if denied[0] == "*" else tag not in denied

    def is_channel(self, target: str) -> bool:
        return target[:1] in (self.tokens.get("CHANTYPES") or "#&")

    def room_for_text(self, own_nick: str, target: str) -> int:
        """Bytes of text that reach ``target`` in one PRIVMSG, after all that others see before it."""
        line = min(MAX_BODY, max(self._number("LINELEN", MAX_BODY), 200))
        user, host = self._number("USERLEN", _USER_BYTES), self._number("HOSTLEN", _HOST_BYTES)
        prefix = len(f":{own_nick}!~@ PRIVMSG {target} :\r\n".encode()) + user + host
        return max(64, line - prefix)

    def _number(self, name: str, otherwise: int) -> int:
        value = self.tokens.get(name, "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 8 else otherwise
