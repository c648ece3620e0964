"""Who is in a channel with us: of them alone a server without MONITOR tells when they go, or take another nick.

The rule that must never break: who has parted from every channel with us, or was never seen in one, is not in
sight.
"""

from __future__ import annotations

from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.record import Here

_PREFIXES = "~&@%+!*"


class Sight:
    """Of one connection. Nicks and channels are folded."""

    def __init__(self) -> None:
        self._channels: dict[str, set[str]] = {}

    def __contains__(self, nick: str) -> bool:
        return any(nick in nicks for nicks in self._channels.values())

    def take(self, line: Line, here: Here) -> set[str]:
        """Take any line; who is there since before us, so that nobody knows for how long they have their nick."""
        who = "" if line.source is None else line.source.nick
        nick, channel = here.fold(who), here.fold(line.param(0))
        match line.command:
            case "JOIN" if here.is_me(who):
                self._channels[channel] = set()
            case "JOIN" if channel in self._channels:
                self._channels[channel].add(nick)
            case "353":
                there = self._channels.get(here.fold(line.param(2)), set())
                names = line.param(-1).split()
                found = {here.fold(name.lstrip(_PREFIXES).partition("!")[0]) for name in names}
                new = found - there
                there |= found
                return new if here.fold(line.param(2)) in self._channels else set()
            case "PART":
                self._gone(channel, nick, here)
            case "KICK":
                self._gone(channel, here.fold(line.param(1)), here)
            case "QUIT":
                for nicks in self._channels.values():
                    nicks.discard(nick)
            case "NICK":
                for nicks in self._channels.values():
                    if nick in nicks:
                        nicks.remove(nick)
                        nicks.add(channel)
        return set()

    def _gone(self, channel: str, nick: str, here: Here) -> None:
        if here.is_me(nick):
            self._channels.pop(channel, None)
        else:
            self._channels.get(channel, set()).discard(nick)
