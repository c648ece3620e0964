"""Logging in, as the bot walks it."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dm_bridge.connectors.irc import transport
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.config import IrcConfig, ServerConfig
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.network import IrcNetwork
from dm_bridge.connectors.irc.registration import Identity
from dm_bridge.connectors.irc.transport import make_route, tls_context
from dm_bridge.errors import CredentialsError, NetworkError, UserError
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginProcess, LoginStep
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd

from .support import message, network_for, running, user


async def walk(process: LoginProcess, *answers: dict[str, str]) -> LoginDone:
    step: LoginStep = process.start()
    for values in answers:
        assert isinstance(step, AskStep)
        assert {field.name for field in step.fields} == set(values)
        for name, value in values.items():
            process.check(name, value)
        step = await process.submit(values)
    assert isinstance(step, LoginDone)
    return step


async def test_a_nick_is_enough_where_nothing_is_to_be_proved(server: IrcServer) -> None:
    network = await network_for(server)
    done = await walk(network.start_login(), {"nick": "RoMeo[1]"}, {"method": "none"})
    folded = "romeo[1]" if server.name == "ngIRCd" else "romeo{1}"
    assert (done.remote, done.name) == (f"{folded}@net", "RoMeo[1]@net")
    assert done.credentials["casemapping"] == ("ascii" if server.name == "ngIRCd" else "rfc1459")
    async with running(network, "romeo30", credentials=done.credentials) as (_, sink):
        assert sink.states[-1].status is SessionStatus.CONNECTED


async def test_the_network_is_asked_for_where_there_are_several(server: IrcServer) -> None:
    entry = {"host": server.host, "port": server.port, "tls": "none", "methods": ["none"]}
    network = IrcNetwork(IrcConfig.model_validate({"servers": {"one": entry, "two": entry}}))
    await network.start()
    process = network.start_login()
    (where, nick) = process.start().fields
    assert "one, two" in where.label
    with pytest.raises(UserError, match="one, two"):
        process.check("network", "three")
    done = await walk(process, {"network": "TWO", "nick": "romeo31"})
    assert done.remote == "romeo31@two"
    assert nick.name == "nick"


@pytest.mark.parametrize(
    "nick", ["", "two words", "#channel", "a@b", "1st", "*status", "a\r\nQUIT"]
)
async def test_what_is_no_nick_is_refused(ngircd: NgIrcd, nick: str) -> None:
    process = (await network_for(ngircd)).start_login()
    with pytest.raises(UserError, match="cannot be a nick"):
        process.check("nick", nick)


async def test_only_the_methods_of_the_configuration_are_offered(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, methods=["none", "nickserv"])
    process = network.start_login()
    step = await process.submit({"nick": "romeo32"})
    assert isinstance(step, AskStep)
    assert "NickServ" in step.instructions
    assert "sasl" not in step.instructions.lower()
    with pytest.raises(UserError, match="none, nickserv"):
        process.check("method", "sasl")


async def test_a_server_password_is_tried(tmp_path: Path) -> None:
    server = await NgIrcd.start(tmp_path, password="montague")
    try:
        network = await network_for(server, methods=["server"])
        done = await walk(network.start_login(), {"nick": "romeo"}, {"password": "montague"})
        assert done.credentials["password"] == "montague"
        assert "montague" not in repr(done)
        with pytest.raises(CredentialsError, match="server password"):
            await walk(network.start_login(), {"nick": "romeo"}, {"password": "capulet"})
    finally:
        await server.stop()


async def test_a_password_that_would_be_two_lines_is_refused(ngircd: NgIrcd) -> None:
    process = (await network_for(ngircd, methods=["server"])).start_login()
    step = await process.submit({"nick": "romeo33"})
    assert isinstance(step, AskStep)
    assert step.fields[0].kind is FieldKind.SECRET
    with pytest.raises(UserError, match="line break"):
        process.check("password", "x\r\nOPER root root")


async def test_nickserv_is_told_the_password_and_believed(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, methods=["nickserv"], settings={"send_timeout": 1.0})
    answers = ({"nick": "romeo34"}, {"password": "balcony"})
    with pytest.raises(NetworkError, match="has no NickServ"):
        await walk(network.start_login(), *answers)
    credentials = {"method": "nickserv", "password": "balcony"}
    async with running(network, "romeo37", credentials=credentials) as (_, sink):
        assert sink.states[-1].status is SessionStatus.CONNECTED
    async with user(ngircd, "NickServ") as service:
        await walk(network.start_login(), *answers)
        await service.wait_for_text("IDENTIFY balcony")


async def test_a_nick_that_is_taken_may_be_ones_own(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, methods=["none"])
    async with running(network, "romeo35"):
        done = await walk(network.start_login(), {"nick": "romeo35"})
    assert done.remote == "romeo35@net"


async def test_a_server_that_is_away_is_reported(tmp_path: Path) -> None:
    server = await NgIrcd.start(tmp_path)
    network = await network_for(server, methods=["none"])
    await server.stop()
    with pytest.raises(NetworkError, match="No server answers for net") as caught:
        await walk(network.start_login(), {"nick": "romeo"})
    assert not isinstance(caught.value, CredentialsError)


# -- encryption


@pytest.mark.parametrize("kind", [NgIrcd, InspIrcd])
async def test_messages_go_over_tls(kind: type[NgIrcd | InspIrcd], tmp_path: Path) -> None:
    server = await kind.start(tmp_path, tls="direct")
    try:
        network = await network_for(server)
        async with running(network, "romeo") as (session, _), user(server, "juliet") as juliet:
            await session.send(message("juliet", "secretly"))
            await juliet.wait_for_text("secretly")
        pinned = ssl.PEM_cert_to_DER_cert(server.certificate.certificate.read_text())
        fingerprint = hashlib.sha256(pinned).hexdigest().upper()
        trusted = await network_for(server, ca_file=None, fingerprints=[fingerprint])
        done = await walk(trusted.start_login(), {"nick": "romeo"}, {"method": "none"})
        assert done.remote == "romeo@net"
        for options, words in (
            ({"ca_file": None}, "is not trusted"),
            ({"ca_file": None, "fingerprints": ["0" * 64]}, "none of those in the configuration"),
            ({"host": "127.0.0.1"}, "is not trusted"),
        ):
            distrusted = await network_for(server, **options)
            with pytest.raises(NetworkError, match=words):
                await walk(distrusted.start_login(), {"nick": "romeo"}, {"method": "none"})
    finally:
        await server.stop()


async def test_an_expired_certificate_is_not_trusted(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, ["localhost"], valid_for=datetime.timedelta(days=-1))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    async with scripted(lambda line: [], context) as port:
        network = await network_at(port, tls="direct", ca_file=files.authority)
        with pytest.raises(NetworkError, match="not trusted: certificate has expired"):
            await walk(network.start_login(), {"nick": "romeo"}, {"method": "none"})


# -- accounts, at a server that follows a script


@asynccontextmanager
async def scripted(
    script: Callable[[str], list[str]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server that answers each line as ``script`` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while raw := await reader.readline():
            for answer in script(raw.decode().rstrip("\r\n")):
                writer.write(answer.encode() + b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def network_at(port: int, **options: Any) -> IrcNetwork:
    entry = {"host": "localhost", "port": port, "tls": "none", **options}
    network = IrcNetwork(IrcConfig.model_validate({"servers": {"net": entry}}))
    await network.start()
    return network


def with_accounts(password: str) -> Callable[[str], list[str]]:
    """A server with one account, ``montague``."""
    secret = base64.b64encode(f"\0montague\0{password}".encode()).decode()

    def answer(line: str) -> list[str]:
        match line.split(" "):
            case ["CAP", "LS", *_]:
                return [":s CAP * LS :sasl=PLAIN batch"]
            case ["CAP", "REQ", *names]:
                return [f":s CAP * ACK {' '.join(names)}"]
            case ["AUTHENTICATE", ":PLAIN"]:
                return ["AUTHENTICATE +"]
            case ["AUTHENTICATE", given]:
                if given == f":{secret}":
                    return [":s 900 * r!r@h montague :You are logged in", ":s 903 * :ok"]
                return [":s 904 * :SASL authentication failed"]
            case ["CAP", *_]:
                return [":s 001 romeo :Hi", ":s 422 romeo :no motd"]
            case ["PING", token]:
                return [f":s PONG s {token}"]
        return []

    return answer


async def test_an_account_is_logged_in_to() -> None:
    async with scripted(with_accounts("balcony")) as port:
        network = await network_at(port, methods=["sasl"])
        answers = ({"nick": "romeo"}, {"account": "montague", "password": "balcony"})
        done = await walk(network.start_login(), *answers)
        assert done.credentials["account"] == "montague"
        answers[1]["password"] = "wrong"
        with pytest.raises(CredentialsError, match="does not accept the login") as caught:
            await walk(network.start_login(), *answers)
        assert "wrong" not in str(caught.value)


async def test_a_certificate_is_a_certificate_with_its_key(ngircd: NgIrcd, tmp_path: Path) -> None:
    files = write_certificate(tmp_path, ["romeo"])
    process = (await network_for(ngircd, methods=["certificate"])).start_login()
    await process.submit({"nick": "romeo36"})
    certificate, key = files.certificate.read_text(), files.key.read_text()
    process.check("certificate", f"{certificate}\n{key}")
    for wrong in ("", "x", certificate, key):
        with pytest.raises(UserError, match="no certificate with its private key"):
            process.check("certificate", wrong)


async def test_a_certificate_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    files = write_certificate(mine, ["romeo"])
    server = await InspIrcd.start(tmp_path, tls="direct", extra='<module name="sslinfo">')
    try:
        route = make_route(
            "net", ServerConfig(host="localhost", port=server.port, ca_file=server.ca_file)
        )
        pem = files.certificate.read_text() + files.key.read_text()
        client = Client(route, Identity("romeo"), certificate=pem)
        makers: list[threading.Thread] = []

        def noted(server: ServerConfig, certificate: str) -> ssl.SSLContext:
            makers.append(threading.current_thread())
            return tls_context(server, certificate)

        monkeypatch.setattr(transport, "tls_context", noted)
        try:
            await client.open(10)
            assert makers, "made for this client alone"
            assert threading.main_thread() not in makers, "that takes long"
            answers = await client.exchange(
                Line("WHOIS", ("romeo",)), 10, lambda line: line.command == "276"
            )
        finally:
            await client.close()
        shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(files.certificate.read_text()))
        assert shown.hexdigest() in answers[0].param(-1)
    finally:
        await server.stop()
