"""Authentication proves something, and a server cannot make it expensive."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import threading
import time
from typing import Any

import pytest
from slixmpp.util.sasl.client import MECHANISMS, SASLCancelled
from slixmpp.util.sasl.mechanisms import SCRAM

from dm_bridge.connectors.xmpp.sasl import MECHANISM_NAMES, BoundedScram, use_bounded_scram
from dm_bridge.errors import NetworkError

from .support import ScriptedServer

_SECURITY = {
    "encrypted": True,
    "unencrypted_scram": False,
    "binding_proposed": False,
    "tls_version": None,
}
_CREDENTIALS = {"username": b"u", "password": b"p", "authzid": b"", "channel_binding": b""}


@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_key_is_the_one_that_slixmpp_derives(name: str) -> None:
    fast = BoundedScram(name, _CREDENTIALS, _SECURITY)  # type: ignore[no-untyped-call]
    slow = SCRAM(name, _CREDENTIALS, _SECURITY)  # type: ignore[no-untyped-call]
    assert fast.Hi(b"password", b"salt", 3) == slow.Hi("password", b"salt", 3)


async def test_the_loop_goes_on_while_the_key_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    derive = hashlib.pbkdf2_hmac

    def watched(*arguments: Any) -> bytes:
        threads.append(threading.current_thread())
        return derive(*arguments)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", watched)
    mechanism = BoundedScram("SCRAM-SHA-256", _CREDENTIALS, _SECURITY)  # type: ignore[no-untyped-call]
    mechanism.process()
    challenge = b"r=" + mechanism.cnonce + b"x,s=" + base64.b64encode(b"salt") + b",i=4096"
    await mechanism.derive(challenge)
    assert mechanism.process(challenge).startswith(b"c=")
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("rounds", [0, -1, 500_001, 2**31])
def test_an_unreasonable_number_of_rounds_is_refused(rounds: int) -> None:
    mechanism = BoundedScram("SCRAM-SHA-1", _CREDENTIALS, _SECURITY)  # type: ignore[no-untyped-call]
    with pytest.raises(SASLCancelled):
        mechanism.Hi(b"password", b"salt", rounds)


def test_only_passwords_that_prove_something_are_offered() -> None:
    use_bounded_scram()
    assert set(MECHANISMS) >= MECHANISM_NAMES
    assert not {"ANONYMOUS", "LOGIN", "DIGEST-MD5", "CRAM-MD5", "EXTERNAL"} & MECHANISM_NAMES
    assert all(
        MECHANISMS[name] is BoundedScram for name in MECHANISM_NAMES if name.startswith("SCRAM")
    )


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("r={nonce}x,s=QSXCR+Q6sek8bf92,i=999999999", "<abort"), ("r={nonce}x,i=many", "")],
)
async def test_a_server_that_asks_for_endless_work_or_nonsense_gets_none(
    asked: str, answer: str
) -> None:
    class Greedy(ScriptedServer):
        def _answer(self, xml: str, writer: asyncio.StreamWriter, authenticated: bool) -> bool:
            if xml.startswith("<auth"):
                sent = re.search(r">([^<]*)<", xml)
                assert sent is not None
                nonce = base64.b64decode(sent[1]).decode().partition("r=")[2]
                challenge = base64.b64encode(asked.format(nonce=nonce).encode())
                namespace = b"urn:ietf:params:xml:ns:xmpp-sasl"
                writer.write(
                    b"<challenge xmlns='" + namespace + b"'>" + challenge + b"</challenge>"
                )
            elif xml.startswith("<abort"):
                namespace = b"urn:ietf:params:xml:ns:xmpp-sasl"
                writer.write(b"<failure xmlns='" + namespace + b"'><aborted/></failure>")
            else:
                return super()._answer(xml, writer, authenticated)
            return False

    offer = (
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
        "<mechanism>SCRAM-SHA-256</mechanism></mechanisms>"
    )
    async with Greedy(features=offer) as server:
        started = time.process_time()
        with pytest.raises(NetworkError):
            await server.network().start_login().submit({"jid": "a@localhost", "password": "x"})
        assert answer in server.read
        assert "<response" not in server.read
        assert time.process_time() - started < 2
