"""What goes over the wire about deliveries, and about all of a user's at once; of dm_bridge alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dm_bridge.provisioning.wire import ContactName, DirectInfo, NetworkInfo, WhoamiLogin, Wire


class DeliveryProblem(Wire):
    """Something that has not arrived; of its text nothing."""

    id: str = Field(
        description="`out:` or `in:` and a number; the same for as long as it is there",
        examples=["out:12"],
    )
    direction: Literal["to_network", "to_matrix"]
    state: Literal["not_delivered", "perhaps_delivered", "not_shown", "waiting"] = Field(
        description="`not_shown`: it came from the network, and is not in the room"
    )
    room_id: str | None = Field(default=None, description="its chat's room, if there is one")
    contact: str = Field(description="the contact's address")
    contact_name: ContactName = None
    login_id: str
    ts: int = Field(description="when the bridge took it in, in milliseconds since the epoch")
    reason: str = Field(description="why, as a sentence")
    behind: int = Field(
        default=0, description="how many more wait behind it in its chat; up to 999 are counted"
    )
    can_retry: bool
    advice: str | None = Field(default=None, description="what to do about it, as a sentence")


class Deliveries(Wire):
    """What of the user's messages has not arrived, in both directions, the oldest first."""

    problems: list[DeliveryProblem] = Field(
        description="the last 200 of each kind, of what was not delivered in the last seven days"
    )


class DeliveriesRetried(Wire):
    """What came of it."""

    message: str = Field(description="as a sentence")
    deliveries: Deliveries


class Snapshot(Wire):
    """How everything of the user's is now."""

    digest: str = Field(description="of all that is here, but for times; to ask again with")
    connected_to: str = Field(description="the process of the bridge that has the user")
    networks: list[NetworkInfo]
    logins: list[WhoamiLogin]
    direct: DirectInfo
    deliveries: Deliveries
    management_room: str | None = Field(default=None, description="the bot's room with the user")
