"""Getting a connection ready: capabilities, passwords, account and nick, until the server has said all.

No I/O: lines go in, lines to send come out (IRCv3 capability negotiation 302, SASL 3.2, RFC 2812).

The rule that must never break: who asked to be logged in to an account is never connected without being so.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from dm_bridge.connectors.irc import failures, sasl
from dm_bridge.connectors.irc.config import Method
from dm_bridge.connectors.irc.features import WANTED, Features
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.texts import phrase

_REQUEST_BYTES = 400
_NICK_SUFFIXES = ("_", "__", "|m", "_m")
_TAKEN = {"433", "436", "437"}
_REFUSED = {"432", "463", "464", "465", "466"}
_SASL_FAILED = {"902", "904", "905"}
_MAX_CHALLENGE = 8192


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs in, and how. ``password`` is of the account, of NickServ, or of the server, as ``method`` says."""

    nick: str
    method: Method = "none"
    account: str = ""
    password: str = field(default="", repr=False)


class Registration:
    """One connection's. ``welcomed``: the server has let us in. ``done``: it has said all. ``nick``: ours, now.

    `receive` raises `NetworkError`; after that the connection is of no use.
    """

    def __init__(self, identity: Identity, network: str) -> None:
        self._identity = identity
        self._network = network
        self._attempts = 0
        self._longest = 30
        self._offered: dict[str, str] = {}
        self._requested: set[str] = set()
        self._mechanism: sasl.Mechanism | None = None
        self._challenge = ""
        self._negotiating = True
        self._logged_in = False
        self.welcomed = False
        self.nick = identity.nick
        self.features = Features()
        self.account = ""
        self.done = False

    @property
    def _uses_sasl(self) -> bool:
        return self._identity.method in ("sasl", "certificate")

    def begin(self) -> list[Line]:
        """The first lines to send."""
        lines = [Line("CAP", ("LS", "302"))]
        if self._identity.method == "server":
            lines.append(Line("PASS", (self._identity.password,)))
        user = "".join(char for char in self._identity.nick if char.isascii() and char.isalnum())[
            :9
        ]
        lines.append(Line("NICK", (self.nick,)))
        lines.append(Line("USER", (user or "matrix", "0", "*", self._identity.nick)))
        return lines

    def receive(self, line: Line) -> list[Line]:
        """Take a line; what is to be sent now."""
        match line.command:
            case "CAP":
                return self._cap(line)
            case "AUTHENTICATE":
                return self._authenticate(line.param(0))
            case "900":
                self.account = line.param(2)
            case "901":
                self.account = ""
            case "903" | "907":
                self._logged_in = True
                return self._end()
            case code if code in _SASL_FAILED and not self.done:
                raise failures.not_logged_in(line, self._network)
            case "906" if (
                not self.done
            ):  # given up, such as when services go away: nobody was refused
                raise failures.no_sasl(self._network)
            case "001":
                if self._uses_sasl and not self._logged_in:
                    raise failures.no_sasl(self._network)
                self.welcomed = True
                self.nick = line.param(0) or self.nick
            case "005":
                self.features.support(line)
            case "376" | "422" if self.welcomed:
                self.done = True
            case "NICK" if line.source is not None and self._is_me(line.source.nick):
                self.nick = line.param(0)
            case code if not self.welcomed and (
                code in _TAKEN or (code == "432" and self._attempts)  # that is about a variant
            ):
                return self._another_nick(line)
            case code if code in _REFUSED and not self.welcomed:
                raise failures.registration(line, self._network)
            case "ERROR" if not self.welcomed and "password" in failures.said(line).lower():
                raise failures.wrong_password(self._network)  # ngIRCd has no other word for it
            case "ERROR":
                raise failures.closed(self._network, failures.said(line))
        return []

    def _is_me(self, nick: str) -> bool:
        fold = self.features.casemapping.fold
        return fold(nick) == fold(self.nick)

    def _another_nick(self, line: Line) -> list[Line]:
        wanted = self._identity.nick
        if self._attempts >= len(_NICK_SUFFIXES):
            raise failures.taken(self._network)
        if self._attempts and (line.command == "432" or line.param(1) == wanted):
            self._longest = len(wanted)  # the variant was too long, or was cut
        suffix = _NICK_SUFFIXES[self._attempts]
        self.nick = wanted[: self._longest - len(suffix)] + suffix
        self._attempts += 1
        return [Line("NICK", (self.nick,))]

    # -- capabilities

    def _cap(self, line: Line) -> list[Line]:
        listed = line.param(-1).split()
        match line.param(1).upper():
            case "LS" | "NEW" as kind:
                for item in listed:
                    name, _, value = item.partition("=")
                    self._offered[name] = value
                    self.features.offered.add(name)
                if kind == "NEW":
                    return self._request(negotiating=False)
                return [] if line.param(2) == "*" else self._request(negotiating=True)
            case "ACK":
                for item in listed:
                    if item.startswith("-"):
                        self.features.caps.discard(item[1:])
                    else:
                        self.features.caps.add(item)
                self._requested.difference_update(listed)
                return self._answered()
            case "NAK" if (
                len(listed) > 1
            ):  # of what is asked for in one line all is refused, or nothing
                return [Line("CAP", ("REQ", name)) for name in listed]
            case "NAK":
                self._requested.difference_update(listed)
                return self._answered()
            case "DEL":
                for item in listed:
                    self._offered.pop(item, None)
                    self.features.offered.discard(item)
                    self.features.caps.discard(item)
        return []

    def _request(self, *, negotiating: bool) -> list[Line]:
        names = [
            name for name in WANTED if name in self._offered and name not in self.features.caps
        ]
        if negotiating and self._uses_sasl:
            if "sasl" not in self._offered:
                raise failures.no_sasl(self._network)
            names.append("sasl")
        self._requested.update(names)
        if not names:
            return self._end() if negotiating else []
        lines, text = [], ""
        for name in names:
            if text and len(text) + len(name) >= _REQUEST_BYTES:
                lines.append(text)
                text = ""
            text = f"{text} {name}" if text else name
        return [Line("CAP", ("REQ", text)) for text in (*lines, text)]

    def _answered(self) -> list[Line]:
        if self._requested or not self._negotiating:
            return []
        if not self._uses_sasl:
            return self._end()
        if "sasl" not in self.features.caps:
            raise failures.no_sasl(self._network)
        return self._start_sasl()

    def _end(self) -> list[Line]:
        if not self._negotiating:
            return []
        self._negotiating = False
        return [Line("CAP", ("END",))]

    # -- SASL

    def _start_sasl(self) -> list[Line]:
        identity = self._identity
        if identity.method == "certificate":
            self._mechanism = sasl.External()
        else:
            offered = self._offered["sasl"].split(",")
            self._mechanism = sasl.choose(offered, identity.account, identity.password)
        if self._mechanism is None:
            raise failures.no_mechanism(self._network)
        return [Line("AUTHENTICATE", (self._mechanism.name,))]

    def _authenticate(self, text: str) -> list[Line]:
        if self._mechanism is None:
            return []
        if text != "+":
            self._challenge += text
            if len(self._challenge) > _MAX_CHALLENGE:
                raise failures.broken(phrase("irc-broken-login-too-long", network=self._network))
            if len(text) == sasl.CHUNK:
                return []
        try:
            challenge = base64.b64decode(self._challenge, validate=True)
            self._challenge = ""
            response = self._mechanism.respond(challenge)
        except binascii.Error:
            raise failures.broken(
                phrase("irc-broken-login-unreadable", network=self._network)
            ) from None
        except sasl.SaslError as error:
            raise failures.broken(
                phrase("irc-broken-login", network=self._network, why=str(error))
            ) from None
        return [Line("AUTHENTICATE", (chunk,)) for chunk in sasl.chunks(response)]
