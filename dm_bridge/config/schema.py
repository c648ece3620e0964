"""The configuration's keys, their types and defaults.

The rule that must never break: a configuration does not change once loaded. docs/configuration.md
names every key here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from dm_bridge.config import values
from dm_bridge.config.values import ListenAddress
from dm_bridge.ids import GhostNamespace, UserId, server_name
from dm_bridge.network.api import Connector, Network
from dm_bridge.texts import ENGLISH, languages


class Permission(enum.StrEnum):
    """What a Matrix user may do: nothing, use the bridge, or administer it too."""

    NONE = "none"
    USER = "user"
    ADMIN = "admin"

    @property
    def may_use(self) -> bool:
        return self is not Permission.NONE

    @property
    def may_administer(self) -> bool:
        return self is Permission.ADMIN


@dataclass(frozen=True, slots=True)
class NetworkSection:
    """``networks.<name>``, validated by the connector of that name.

    ``options``: an instance of ``connector.config_model``.
    """

    name: str
    enabled: bool
    connector: Connector
    options: BaseModel

    def build(self) -> Network:
        """The network as configured. Raises `ConfigError`; does no I/O."""
        return self.connector.build(self.options)


def _secret(check: Any) -> Any:
    def checked(value: SecretStr) -> SecretStr:
        check(value.get_secret_value())
        return value

    return AfterValidator(checked)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class HomeserverConfig(_Section):
    """The homeserver that the bridge serves."""

    url: Annotated[str, AfterValidator(values.check_homeserver_url)] = Field(
        description="the address of the homeserver's client API, such as http://localhost:8008"
    )
    domain: Annotated[str, AfterValidator(values.check_server_name)] = Field(
        description="the homeserver's server name, such as example.org: the end of its user ids"
    )


Token = Annotated[SecretStr, _secret(values.check_token)]


class AppserviceConfig(_Section):
    """How the homeserver and the bridge know each other."""

    id: Annotated[str, AfterValidator(values.check_appservice_id)] = Field(
        default="dm_bridge", description="the id in the registration"
    )
    listen: Annotated[InstanceOf[ListenAddress], BeforeValidator(ListenAddress.parse)] = Field(
        default=ListenAddress("127.0.0.1", 29350),
        description="where the bridge listens, as host:port",
    )
    url: Annotated[str, AfterValidator(values.check_appservice_url)] = Field(
        default_factory=lambda data: data["listen"].url,
        description="the address under which the homeserver reaches the bridge",
    )
    bot: Annotated[str, AfterValidator(values.check_bot)] = Field(
        default="dmbot", description="the localpart of the bot's user id"
    )
    ghost_prefix: Annotated[str, AfterValidator(values.check_ghost_prefix)] = Field(
        default="_dm_", description="what the localpart of every ghost begins with"
    )
    as_token: Token = Field(
        description="the random token that the bridge shows to the homeserver; `dm-bridge init` makes one"
    )
    hs_token: Token = Field(
        description="the random token that the homeserver shows to the bridge; `dm-bridge init` makes one"
    )
    accounts_token: Token = Field(
        description="the random token with which the bridge acts for its users; `dm-bridge init` makes one"
    )


class DatabaseConfig(_Section):
    """Where the bridge remembers."""

    url: Annotated[SecretStr, _secret(values.check_database_url)] = Field(
        default=SecretStr("embedded"), description="embedded, or a postgresql:// URL"
    )

    @property
    def embedded(self) -> bool:
        """Whether the bridge runs its own PostgreSQL."""
        return self.url.get_secret_value() == "embedded"


class DirectConfig(_Section):
    """How chats are kept direct."""

    auto_join: bool = Field(default=True, description="join users to their chats by themselves")
    mark_ghosts: bool = Field(default=True, description="keep the direct chats of ghosts too")
    journal_versions: Annotated[int, Field(ge=2, le=10_000)] = Field(
        default=200, description="how many versions of a user's m.direct are remembered"
    )
    journal_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=90, description="for how many days versions of a user's m.direct are remembered"
    )
    watch_accounts: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=200, description="how many active accounts are watched at once; 0 for none"
    )
    sweep_hours: Annotated[float, Field(ge=0.01, le=8760)] = Field(
        default=24.0, description="in how many hours every account is looked at once"
    )
    homeservers: dict[
        Annotated[str, AfterValidator(values.check_server_name)],
        Annotated[str, AfterValidator(values.check_homeserver_url)],
    ] = Field(
        default={},
        description="the client APIs of other homeservers that are not to be discovered, by server name",
    )


class DeliveryConfig(_Section):
    """How users learn what became of their messages."""

    receipts: bool = Field(
        default=True,
        description="show with a read receipt that the network has a message, unless reads are told",
    )
    status_events: bool = Field(
        default=False, description="send com.beeper.message_send_status events"
    )
    expire_hours: Annotated[float, Field(ge=0.01, le=720)] = Field(
        default=24.0, description="for how many hours a message is tried"
    )


class PresenceConfig(_Section):
    """Who is there, between Matrix and the networks."""

    contacts: bool = Field(
        default=False,
        description="show as presence whether contacts are there, in whose chats their users are",
    )
    users: bool = Field(default=False, description="tell networks whether users are there")


CollectorUrl = Annotated[str, AfterValidator(values.check_collector_url)]


class ReportsConfig(_Section):
    """Who collects reports about messages and logins."""

    checkpoints_url: CollectorUrl | None = Field(
        default=None, description="where message checkpoints are sent, if anywhere"
    )
    states_url: CollectorUrl | None = Field(
        default=None, description="where the states of logins are sent, if anywhere"
    )


class MediaConfig(_Section):
    """Files that are carried."""

    max_megabytes: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=100, description="the largest file, in megabytes; 0 for no files"
    )
    private_hosts: tuple[Annotated[str, AfterValidator(values.check_host)], ...] = Field(
        default=(),
        description="hosts at private addresses from which files are fetched all the same",
    )

    @property
    def largest(self) -> int:
        """The largest file, in bytes."""
        return self.max_megabytes * 1_000_000


class HistoryConfig(_Section):
    """What was written before a login."""

    conversations: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=50,
        description="how many of the last conversations a new login brings over; 0 for none",
    )
    messages: Annotated[int, Field(ge=0, le=200)] = Field(
        default=20, description="how many of the last messages of each it brings over; 0 for none"
    )


class SpacesConfig(_Section):
    """Spaces for the chats of a login."""

    new_logins: bool = Field(
        default=False, description="give each new login a space for its chats by itself"
    )


class ProvisioningConfig(_Section):
    """The API by which clients log users in."""

    enabled: bool = Field(default=True, description="serve the provisioning API")
    shared_secret: Token | None = Field(
        default=None,
        description="a random secret with which a service may act for every user, if any may",
    )
    matrix_auth: bool = Field(
        default=True, description="let users act for themselves, with tokens of their homeserver"
    )
    login_attempts: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="the name that limits.login_attempts had before"
    )


class LimitsConfig(_Section):
    """How much one user, and all together, may ask of the bridge."""

    max_logins: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="how many logins there may be on the whole bridge, if there is a limit",
    )
    commands_per_minute: Annotated[int, Field(ge=5, le=10_000)] = Field(
        default=30, description="how many messages of one user the bot answers in a minute"
    )
    login_attempts: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=30, description="how often a user may try to log in in an hour"
    )
    login_failures: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=5,
        description="how often a network may refuse a user's logins to one account in an hour",
    )


class AuditConfig(_Section):
    """What is remembered of who did what."""

    keep_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=90, description="for how many days the audit log is kept"
    )


PageUrl = Annotated[str, AfterValidator(values.check_page_url)]


class PageConfig(_Section):
    """The bridge's own page."""

    public_url: PageUrl | None = Field(
        default=None,
        description="where browsers find the page, such as https://bridge.example.org/page/; without it there is "
        "none",
    )
    link_minutes: Annotated[int, Field(ge=1, le=60)] = Field(
        default=10, description="how many minutes a link of the bot's works"
    )
    session_hours: Annotated[int, Field(ge=1, le=720)] = Field(
        default=12, description="how many hours somebody is signed in"
    )


class TextsConfig(_Section):
    """In which words the bridge speaks to people."""

    folder: Path | None = Field(
        default=None,
        description="a directory with messages that come before the bridge's own, in a folder for each language",
    )
    language: str = Field(
        default=ENGLISH, validate_default=False, description="the language, such as en or pt-BR"
    )

    @field_validator("folder")
    @classmethod
    def _resolve(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return None if value is None else values.check_folder(values.resolved(value, info))

    @field_validator("language")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        if "folder" not in info.data:
            return value  # what is wrong with the folder is said already
        return values.check_language(value, languages(info.data.get("folder")))


class ProcessesConfig(_Section):
    """How several processes on one database share the users."""

    lease_seconds: Annotated[float, Field(ge=2, le=300)] = Field(
        default=10.0,
        description="after how many seconds without a sign of life others take over a process's users",
    )


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class LoggingConfig(_Section):
    """What is logged, to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="the least important level that is logged"
    )
    format: Literal["text", "json"] = Field(
        default="text", description="lines to read, or one JSON object a line"
    )


PermissionKey = Annotated[str, AfterValidator(values.check_permission_key)]


class PermissionEntry(_Section):
    """What those may do whom an entry of ``permissions`` is for. Written as ``level`` alone, or with all keys."""

    level: Permission = Field(description="none, user or admin")
    max_logins: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="how many logins each of them may have, if there is a limit"
    )


def _entry(value: object) -> object:
    return value if isinstance(value, dict | PermissionEntry) else {"level": value}


class Config(_Section):
    """A whole configuration, as `load_config` returns it."""

    homeserver: HomeserverConfig
    appservice: AppserviceConfig
    database: DatabaseConfig = DatabaseConfig()
    data_dir: Path = Field(
        default=Path("data"),
        validate_default=True,
        description="the directory for the bridge's files",
    )
    permissions: dict[PermissionKey, Annotated[PermissionEntry, BeforeValidator(_entry)]] = Field(
        default={}, description="who may do what: *, a domain or a user id, to none, user or admin"
    )
    networks: dict[str, InstanceOf[NetworkSection]] = Field(
        default={}, description="the networks to bridge, by name"
    )
    direct: DirectConfig = DirectConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    presence: PresenceConfig = PresenceConfig()
    media: MediaConfig = MediaConfig()
    history: HistoryConfig = HistoryConfig()
    spaces: SpacesConfig = SpacesConfig()
    provisioning: ProvisioningConfig = ProvisioningConfig()
    page: PageConfig = PageConfig()
    limits: LimitsConfig = LimitsConfig()
    audit: AuditConfig = AuditConfig()
    texts: TextsConfig = TextsConfig()
    processes: ProcessesConfig = ProcessesConfig()
    reports: ReportsConfig = ReportsConfig()
    logging: LoggingConfig = LoggingConfig()

    @field_validator("data_dir")
    @classmethod
    def _resolve(cls, value: Path, info: ValidationInfo) -> Path:
        return values.resolved(value, info)

    @property
    def ghosts(self) -> GhostNamespace:
        """The user ids of ghosts."""
        return GhostNamespace(self.appservice.ghost_prefix, self.homeserver.domain)

    @property
    def bot_user_id(self) -> UserId:
        return UserId(f"@{self.appservice.bot}:{self.homeserver.domain}")

    @property
    def enabled_networks(self) -> tuple[NetworkSection, ...]:
        """The networks to run, sorted by name."""
        return tuple(
            self.networks[name] for name in sorted(self.networks) if self.networks[name].enabled
        )

    def _entries(self, user_id: str) -> Iterator[PermissionEntry]:
        """What is said of ``user_id``: by their own entry, then their domain's, then that of ``*``."""
        domain = server_name(user_id)
        if user_id.startswith("@") and domain:
            for key in (user_id, domain, "*"):
                if key in self.permissions:
                    yield self.permissions[key]

    def permission_of(self, user_id: str) -> Permission:
        """What ``user_id`` may do: the most specific entry says. What is no user id may do nothing."""
        return next((entry.level for entry in self._entries(user_id)), Permission.NONE)

    def max_logins_of(self, user_id: str) -> int | None:
        """How many logins ``user_id`` may have: the most specific entry that names a number says."""
        named = (entry.max_logins for entry in self._entries(user_id))
        return next((number for number in named if number is not None), None)

    @property
    def login_attempts(self) -> int:
        """How often a user may try to log in in an hour."""
        return self.provisioning.login_attempts or self.limits.login_attempts
