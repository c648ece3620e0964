"""What goes over the wire for admins of the bridge; of dm_bridge alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dm_bridge.network.events import SessionStatus
from dm_bridge.provisioning.wire import Wire

Mode = Literal["pushed", "watched", "activity", "swept", "none"]


class PartHealth(Wire):
    """How one part is. ``problem``: a sentence, where something is wrong."""

    ok: bool
    problem: str | None = None


class QueueDepth(Wire):
    """How much is in a queue, in all processes."""

    direction: Literal["to_matrix", "to_network"]
    state: Literal["waiting", "parked"]
    rows: int
    oldest_seconds: float = Field(description="how long the oldest has been there; 0 for none")


class ProcessInfo(Wire):
    """One process of the bridge on this database."""

    id: str
    version: str
    started_ts: int = Field(description="in milliseconds since the epoch")
    users: int
    logins: int = Field(description="of these users, that are to be connected")
    this_one: bool = Field(description="whether it is the one that answers")


class LoginCount(Wire):
    """How many logins of the answering process are in a state."""

    network: str
    state: SessionStatus
    logins: int


class ObservedCount(Wire):
    """How many accounts of the answering process are observed in one way."""

    mode: Mode
    sentence: str
    accounts: int


class AdminOverview(Wire):
    """How the bridge is: what is in the database, and what the answering process knows of itself."""

    version: str
    homeserver: PartHealth
    intake: PartHealth = Field(description="whether what the homeserver pushes is taken in")
    database: PartHealth
    queues: list[QueueDepth]
    processes: list[ProcessInfo]
    logins_here: list[LoginCount]
    observed_here: list[ObservedCount]
    pushed_since_ts: int | None = Field(
        default=None, description="since when the homeserver's module is heard, if it is"
    )
    pausing: int = Field(description="chats of the answering process that pause after trouble")


class AdminLogin(Wire):
    """One login of somebody."""

    id: str
    user_id: str
    network: str
    name: str
    stored_state: Literal["active", "bad_credentials", "logged_out"] = Field(
        description="what is in the database: whether it is to be connected"
    )
    state_event: SessionStatus | None = Field(
        default=None, description="how it is; only the process that has its user knows"
    )
    message: str | None = Field(default=None, description="why, as a sentence")
    since_ts: int | None = Field(default=None, description="in milliseconds since the epoch")
    process: str | None = Field(default=None, description="the process that has its user")
    here: bool = Field(description="whether that is the answering process")


class AdminLogins(Wire):
    logins: list[AdminLogin] = Field(description="by user, network and address")
    next: str | None = Field(default=None, description="ask for the next page with it as `after`")


class AdminAccount(Wire):
    """How the m.direct of one user is observed."""

    user_id: str
    process: str | None = Field(default=None, description="the process that has the user")
    here: bool
    mode: Mode | None = Field(default=None, description="only the process that has the user knows")
    observed: str | None = Field(default=None, description="the same as a sentence")
    last_seen_ts: int | None = Field(
        default=None, description="when m.direct was last seen, in milliseconds since the epoch"
    )
    last_seen_by: str | None = Field(default=None, description="in which way")
    problem: str | None = None


class AdminAccounts(Wire):
    accounts: list[AdminAccount] = Field(description="by user id")
    next: str | None = Field(default=None, description="ask for the next page with it as `after`")


class AdminStuck(Wire):
    """One row of a queue; of what people wrote nothing."""

    id: str = Field(description="what `dm-bridge queue` calls it", examples=["in:12"])
    direction: Literal["to_matrix", "to_network"]
    user_id: str | None = None
    login_id: str | None = None
    room_id: str | None = None
    reason: str
    ts: int = Field(description="when it was taken in, in milliseconds since the epoch")


class AdminParked(Wire):
    rows: list[AdminStuck] = Field(description="what is parked, the last 100 in each direction")
