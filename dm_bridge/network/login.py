"""Logging in to a network, as steps that any front end can walk: the bot, a page, an API."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dm_bridge.ids import ContactId


class FieldKind(enum.Enum):
    """How to ask for a value: a secret is hidden, never logged, and redacted where it was typed."""

    TEXT = "text"
    SECRET = "secret"  # noqa: S105 - the name of a kind, no secret


@dataclass(frozen=True, slots=True)
class LoginField:
    """One value to ask the user for. ``label`` reads well after "Please send your ...".

    ``options``: what may be answered, where that is a choice; the label names them too.
    """

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskStep:
    """Ask for ``fields``, in this order; ``instructions`` is one short sentence."""

    fields: tuple[LoginField, ...]
    instructions: str = ""


class Display(enum.Enum):
    """What a `WaitStep` shows: what a camera scans, a word to type or compare, or nothing."""

    QR = "qr"
    CODE = "code"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class WaitStep:
    """Show something, and wait until the user has done what ``instructions`` say, elsewhere.

    ``data``: what the QR code holds, or the code itself. `LoginProcess.submit`, without values, waits for it.
    """

    display: Display
    data: str = field(default="", repr=False)
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class LoginDone:
    """The network accepted the login.

    ``remote``: who the user is there, in the form of `Network.parse_contact`, the same each time: the same
    ``remote`` of the same user is the same login, whose session is replaced.
    ``name``: how to call this login in lists.
    ``credentials``: what `Network.open_session` needs later; sealed before it is stored.
    ``position``: where in the network's record the login begins (`Login.position`), if that is known.
    """

    remote: ContactId
    name: str
    credentials: Mapping[str, str] = field(repr=False)
    position: str | None = None


LoginStep = AskStep | WaitStep | LoginDone


class LoginProcess(Protocol):
    """One attempt to log in, of one user. Nothing is stored until a step is `LoginDone`.

    Between two steps a user may take ten minutes; attempts do not survive a restart of the bridge. No error
    quotes what the user typed: people type passwords into the wrong place.
    """

    def start(self) -> AskStep:
        """The first step. Called once, before all else but `cancel`.

        One without fields is answered at once: so does a login begin that has to ask the network what to show.
        """
        ...

    def check(self, field: str, value: str) -> None:
        """Raise `UserError` when ``value`` cannot be right for the field of the current step; does no I/O.

        Called with each value as soon as it is typed; the user is then asked for it again.
        """
        ...

    async def submit(self, values: Mapping[str, str]) -> LoginStep:
        """Answer the current step with one value for each of its fields; the next step, or `LoginDone`.

        One call at a time; it ends within a minute. Of a `WaitStep`, it waits for half a minute at most, and
        answers with another one, perhaps with other data, for as long as the user has not done it. At
        `LoginDone` nothing of the attempt is open any more: the bridge opens a session next.

        Raises `UserError` when a value is malformed, `CredentialsError` when the network refuses it,
        `NetworkError` when the network cannot be asked. After an error the attempt is over; the bot asks
        the user to begin another.
        """
        ...

    async def cancel(self) -> None:
        """Give up; closes what the attempt opened, within five seconds. Does not raise.

        Called after an error, or when the user gives up: at any time, perhaps twice, also while `submit`
        is under way in another task, which then ends.
        """
        ...
