"""What commands that run within a test do to logging, undone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import structlog

_LOGGERS = (None, "dm_bridge", "asyncpg", "aiohttp.server", "aiohttp.access", "slixmpp.xmlstream")


@contextlib.contextmanager
def logging_put_back() -> Iterator[None]:
    """Logging is as it was afterwards, whoever configured it meanwhile."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(each, each.handlers[:], each.filters[:], each.level) for each in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for each, handlers, filters, level in before:
            each.handlers[:], each.filters[:] = handlers, filters
            each.setLevel(level)
        structlog.reset_defaults()
