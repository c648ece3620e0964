"""Authentication proves something, and a server cannot make it expensive."""

from __future__ import annotations

import asyncio
import time

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


async def test_a_server_that_asks_for_endless_work_gets_none() -> None:
    class Greedy(ScriptedServer):
        def _answer(self, xml: str, writer: asyncio.StreamWriter, authenticated: bool) -> bool:
            if xml.startswith("<auth"):
                import base64
                import re

                sent = re.search(r">([^<]*)<", xml)
                assert sent is not None
                nonce = base64.b64decode(sent[1]).decode().partition("r=")[2]
                challenge = base64.b64encode(f"r={nonce}x,s=QSXCR+Q6sek8bf92,i=999999999".encode())
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
        assert "<abort" in server.read
        assert time.process_time() - started < 2
