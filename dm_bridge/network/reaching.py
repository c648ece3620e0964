"""Looking at a network's servers without an account: what `dm-bridge doctor` asks. Optional for a connector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dm_bridge.ids import ContactId


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that answers. ``address``: for people, such as ``xmpp.example.org:5222``.

    ``expires``: when its certificate does, in seconds since the epoch; None without encryption.
    """

    address: str
    expires: float | None = None


@runtime_checkable
class Reachable(Protocol):
    """A `Network` whose servers can be looked at; called between its `start` and `stop`."""

    def servers(self, accounts: Sequence[ContactId]) -> Sequence[str]:
        """The servers that the configuration names, and those of ``accounts``, which users have; each once."""
        ...

    async def reach(self, server: str) -> Reached:
        """Connect to one as a session would, as far as that goes without an account, and leave.

        It may be cancelled at any time. Raises `NetworkError`, whose sentence tells an admin what to do.
        """
        ...
