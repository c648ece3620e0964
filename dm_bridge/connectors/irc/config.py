"""The ``networks.irc`` section of the configuration.

The rule that must never break: passwords and messages travel unencrypted only to this very machine, and only
when the configuration says so for that server.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dm_bridge.connectors.loopback import is_loopback

Tls = Literal["direct", "none"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Method = Literal["none", "sasl", "nickserv", "server", "certificate"]
METHODS: tuple[Method, ...] = ("none", "sasl", "nickserv", "server", "certificate")
SERVER_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")
_CHANNEL = re.compile(r"[#&+!][^\x00\x07\r\n ,:]{1,62}\Z")


class ServerConfig(BaseModel):
    """One IRC network, or a bouncer. Times are in seconds.

    ``tls``: ``direct``, or ``none``, for loopback hosts only. ``ca_file``: PEM file with the authorities to trust
    instead of the system's. ``fingerprints``: SHA-256 of the certificates to accept instead, whoever signed them.
    ``methods``: in which ways users may log in. ``channels``: joined only to see nicks change.
    ``trust_nicks``: who has a nick is taken to be who had it before. ``rate``, ``burst``: lines a second, and
    at once. ``encoding``: of what arrives and is not UTF-8.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=6697, ge=1, le=65_535)
    tls: Tls = "direct"
    ca_file: Path | None = None
    fingerprints: tuple[str, ...] = ()
    methods: tuple[Method, ...] = Field(default=METHODS, min_length=1)
    channels: tuple[str, ...] = Field(default=(), max_length=20)
    trust_nicks: bool = False
    rate: float = Field(default=1.0, gt=0, le=100)
    burst: int = Field(default=5, ge=1, le=100)
    encoding: str = "latin-1"

    @field_validator("fingerprints")
    @classmethod
    def _fingerprints_in_normal_form(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        normal = tuple(value.replace(":", "").lower() for value in values)
        if not all(map(_FINGERPRINT.match, normal)):
            raise ValueError("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits")
        return normal

    @field_validator("channels")
    @classmethod
    def _channels_are_channels(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_CHANNEL.match, values)):
            raise ValueError("a channel looks like #matrix")
        return values

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
            b"x".decode(value)
        except (LookupError, UnicodeError):
            raise ValueError(f"{value!r} is no encoding such as latin-1 or cp1252") from None
        return value

    @model_validator(mode="after")
    def _plain_only_here(self) -> ServerConfig:
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError(
                "tls: none sends passwords unencrypted, so it is allowed only with a host on this"
                " machine (127.0.0.0/8, ::1 or localhost); use direct"
            )
        if self.ca_file is not None and self.fingerprints:
            raise ValueError("give a ca_file or fingerprints, not both")
        return self


class IrcConfig(BaseModel):
    """The section ``networks.irc``. Times are in seconds.

    ``servers``: what users call an IRC network, to how it is reached.
    ``connect_timeout``: for one attempt, from the first packet to a usable session.
    ``send_timeout``: how long to wait for the server to accept a line.
    ``send_wait``: how long a message waits for the session to be connected.
    ``ping_interval``, ``ping_timeout``: how a dead connection is noticed.
    ``record_timeout``: how long to wait for more of what was missed, when a server falls silent.
    ``presence_interval``: how often a server without MONITOR is asked whether a nick that the user misses is free.
    ``retry_min``, ``retry_max``: bounds of the pause between attempts to connect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    servers: dict[str, ServerConfig] = Field(default_factory=dict)
    connect_timeout: Seconds = 30.0
    send_timeout: Seconds = 30.0
    send_wait: Seconds = 10.0
    ping_interval: Seconds = 60.0
    ping_timeout: Seconds = 30.0
    record_timeout: Seconds = 60.0
    presence_interval: Seconds = 60.0
    retry_min: Seconds = 2.0
    retry_max: Seconds = 300.0

    @field_validator("servers")
    @classmethod
    def _names_are_names(cls, servers: dict[str, ServerConfig]) -> dict[str, ServerConfig]:
        for name in servers:
            if not SERVER_NAME.match(name):
                raise ValueError(
                    f"{name!r} cannot be the name of an IRC network here: small letters, digits, dots and hyphens"
                )
        return servers
