"""What a session may offer about people: optional protocols, each declared in `Capabilities`.

As in `dm_bridge.network.abilities`: what is not declared is not called, and the user is told that it cannot be
done. All of it raises `NetworkError`, a sentence for the user, within `PEOPLE_SECONDS`; nothing is tried again,
and what somebody has typed may be given as it is (a name, an address in normal form).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dm_bridge.ids import ContactId
from dm_bridge.network.api import Contact, Network
from dm_bridge.network.signals import RemoteProfile

PEOPLE_SECONDS = 30.0
"""After so many seconds a call is cancelled."""
MAX_AVATAR = 1_000_000
"""Bytes of a picture; larger ones are not shown."""


@runtime_checkable
class Profiles(Protocol):
    """`Capabilities.profiles`."""

    async def profile(self, contact: ContactId) -> RemoteProfile:
        """What the network tells about a person, asked now. What it does not tell is None."""
        ...

    async def avatar(self, contact: ContactId, avatar: str) -> bytes:
        """The picture that `RemoteProfile.avatar` named; any bytes, the bridge looks what they are.

        Raises `NetworkError` when there is none, or it has more than `MAX_AVATAR` bytes.
        """
        ...


@runtime_checkable
class Lists(Protocol):
    """`Capabilities.contacts`."""

    async def contacts(self) -> Sequence[Contact]:
        """The user's contact list, as far as it is known now."""
        ...


@runtime_checkable
class Searches(Protocol):
    """`Capabilities.search`."""

    async def search(self, text: str) -> Sequence[Contact]:
        """People that a directory of the network has for a name or a part of it; some fifty at most."""
        ...


@runtime_checkable
class Blocks(Protocol):
    """`Capabilities.blocks`. A blocked person reaches the user no more, on none of their devices."""

    async def block(self, contact: ContactId) -> None: ...

    async def unblock(self, contact: ContactId) -> None: ...

    async def blocked(self) -> Sequence[ContactId]:
        """Who is blocked, by whichever device."""
        ...


@runtime_checkable
class Answers(Protocol):
    """`Capabilities.requests`: how a `RemoteRequest` is answered. Nobody is ever accepted unless told to."""

    async def accept(self, contact: ContactId) -> None:
        """Take somebody into the contact list, and let each see whether the other is there."""
        ...

    async def decline(self, contact: ContactId) -> None:
        """Refuse it. Whether they are told is the network's own way."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A `Network` whose addresses are made for programs. Optional."""

    def readable(self, contact: ContactId) -> str:
        """The address as people would write it. For reading only: two may look the same."""
        ...


def readable(network: Network, contact: ContactId) -> str:
    """A contact's address for people."""
    return network.readable(contact) if isinstance(network, Readable) else contact
