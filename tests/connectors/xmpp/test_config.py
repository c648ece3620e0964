"""The section ``networks.xmpp``: what it may say, and what is refused."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from dm_bridge.connectors.xmpp import connector
from dm_bridge.connectors.xmpp.config import ServerConfig, XmppConfig
from dm_bridge.connectors.xmpp.network import XmppNetwork
from dm_bridge.connectors.xmpp.transport import Routes, Target
from dm_bridge.errors import ConfigError
from dm_bridge.ids import ContactId, LoginId
from dm_bridge.network.api import API_VERSION, Login
from dm_bridge.network.registry import load_connector
from tests.connectors.xmpp.support import Sink


def test_the_entry_point_finds_the_connector() -> None:
    assert load_connector("xmpp") is connector
    assert (connector.name, connector.api_version) == ("xmpp", API_VERSION)
    network = connector.build(connector.config_model())
    assert (network.name, network.title) == ("xmpp", "XMPP")


def test_an_empty_section_is_enabled_and_asks_dns() -> None:
    config = XmppConfig()
    assert config.enabled
    assert config.servers == {}
    assert config.resource == "dm_bridge"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_no_encryption_is_allowed_on_this_machine(host: str) -> None:
    assert ServerConfig(host=host, tls="none").host == host


@pytest.mark.parametrize(
    "host", [None, "xmpp.example.org", "10.0.0.1", "localhost.example.org", "0.0.0.0"]
)
def test_no_encryption_is_refused_elsewhere(host: str | None) -> None:
    with pytest.raises(ValidationError, match=r"127\.0\.0\.0/8, ::1 or localhost"):
        ServerConfig(host=host, tls="none")


@pytest.mark.parametrize(
    "section",
    [
        {"server": {}},
        {"servers": {"example.org": {"hots": "x"}}},
        {"servers": {"example.org": {"port": 0}}},
        {"servers": {"example.org": {"port": 65536}}},
        {"servers": {"example.org": {"tls": "yes"}}},
        {"servers": {"romeo@example.org": {}}},
        {"servers": {"example.org/x": {}}},
        {"servers": {"": {}}},
        {"servers": {"a b": {}}},
        {"servers": {"Example.org": {}, "example.org.": {}}},
        {"servers": {"münchen.example": {}, "xn--mnchen-3ya.example": {}}},
        {"resource": ""},
        {"resource": "a\x00"},
        {"ping_interval": 0},
    ],
)
def test_wrong_values_are_errors(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        XmppConfig.model_validate(section)


def test_domains_are_kept_in_normal_form() -> None:
    config = XmppConfig.model_validate({"servers": {"Example.ORG.": {"host": "h"}}})
    assert list(config.servers) == ["example.org"]


@pytest.mark.parametrize("listed", ["münchen.example", "xn--mnchen-3ya.example"])
@pytest.mark.parametrize("asked", ["münchen.example", "xn--mnchen-3ya.example"])
def test_either_spelling_of_a_domain_finds_its_server(listed: str, asked: str) -> None:
    config = XmppConfig.model_validate({"servers": {listed: {"host": "h"}}})
    route = Routes(dict(config.servers)).to(asked)
    assert route.server == ServerConfig(host="h")
    assert (route.domain, route.dns_name) == ("münchen.example", "xn--mnchen-3ya.example")


async def test_dns_and_hosts_are_asked_for_the_ascii_form() -> None:
    route = Routes({"münchen.example": ServerConfig(port=5269)}).to("münchen.example")
    assert await route.targets() == [Target("xn--mnchen-3ya.example", 5269, False)]


async def test_an_unreadable_authority_file_names_its_key(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (tmp_path / "absent.pem", empty):
        servers = {"example.org": {"ca_file": path}}
        network = XmppNetwork(XmppConfig.model_validate({"servers": servers}))
        with pytest.raises(ConfigError, match=r"networks\.xmpp\.servers\.example\.org\.ca_file"):
            await network.start()


@pytest.mark.parametrize(
    ("server", "target"),
    [
        (ServerConfig(host="h"), Target("h", 5222, False)),
        (ServerConfig(host="h", tls="direct"), Target("h", 5223, True)),
        (ServerConfig(port=5269), Target("example.org", 5269, False)),
        (ServerConfig(host="[::1]", port=1, tls="none"), Target("::1", 1, False)),
    ],
)
async def test_a_configured_address_is_used_without_dns(
    server: ServerConfig, target: Target
) -> None:
    route = Routes({"example.org": server}).to("example.org")
    assert await route.targets() == [target]
    assert route.encrypted is (server.tls != "none")


async def test_a_domain_that_is_an_address_needs_no_dns() -> None:
    assert await Routes({}).to("127.0.0.1").targets() == [Target("127.0.0.1", 5222, False)]


def test_sessions_share_their_tls_contexts() -> None:
    routes = Routes({"one.example": ServerConfig(host="h")})
    one, other = routes.to("one.example"), routes.to("other.example")
    assert one.starttls_context is other.starttls_context
    assert one.starttls_context is not one.direct_context
    assert one.starttls_context.check_hostname


async def test_no_session_waits_for_a_tls_context_to_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To read the system's authorities takes 20 ms, in which the loop does nothing else."""
    makers: list[threading.Thread] = []
    make = ssl.create_default_context

    def noted(cafile: Path | None = None) -> ssl.SSLContext:
        makers.append(threading.current_thread())
        return make(cafile=cafile)

    monkeypatch.setattr(ssl, "create_default_context", noted)
    network = XmppNetwork(XmppConfig(servers={"one.example": ServerConfig(host="h")}))
    await network.start()
    assert makers
    assert threading.main_thread() not in makers
    made = len(makers)
    for domain in ("one.example", "other.example"):
        network.open_session(Login(LoginId("l"), ContactId(f"romeo@{domain}"), {}), Sink())
    assert len(makers) == made
