"""slixmpp's log lines, made harmless.

The rule that must never break: slixmpp writes whole stanzas and passwords to its log at DEBUG, and
stanzas in its complaints; none of that reaches a log of ours, whatever the root logger's level.
"""

from __future__ import annotations

import logging

import structlog

_log = structlog.get_logger(__name__)


class _Complaints(logging.Handler):
    """Passes on that something went wrong and where, without the arguments of the message."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        _log.debug("slixmpp complains", source=record.name, template=str(record.msg), error=error)


def quiet_slixmpp() -> None:
    """Route slixmpp's loggers through us; idempotent, for the whole process."""
    logger = logging.getLogger("slixmpp")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    if not any(isinstance(handler, _Complaints) for handler in logger.handlers):
        logger.addHandler(_Complaints(logging.WARNING))
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("slixmpp."):
            logging.getLogger(name).setLevel(logging.NOTSET)
