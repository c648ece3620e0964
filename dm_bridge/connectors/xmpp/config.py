"""The ``networks.xmpp`` section of the configuration.

The rule that must never break: a password travels unencrypted only to this very machine, and only
when the configuration says so for that domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from slixmpp import JID, InvalidJID

from dm_bridge.connectors.loopback import is_loopback
from dm_bridge.connectors.xmpp.addresses import normal_jid

Tls = Literal["starttls", "direct", "none"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ServerConfig(BaseModel):
    """How to reach the server of one XMPP domain; what is left out is found through DNS.

    ``tls``: ``starttls`` (RFC 6120), ``direct`` (XEP-0368), or ``none``, for loopback hosts only.
    ``ca_file``: PEM file with the authorities to trust instead of the system's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str | None = Field(default=None, min_length=1, max_length=255)
    port: int | None = Field(default=None, ge=1, le=65_535)
    tls: Tls = "starttls"
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _plain_only_here(self) -> ServerConfig:
        if self.tls == "none" and (self.host is None or not is_loopback(self.host)):
            raise ValueError(
                "tls: none sends passwords unencrypted, so it is allowed only with a host on this"
                " machine (127.0.0.0/8, ::1 or localhost); use starttls or direct"
            )
        return self


class XmppConfig(BaseModel):
    """The section ``networks.xmpp``. Times are in seconds.

    ``servers``: XMPP domain to how its server is reached; domains not listed are looked up in DNS.
    ``resource``: what the resource of every session starts with; the login's id follows.
    ``connect_timeout``: for one attempt, from the first packet to a usable session.
    ``send_timeout``: how long to wait for the server to accept a message.
    ``send_wait``: how long a message waits for the session to be connected.
    ``ping_interval``, ``ping_timeout``: how a dead connection is noticed (XEP-0199).
    ``retry_min``, ``retry_max``: bounds of the pause between attempts to connect.
    ``conflict_pause``: the shortest pause after another program took over the session's resource.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    servers: dict[str, ServerConfig] = Field(default_factory=dict)
    resource: str = Field(default="dm_bridge", min_length=1, max_length=200)
    connect_timeout: Seconds = 30.0
    send_timeout: Seconds = 30.0
    send_wait: Seconds = 10.0
    ping_interval: Seconds = 60.0
    ping_timeout: Seconds = 20.0
    retry_min: Seconds = 1.0
    retry_max: Seconds = 300.0
    conflict_pause: Seconds = 60.0

    @field_validator("servers")
    @classmethod
    def _domains_in_normal_form(cls, servers: dict[str, ServerConfig]) -> dict[str, ServerConfig]:
        normal: dict[str, ServerConfig] = {}
        for name, server in servers.items():
            try:
                jid = normal_jid(name.rstrip("."))
            except InvalidJID:
                raise ValueError(f"{name!r} is not an XMPP domain such as example.org") from None
            if not jid.domain or jid.full != jid.domain:
                raise ValueError(f"{name!r} is not an XMPP domain such as example.org")
            if jid.domain in normal:
                raise ValueError(f"the domain {jid.domain} is listed twice")
            normal[jid.domain] = server
        return normal

    @field_validator("resource")
    @classmethod
    def _resource_is_valid(cls, resource: str) -> str:
        try:
            JID(f"user@example.org/{resource}.x")
        except InvalidJID:
            raise ValueError(f"{resource!r} cannot be part of an XMPP resource") from None
        return resource
