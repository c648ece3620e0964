"""What goes over the wire: requests and answers, as models from which the OpenAPI document is made.

Fields are those of the provisioning API v3 of bridgev2; what is ours alone says so, or lies under
``org.dm_bridge.``. Fields that are None are left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from dm_bridge.network.events import SessionStatus

MAX_TEXT = 16_384
"""Characters of one value that a user types; a client certificate fits in."""
Typed = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Wire(BaseModel):
    """An object on the wire. Unknown fields of a request are passed over, as Matrix wants."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, strict=True, defer_build=True)


class Nothing(Wire):
    """An empty object."""


class MatrixError(Wire):
    """An error in the form of Matrix."""

    errcode: str = Field(examples=["M_NOT_FOUND"])
    error: str = Field(description="a sentence for people", examples=["Login not found."])
    retry_after_ms: int | None = Field(
        default=None, description="after so many milliseconds the same request may succeed"
    )


# -- the bridge and its user


class BridgeName(Wire):
    """What is bridged. With several networks it stands for all of them."""

    displayname: str
    network_url: str = ""
    network_icon: str = ""
    network_id: str
    beeper_bridge_type: str = "dm_bridge"


class NetworkInfo(Wire):
    """One network of the bridge."""

    id: str = Field(description="also the id of its login flow", examples=["xmpp"])
    name: str = Field(examples=["XMPP"])


class LoginFlow(Wire):
    """A way to log in: one for each network."""

    name: str
    description: str
    id: str = Field(examples=["xmpp"])


class LoginState(Wire):
    """How a login is."""

    state_event: SessionStatus
    timestamp: int = Field(description="since when, in seconds since the epoch")
    ttl: int = 21600
    source: str = "bridge"
    error: str | None = Field(default=None, examples=["xmpp-bad-credentials"])
    message: str | None = Field(default=None, description="why, as a sentence")


class Profile(Wire):
    """Whom a login is, on its network."""

    username: str
    name: str


class WhoamiLogin(Wire):
    """One login of the user."""

    state_event: str = Field(deprecated=True)
    state_ts: int = Field(deprecated=True)
    state: LoginState
    id: str
    name: str
    profile: Profile
    space_room: str | None = Field(
        default=None, description="the space that its chats are in, if its user has one"
    )
    network: str = Field(alias="org.dm_bridge.network", examples=["xmpp"])


class Whoami(Wire):
    """The bridge, and the user's logins."""

    network: BridgeName
    login_flows: list[LoginFlow]
    homeserver: str
    bridge_bot: str
    command_prefix: str = Field(default="", description="the bot needs none")
    management_room: str | None = None
    logins: list[WhoamiLogin]
    networks: list[NetworkInfo] = Field(alias="org.dm_bridge.networks")


class ResolveIdentifierCapabilities(Wire):
    """What can be done about people, by one login, or by any of the user's."""

    create_dm: bool = True
    lookup_phone: bool = False
    lookup_email: bool = False
    lookup_username: bool = True
    any_phone: bool = False
    contact_list: bool
    search: bool


class Capabilities(Wire):
    """What the API can do."""

    resolve_identifier: ResolveIdentifierCapabilities
    group_creation: dict[str, Nothing] = Field(
        default_factory=dict, description="always empty: private chats only"
    )


class LoginFlows(Wire):
    flows: list[LoginFlow]


class LoginIds(Wire):
    login_ids: list[str]


# -- logging in


class InputField(Wire):
    """A field to fill in."""

    type: Literal["username", "password", "select"]
    id: str
    name: str
    description: str = ""
    options: list[str] | None = None


class StepValues(Wire):
    """What the user has typed: for each field of the step its value."""

    model_config = Wire.model_config | {"extra": "allow"}
    __pydantic_extra__: dict[str, Typed]

    @property
    def values(self) -> dict[str, str]:
        return dict(self.__pydantic_extra__)


class UserInput(Wire):
    fields: list[InputField]
    attachments: list[Nothing] = Field(default_factory=list, description="always empty")


class DisplayAndWait(Wire):
    """``data``: what the QR code holds, or the code."""

    type: Literal["qr", "code", "nothing"]
    data: str | None = None
    image: str | None = Field(
        default=None,
        alias="org.dm_bridge.image",
        description="the QR code as a picture: a data URI of SVG",
    )


class Complete(Wire):
    user_login_id: str


class LoginStep(Wire):
    """A step of a login. Which of the last three there is, ``type`` says."""

    login_id: str = Field(description="of the login process")
    type: Literal["user_input", "display_and_wait", "complete"]
    step_id: str
    txn_id: str = Field(description="given with the answer, it makes repeating that safe")
    instructions: str = ""
    user_input: UserInput | None = None
    display_and_wait: DisplayAndWait | None = None
    complete: Complete | None = None


# -- people


class Person(Wire):
    """Somebody on the network."""

    id: str = Field(description="the address on the network, in normal form")
    name: str | None = None
    avatar_url: str | None = None
    identifiers: list[str] | None = None
    mxid: str | None = Field(default=None, description="the ghost that stands for them")
    dm_room_mxid: str | None = Field(default=None, description="the chat, if there is one")


class Contacts(Wire):
    contacts: list[Person]


class SearchUsers(Wire):
    query: Typed


class FoundUsers(Wire):
    results: list[Person]


# -- m.direct, which is ours alone

ContactName = Annotated[
    str | None,
    Field(description="what the contact is called, where that is another thing than the address"),
]


class DirectChatInfo(Wire):
    """A chat, and where it stands in the user's m.direct."""

    room_id: str
    contact: str = Field(description="the contact's address")
    contact_name: ContactName = None
    mxid: str | None = Field(default=None, description="the ghost that stands for them")
    state: Literal["marked", "pending", "opted_out", "conflict", "retired"]


class DirectInfo(Wire):
    """How the user's direct chats are."""

    access: Literal["masquerade", "token", "none"] = Field(
        description="how the bridge reaches the user's account data"
    )
    observed: str = Field(description="how changes are noticed, as a sentence")
    last_seen_ts: int | None = Field(
        default=None, description="when m.direct was last seen, in milliseconds since the epoch"
    )
    problem: str | None = Field(default=None, description="what keeps it from being right")
    chats: list[DirectChatInfo]


class DirectChange(Wire):
    """A change of m.direct. ``before`` and ``after``: the rooms under each user id that it concerns."""

    ts: int = Field(description="in milliseconds since the epoch")
    sentence: str = Field(description="who did what")
    details: list[str]
    before: dict[str, list[str]]
    after: dict[str, list[str]]
    by_bridge: bool = Field(description="whether the bridge made the change")


class DirectHistory(Wire):
    changes: list[DirectChange] = Field(description="newest last")


class DirectRepaired(Wire):
    message: str = Field(description="what came of it, as a sentence of the bot's")
    outcome: Literal["right", "repaired", "slow", "refused"] = Field(
        description="`right`: nothing was wrong; `slow`: it is not done yet; `refused`: it cannot be done"
    )
    repaired: int = Field(description="how many things were put right")
    direct: DirectInfo
