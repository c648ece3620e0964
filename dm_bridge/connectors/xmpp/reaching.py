"""Looking at the server of a domain without an account: DNS, port, STARTTLS, certificate (RFC 6120, XEP-0368).

The rule that must never break: no address of a user and no password is sent.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from xml.sax.saxutils import quoteattr

from dm_bridge.connectors.certificate import expiry
from dm_bridge.connectors.xmpp.transport import Route, Target
from dm_bridge.errors import NetworkError
from dm_bridge.network.reaching import Reached

ADDRESSES = 4
"""How many addresses of a domain are tried."""
ATTEMPT_SECONDS = 4.0
"""For all of them."""
MAX_FEATURES = 64 * 1024

_FEATURES = re.compile(rb"<(?:\w+:)?features\b[^>]*(?:/>|>.*?</(?:\w+:)?features>)", re.DOTALL)
_PROCEED = re.compile(rb"<proceed\b[^>]*>")
_TLS = "urn:ietf:params:xml:ns:xmpp-tls"


async def reach(route: Route) -> Reached:
    """The first address of ``route`` that answers. Raises `NetworkError`."""
    setting = f"networks.xmpp.servers.{route.domain}"
    targets = await route.targets()
    if not targets:
        raise NetworkError(
            f"DNS knows no address for {route.domain}. Check its SRV and address records, or name the server in "
            f"{setting} (host, port)."
        )
    failures = []
    for target in targets[:ADDRESSES]:
        where = f"{target.host}:{target.port}"
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS / min(len(targets), 2)):
                return Reached(where, await _attempt(route, target))
        except ssl.SSLCertVerificationError as error:
            failures.append(
                f"The certificate of {route.domain} at {where} is not trusted "
                f"({(error.verify_message or 'it cannot be verified').rstrip('.')}). Correct it on the server, or "
                f"name its authority in {setting}.ca_file."
            )
        except ssl.SSLError:
            failures.append(
                f"No encrypted connection to {route.domain} at {where} could be made. Check {setting}.tls "
                "(starttls or "
                "direct) and the port."
            )
        except _Odd as error:
            failures.append(f"{where} {error} Check {setting} (host, port, tls).")
        except (OSError, TimeoutError, EOFError) as error:
            why = getattr(error, "strerror", None) or "no answer"
            failures.append(
                f"The XMPP server of {route.domain} cannot be reached at {where} ({why}). Check that it runs, "
                "that "
                f"nothing blocks the way, and {setting} or its records in DNS."
            )
    raise NetworkError(failures[0], retry_after=10.0)


class _Odd(Exception):
    """It is there, and is not what it should be; the text completes a sentence."""


async def _attempt(route: Route, target: Target) -> float | None:
    """When the certificate expires; None without encryption."""
    tls = route.direct_context if target.direct else None
    reader, writer = await asyncio.open_connection(
        target.host,
        target.port,
        ssl=tls,
        server_hostname=route.dns_name if tls is not None else None,
        limit=MAX_FEATURES,
    )
    try:
        writer.write(
            f"<?xml version='1.0'?><stream:stream to={quoteattr(route.domain)} version='1.0' "
            "xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
        )
        features = await _until(reader, _FEATURES)
        if target.direct or not route.encrypted:
            return expiry(writer)
        if _TLS.encode() not in features:
            raise _Odd("is an XMPP server that offers no encryption (STARTTLS).")
        writer.write(f"<starttls xmlns='{_TLS}'/>".encode())
        await _until(reader, _PROCEED)
        await writer.start_tls(route.starttls_context, server_hostname=route.dns_name)
        return expiry(writer)
    finally:
        writer.transport.abort()


async def _until(reader: asyncio.StreamReader, pattern: re.Pattern[bytes]) -> bytes:
    """What comes, until ``pattern`` is in it."""
    raw = b""
    while pattern.search(raw) is None:
        chunk = await reader.read(4096)
        raw += chunk
        if b"<stream:error" in raw:
            raise _Odd("is an XMPP server that does not serve this domain.")
        if not chunk or len(raw) > MAX_FEATURES or not raw.lstrip().startswith(b"<"):
            raise _Odd("is no XMPP server.")
    return raw
