"""The certificate that a server showed."""

from __future__ import annotations

import asyncio
import ssl

from cryptography import x509


def expiry(writer: asyncio.StreamWriter) -> float | None:
    """When the server's certificate expires, in seconds since the epoch; None without encryption."""
    shown: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    raw = None if shown is None else shown.getpeercert(binary_form=True)
    if raw is None:
        return None
    return x509.load_der_x509_certificate(raw).not_valid_after_utc.timestamp()
