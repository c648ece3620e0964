"""A connection gets ready, or says why not."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from dm_bridge.connectors.irc import sasl
from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.connectors.irc.lines import Line, parse
from dm_bridge.connectors.irc.registration import Identity, Registration
from dm_bridge.errors import CredentialsError, NetworkError

PLAIN = Identity("romeo", "sasl", "montague", "balcony")


def told(registration: Registration, *lines: str) -> list[str]:
    """What is sent when the server says these lines."""
    out: list[str] = []
    for raw in lines:
        line = parse(raw.encode())
        assert line is not None
        out += [text(answer) for answer in registration.receive(line)]
    return out


def text(line: Line) -> str:
    return line.encode().decode().strip()


def begun(identity: Identity) -> Registration:
    registration = Registration(identity, "net")
    registration.begin()
    return registration


def test_a_server_without_capabilities_is_enough() -> None:
    registration = Registration(Identity("romeo"), "net")
    assert [text(line) for line in registration.begin()] == [
        "CAP LS :302",
        "NICK :romeo",
        "USER romeo 0 * :romeo",
    ]
    assert told(registration, ":s 421 * CAP :Unknown command", ":s 001 romeo_x :Hi") == []
    ready = [registration.done]
    told(registration, ":s 005 me CASEMAPPING=ascii MONITOR=7 -X :are", ":s 422 romeo_x :no motd")
    assert [*ready, registration.done] == [False, True]
    assert registration.nick == "romeo_x"
    assert registration.features.casemapping is CaseMapping.ASCII
    assert registration.features.monitor == 7


def test_a_server_password_comes_first() -> None:
    lines = Registration(Identity("romeo", "server", password="a b"), "net").begin()
    assert text(lines[1]) == "PASS :a b"


def test_what_is_offered_over_several_lines_is_asked_for_once() -> None:
    registration = begun(Identity("romeo"))
    assert told(registration, ":s CAP * LS * :batch unknown/cap") == []
    assert told(registration, ":s CAP * LS :echo-message sasl=PLAIN") == [
        "CAP REQ :batch echo-message"
    ]
    assert told(registration, ":s CAP * ACK :batch echo-message") == ["CAP :END"]
    assert registration.features.caps == {"batch", "echo-message"}


def test_what_is_refused_together_is_asked_for_alone() -> None:
    registration = begun(Identity("romeo"))
    told(registration, ":s CAP * LS :batch echo-message")
    assert told(registration, ":s CAP * NAK :batch echo-message") == [
        "CAP REQ :batch",
        "CAP REQ :echo-message",
    ]
    assert told(registration, ":s CAP * NAK :batch", ":s CAP * ACK :echo-message") == ["CAP :END"]
    assert registration.features.caps == {"echo-message"}


def test_capabilities_come_and_go() -> None:
    registration = begun(Identity("romeo"))
    told(registration, ":s CAP * LS :", ":s 001 romeo :Hi", ":s 376 romeo :end")
    assert told(registration, ":s CAP romeo NEW :account-tag away-notify") == [
        "CAP REQ :account-tag"
    ]
    assert told(registration, ":s CAP romeo ACK :account-tag") == []
    assert registration.features.accounts
    told(registration, ":s CAP romeo DEL :account-tag")
    assert not registration.features.accounts


def test_the_best_way_to_show_a_password_is_taken() -> None:
    registration = begun(PLAIN)
    assert told(registration, ":s CAP * LS :sasl=EXTERNAL,PLAIN") == ["CAP REQ :sasl"]
    assert told(registration, ":s CAP * ACK :sasl") == ["AUTHENTICATE :PLAIN"]
    secret = base64.b64encode(b"\0montague\0balcony").decode()
    assert told(registration, "AUTHENTICATE +") == [f"AUTHENTICATE :{secret}"]
    assert told(registration, ":s 900 * n!u@h montague :You", ":s 903 * :ok") == ["CAP :END"]
    assert registration.account == "montague"
    told(registration, ":s 001 romeo :Hi", ":s 376 romeo :end")
    assert registration.done


def test_a_certificate_is_shown_without_a_password() -> None:
    registration = begun(Identity("romeo", "certificate"))
    told(registration, ":s CAP * LS :sasl")
    assert told(registration, ":s CAP * ACK :sasl", "AUTHENTICATE +") == [
        "AUTHENTICATE :EXTERNAL",
        "AUTHENTICATE :+",
    ]


@pytest.mark.parametrize("code", ["902", "904", "905"])
def test_a_refused_account_is_a_refused_login(code: str) -> None:
    registration = begun(PLAIN)
    told(registration, ":s CAP * LS :sasl", ":s CAP * ACK :sasl", "AUTHENTICATE +")
    with pytest.raises(CredentialsError, match="does not accept") as caught:
        told(registration, f":s {code} * :SASL authentication failed")
    assert "balcony" not in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        [":s CAP * LS :batch"],
        [":s CAP * LS :sasl", ":s CAP * NAK :sasl"],
        [":s 001 romeo :Hi"],
        [":s CAP * LS :sasl=EXTERNAL", ":s CAP * ACK :sasl"],
        [":s CAP * LS :sasl", ":s CAP * ACK :sasl", ":s 906 * :aborted, or services went away"],
    ],
)
def test_who_wants_an_account_is_not_connected_without(lines: list[str]) -> None:
    registration = begun(PLAIN)
    with pytest.raises(NetworkError, match="log in to an account") as caught:
        told(registration, *lines)
    assert not isinstance(caught.value, CredentialsError)
    assert caught.value.retry_after is not None


def test_a_taken_nick_is_varied_a_few_times() -> None:
    registration = begun(Identity("romeo"))
    tried = ("romeo", "romeo_", "romeo__", "romeo|m")
    assert told(registration, *[f":s 433 * {nick} :taken" for nick in tried]) == [
        "NICK :romeo_",
        "NICK :romeo__",
        "NICK :romeo|m",
        "NICK :romeo_m",
    ]
    with pytest.raises(NetworkError, match="Others have your nick"):
        told(registration, ":s 433 * romeo_m :taken")


def test_a_variant_that_is_too_long_for_the_server_is_no_refusal() -> None:
    """The usual nick has the most characters that the server takes."""
    registration = begun(Identity("romeorome"))
    refused = ":s 432 * romeorome_ :Nickname too long, max. 9 characters"
    assert told(
        registration, ":s 433 * romeorome :taken", refused, ":s 433 * romeoro__ :taken"
    ) == [
        "NICK :romeorome_",
        "NICK :romeoro__",
        "NICK :romeoro|m",
    ]
    told(registration, ":s 432 * romeoro|m :no")
    with pytest.raises(NetworkError, match="Others have your nick") as caught:
        told(registration, ":s 432 * romeoro_m :no")
    assert caught.value.retry_after is not None


def test_a_variant_that_the_server_cut_short_is_made_within_the_length() -> None:
    registration = begun(Identity("romeorome"))
    taken = ":s 433 * romeorome :taken"
    assert told(registration, taken, taken) == ["NICK :romeorome_", "NICK :romeoro__"]


def test_a_nick_that_the_server_does_not_allow_is_refused() -> None:
    with pytest.raises(CredentialsError, match="does not allow this nick"):
        told(begun(Identity("romeo")), ":s 432 * romeo :Erroneous nickname")


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (":s 464 * :Password incorrect", CredentialsError, "server password"),
        ("ERROR :Access denied: Bad password?", CredentialsError, "server password"),
        (":s 432 * romeo :Erroneous", CredentialsError, "does not allow this nick"),
        (":s 465 * :You are \x02banned\x02", NetworkError, "has banned you .* You are banned"),
        ("ERROR :Closing link: Too many connections", NetworkError, "Too many connections"),
    ],
)
def test_refusals_are_told(line: str, kind: type[NetworkError], words: str) -> None:
    with pytest.raises(kind, match=words):
        told(begun(Identity("romeo")), line)


def test_our_own_change_of_nick_is_followed() -> None:
    registration = begun(Identity("romeo"))
    told(registration, ":s 001 romeo :Hi", ":ROMEO!u@h NICK guest7", ":other!u@h NICK x")
    assert registration.nick == "guest7"


class ScramServer:
    """RFC 5802 from the other side."""

    def __init__(self, password: str, rounds: int = 4096) -> None:
        self.salt, self.rounds = b"salt", rounds
        self.salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, min(rounds, 9999))
        self.first = ""

    def challenge(self, message: bytes) -> bytes:
        self.bare = message.decode().removeprefix("n,,")
        nonce = self.bare.partition("r=")[2] + "server"
        salt = base64.b64encode(self.salt).decode()
        self.first = f"r={nonce},s={salt},i={self.rounds}"
        return self.first.encode()

    def verify(self, message: bytes) -> bytes:
        bare, _, proof = message.decode().rpartition(",p=")
        signed = f"{self.bare},{self.first},{bare}".encode()
        key = hmac.digest(self.salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        expected = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        assert base64.b64decode(proof) == expected
        server = hmac.digest(self.salted, b"Server Key", "sha256")
        return b"v=" + base64.b64encode(hmac.digest(server, signed, "sha256"))


def test_scram_proves_the_password_both_ways() -> None:
    scram, server = sasl.Scram("mont,ague=", "balcony"), ScramServer("balcony")
    first = scram.respond(b"")
    assert b"n=mont=2Cague=3D," in first
    answer = scram.respond(server.challenge(first))
    assert b"balcony" not in answer
    assert scram.respond(server.verify(answer)) == b""


def test_scram_as_in_rfc_7677() -> None:
    scram = sasl.Scram("user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    assert scram.respond(b"") == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    answer = scram.respond(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert answer.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    scram.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize(
    "challenge", [b"", b"r=x,s=AA==,i=1", b"e=other-error", b"r=NONCEx,s=!,i=1", b"r=NONCEx,s=AA==,i=x",
                  b"r=NONCEx,s=AA==,i=99999999", b"r=NONCE,s=AA==,i=1", b"\xff"]
)  # fmt: skip
def test_scram_refuses_what_a_server_must_not_ask(challenge: bytes) -> None:
    scram = sasl.Scram("montague", "balcony", nonce="NONCE")
    scram.respond(b"")
    with pytest.raises(sasl.SaslError):
        scram.respond(challenge)


def test_scram_refuses_a_server_that_does_not_know_the_password() -> None:
    scram, server = sasl.Scram("montague", "balcony"), ScramServer("balcony")
    scram.respond(server.challenge(scram.respond(b"")))
    with pytest.raises(sasl.SaslError, match="does not prove"):
        scram.respond(b"v=AAAA")


@pytest.mark.parametrize(
    ("size", "lengths"), [(0, [1]), (297, [396]), (299, [400, 1]), (300, [400, 1]), (301, [400, 4])]
)
def test_long_responses_are_cut(size: int, lengths: list[int]) -> None:
    assert [len(chunk) for chunk in sasl.chunks(b"x" * size)] == lengths
