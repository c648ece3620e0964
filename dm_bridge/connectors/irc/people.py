"""Who is who on one IRC network: which person has a nick, and whether that is still the same one.

What tells people apart, in this order: the account that the server says they are logged in to; else their user
name and host, of which only a digest is kept. A change of nick that the server announces is certain.

Of each person with whom there is a chat we know where they are: under a nick (``juliet``), or, once somebody else
took that, under a mark (``juliet!1a2b3c4d``). Whoever moves takes their chat with them.

The rule that must never break: a chat never goes on with somebody else. Who cannot be told to be the same
person is another one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

MAX_PEOPLE = 300
"""People remembered; of the others, those met longest ago, the next sighting counts as the first."""


@dataclass(frozen=True, slots=True)
class Person:
    """``account``: folded, or empty when none is known. ``mask``: digest of user and host, or empty."""

    account: str = ""
    mask: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A chat goes on elsewhere. ``old`` and ``new``: a folded nick, or a former one with its mark."""

    old: str
    new: str


def digest(user: str, host: str) -> str:
    """Eight hexadecimal digits for a user name and host. Whether identd knows the name (``~``) is no part."""
    if not host:
        return ""
    return _hash(f"{user.lstrip('~')}@{host.lower()}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class People:
    """The people of one login; keys are folded nicks. Each method returns the moves it takes, in order.

    ``trusting``: who has a nick is taken for who had it.
    """

    def __init__(self, stored: str = "", *, trusting: bool = False) -> None:
        self._trusting = trusting
        self._known: dict[str, Person] = _read(stored)
        self._present: set[str] = set()
        self.changed = False
        """Whether there is something to store; whoever stores it sets it back."""
        self.revision = 0
        """Raised when there are other nicks."""

    def __contains__(self, nick: str) -> bool:
        return nick in self._known

    def nicks(self) -> list[str]:
        """The nicks whose holders are known, those met last at the end."""
        return [key for key in self._known if "!" not in key]

    def store(self) -> dict[str, str]:
        """What to give to the next `People`, for JSON."""
        return {key: f"{person.mask} {person.account}" for key, person in self._known.items()}

    # -- what is seen

    def meet(self, nick: str) -> None:
        """A chat with whoever has ``nick`` begins."""
        if nick not in self._known:
            self._put(nick, Person())

    def seen(self, nick: str, mask: str, account: str | None) -> list[Move]:
        """Somebody acts under ``nick``. ``account``: empty for none, None when the server does not say."""
        now = Person(account or "", mask)
        known = self._known.get(nick)
        if known is not None and self._is_same(known, now):
            self._put(nick, Person(now.account or known.account, mask or known.mask))
            self._present.add(nick)
            return []
        moves = self._retire(nick)
        before = self._elsewhere(nick, now)
        if before is not None:
            moves.append(self._move(before, nick))
        self._put(nick, now)
        self._present.add(nick)
        return moves

    def noticed(self, nick: str, mask: str, account: str | None) -> list[Move]:
        """The same, for somebody who only is there: nobody becomes known by that, and doubt is left for later."""
        known = self._known.get(nick)
        if known is None:
            before = self._elsewhere(nick, Person(account or "", mask))
            return [] if before is None else self.seen(nick, mask, account)
        if account is None and known.account and known.mask != mask:
            self.left(nick)
            return []
        return self.seen(nick, mask, account)

    def renamed(self, old: str, new: str, mask: str) -> list[Move]:
        """The server says that who had ``old`` has ``new`` from now on."""
        if old == new:
            return []
        known = self._known.get(old)
        is_holder = known is not None and (
            self._trusting
            or old in self._present
            or not known.mask
            or known.mask == mask
            or not mask
        )
        if known is None or not is_holder:
            moves = self._retire(old) if known is not None else []
            return moves + self.noticed(new, mask, None)
        there = self._known.get(new)
        if there is not None and self._is_same(there, Person(known.account, mask or known.mask)):
            self.left(old)
            return self.seen(new, mask, known.account)  # the same person has chats under both nicks
        moves = [*self._retire(new), self._move(old, new)]
        self._put(new, replace(known, mask=mask or known.mask))
        self._present.add(new)
        return moves

    def logged_in(self, nick: str, account: str) -> None:
        """The server says that who has ``nick`` is logged in to ``account``; empty: not any more."""
        known = self._known.get(nick)
        if known is not None and account and nick in self._present:
            self._put(nick, replace(known, account=account))

    def has_host(self, nick: str, mask: str) -> None:
        """The server says that who has ``nick`` got another user name or host."""
        known = self._known.get(nick)
        if known is not None and nick in self._present:
            self._put(nick, replace(known, mask=mask))

    def left(self, nick: str) -> None:
        """Nobody has ``nick`` any more, or nobody knows: whoever comes next has to show who they are."""
        self._present.discard(nick)

    def all_left(self) -> None:
        """The connection is gone: nothing is known of what happens meanwhile."""
        self._present.clear()

    def is_present(self, nick: str) -> bool:
        """Whether who has ``nick`` was seen, and was not seen leaving since."""
        return nick in self._present

    # -- who is who

    def _is_same(self, known: Person, now: Person) -> bool:
        if self._trusting:
            return True
        if known.account and now.account:
            return known.account == now.account
        if not known.mask:
            return not known.account
        return known.mask == now.mask

    def _elsewhere(self, nick: str, now: Person) -> str | None:
        """Where else this person has a chat, if that is certain, and they are not there as well."""
        for key, person in reversed(self._known.items()):
            if now.account and person.account == now.account and key not in self._present:
                return key
            if key.startswith(f"{nick}!") and not person.account and person.mask == now.mask:
                return key
        return None

    def _retire(self, nick: str) -> list[Move]:
        """Who had ``nick`` has lost it."""
        known = self._known.get(nick)
        if known is None:
            return []
        mark = known.mask or _hash(known.account)
        while (
            f"{nick}!{mark}" in self._known
        ):  # somebody else with this user name and host lost it before
            mark = _hash(f"{mark} {known.account}")
        return [self._move(nick, f"{nick}!{mark}")]

    def _move(self, old: str, new: str) -> Move:
        person = self._known.pop(old)
        self._present.discard(old)
        self._put(new, person)
        return Move(old, new)

    def _put(self, key: str, person: Person) -> None:
        if self._known.get(key) == person:
            return
        self.revision += self._known.pop(key, None) is None
        self._known[key] = person
        self.changed = True
        while len(self._known) > MAX_PEOPLE:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._present.discard(oldest)


def _read(stored: str) -> dict[str, Person]:
    try:
        entries = json.loads(stored) if stored else {}
        people = {}
        for key, value in entries.items():
            mask, _, account = value.partition(" ")
            people[key] = Person(account, mask)
        return people
    except (ValueError, AttributeError):
        return {}
