"""Logging in against real servers, right and wrong ones: the user is told what is the matter."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.network import XmppNetwork
from dm_bridge.errors import CredentialsError, NetworkError, UserError
from dm_bridge.network.login import FieldKind, LoginDone
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.processes import free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_server import Tls

from .support import ScriptedServer, mute_server, network_for


async def submit(network: XmppNetwork, jid: str, password: str) -> LoginDone:
    step = await network.start_login().submit({"jid": jid, "password": password})
    assert isinstance(step, LoginDone)
    return step


def test_the_step_hides_the_password_and_only_that() -> None:
    step = XmppNetwork(XmppConfig()).start_login().start()
    assert [(field.name, field.kind) for field in step.fields] == [
        ("jid", FieldKind.TEXT),
        ("password", FieldKind.SECRET),
    ]


@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
async def test_the_right_password_logs_in(tls: Tls, prosodies: dict[Tls, Prosody]) -> None:
    server = prosodies[tls]
    await server.add_user("login.ok", "pä$$ wörd")
    before = asyncio.all_tasks()
    done = await submit(network_for(server), " Login.OK@LOCALHOST/phone ", "pä$$ wörd")
    assert done.remote == done.name == "login.ok@localhost"
    assert done.credentials == {"jid": "login.ok@localhost", "password": "pä$$ wörd"}
    assert "wörd" not in repr(done)
    assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
async def test_a_wrong_password_is_refused_by_name_and_tried_once(
    tls: Tls, prosodies: dict[Tls, Prosody]
) -> None:
    server = prosodies[tls]
    await server.add_user("login.wrong", "right")
    process = network_for(server).start_login()
    with pytest.raises(CredentialsError) as caught:
        await process.submit({"jid": "login.wrong@localhost", "password": "s3cret guess"})
    assert "login.wrong@localhost" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    step = await process.submit({"jid": "login.wrong@localhost", "password": "right"})
    assert isinstance(step, LoginDone)


async def test_an_unknown_account_is_refused(prosody: Prosody) -> None:
    with pytest.raises(CredentialsError, match="does not accept"):
        await submit(network_for(prosody), "nobody.here@localhost", "x")


async def test_nobody_listening_is_said_with_the_address() -> None:
    port = free_port()
    servers = {"example.org": {"host": "127.0.0.1", "port": port}}
    network = XmppNetwork(XmppConfig.model_validate({"servers": servers}))
    with pytest.raises(NetworkError, match=f"127.0.0.1:{port}: the connection was refused"):
        await submit(network, "romeo@example.org", "x")


async def test_a_domain_without_an_address_is_not_found() -> None:
    servers = {"example.org": {"host": "nowhere.invalid", "port": 5222}}
    network = XmppNetwork(XmppConfig.model_validate({"servers": servers}))
    with pytest.raises(NetworkError, match=r"example\.org .* cannot be found"):
        await submit(network, "romeo@example.org", "x")


async def test_a_server_that_says_nothing_is_given_up_after_the_deadline() -> None:
    async with mute_server() as port:
        servers = {"example.org": {"host": "127.0.0.1", "port": port}}
        network = XmppNetwork(
            XmppConfig.model_validate({"servers": servers, "connect_timeout": 0.3})
        )
        with pytest.raises(NetworkError, match="did not answer in time"):
            await submit(network, "romeo@example.org", "x")


async def test_the_password_is_not_sent_where_no_encryption_is_offered() -> None:
    async with ScriptedServer() as server:
        servers = {"localhost": {"host": "127.0.0.1", "port": server.port, "tls": "starttls"}}
        network = XmppNetwork(XmppConfig.model_validate({"servers": servers}))
        with pytest.raises(NetworkError, match="offers no encryption") as caught:
            await submit(network, "romeo@localhost", "x")
        assert not isinstance(caught.value, CredentialsError)
        assert "<auth" not in server.read


async def test_a_server_without_any_login_mechanism_is_reported() -> None:
    bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    async with ScriptedServer(features=bind) as server:
        with pytest.raises(NetworkError, match="offers no way to log in"):
            await submit(server.network(), "romeo@localhost", "x")


async def test_an_anonymous_login_is_never_taken_for_the_users() -> None:
    features = (
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
        "<mechanism>ANONYMOUS</mechanism><mechanism>LOGIN</mechanism></mechanisms>"
    )
    async with ScriptedServer(features=features) as server:
        with pytest.raises(NetworkError, match="offers no way to log in"):
            await submit(server.network(), "romeo@localhost", "x")
        assert "<auth" not in server.read


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_an_untrusted_certificate_ends_the_attempt(
    tls: Tls, prosodies: dict[Tls, Prosody]
) -> None:
    server = prosodies[tls]
    entry = {"host": server.host, "port": server.port, "tls": server.tls}
    network = XmppNetwork(XmppConfig.model_validate({"servers": {"localhost": entry}}))
    with pytest.raises(NetworkError, match="is not trusted") as caught:
        await submit(network, "romeo@localhost", "x")
    assert "password was not sent" in str(caught.value)


async def test_a_certificate_for_another_name_ends_the_attempt(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, ["other.example"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        entry = {"host": "127.0.0.1", "port": port, "tls": "direct", "ca_file": files.authority}
        network = XmppNetwork(XmppConfig.model_validate({"servers": {"example.org": entry}}))
        with pytest.raises(NetworkError, match="issued for another name"):
            await submit(network, "romeo@example.org", "x")


async def test_direct_tls_to_a_port_that_speaks_none_is_explained(prosody: Prosody) -> None:
    entry = {"host": prosody.host, "port": prosody.port, "tls": "direct"}
    network = XmppNetwork(XmppConfig.model_validate({"servers": {"localhost": entry}}))
    with pytest.raises(NetworkError, match="No encrypted connection"):
        await submit(network, "romeo@localhost", "x")


@pytest.mark.parametrize(
    ("jid", "password", "expected"),
    [
        ("romeo", "x", "romeo@example.org"),
        ("", "x", "empty"),
        ("@example.org", "x", "not an XMPP address"),
        ("romeo@example.org", "", "password is empty"),
        ("romeo@example.org", "a\x07b", "cannot have"),
    ],
)
async def test_malformed_values_are_refused_without_a_connection(
    jid: str, password: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        await XmppNetwork(XmppConfig()).start_login().submit({"jid": jid, "password": password})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("jid", "romeo", "romeo@example.org"),
        ("jid", "", "empty"),
        ("password", "", "password is empty"),
        ("password", "a\x07b", "cannot have"),
    ],
)
def test_a_malformed_value_is_refused_as_soon_as_it_is_given(
    field: str, value: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        XmppNetwork(XmppConfig()).start_login().check(field, value)


def test_well_formed_values_pass_the_check() -> None:
    process = XmppNetwork(XmppConfig()).start_login()
    process.check("jid", "romeo@example.org")
    process.check("password", "not an address")
    process.check("other", "")


@pytest.mark.parametrize("domain", ["münchen.example", "xn--mnchen-3ya.example"])
async def test_a_server_is_addressed_by_the_unicode_form_of_its_domain(domain: str) -> None:
    class Idn(ScriptedServer):
        def _answer_iq(self, xml: str, say: Callable[[str], None]) -> None:
            super()._answer_iq(xml, lambda text: say(text.replace("localhost", domain)))

    async with Idn() as server:
        entry = {"host": "127.0.0.1", "port": server.port, "tls": "none"}
        network = XmppNetwork(
            XmppConfig.model_validate({"servers": {"xn--mnchen-3ya.example": entry}})
        )
        done = await submit(network, f"romeo@{domain}", "x")
        assert done.remote == "romeo@münchen.example"
        assert re.search("<stream:stream to=.münchen.example", server.read)


@pytest.mark.parametrize(
    ("condition", "family", "expected"),
    [
        ("account-disabled", CredentialsError, "disabled"),
        ("credentials-expired", CredentialsError, "expired"),
        ("temporary-auth-failure", NetworkError, "try again later"),
        ("invalid-authzid", CredentialsError, "invalid-authzid"),
        ("encryption-required", NetworkError, "encrypted"),
    ],
)
async def test_each_refusal_has_its_sentence(
    condition: str, family: type[NetworkError], expected: str
) -> None:
    class Refusing(ScriptedServer):
        def _answer(self, xml: str, writer: asyncio.StreamWriter, authenticated: bool) -> bool:
            if xml.startswith("<auth"):
                namespace = "urn:ietf:params:xml:ns:xmpp-sasl"
                writer.write(f"<failure xmlns='{namespace}'><{condition}/></failure>".encode())
                return False
            return super()._answer(xml, writer, authenticated)

    async with Refusing() as server:
        with pytest.raises(NetworkError, match=expected) as caught:
            await submit(server.network(), "romeo@localhost", "x")
    assert type(caught.value) is family


async def test_cancelling_ends_an_attempt_under_way() -> None:
    async with ScriptedServer() as server:
        server.silent = True
        process = server.network().start_login()
        attempt = asyncio.create_task(process.submit({"jid": "romeo@localhost", "password": "x"}))
        await server.saw("<iq")
        await process.cancel()
        with pytest.raises(NetworkError):
            await attempt
