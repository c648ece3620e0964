"""Logging: our events and those of libraries through one renderer, to standard error.

The rule that must never break: no password, token or message body is written. Values under such
names are replaced, and libraries are heard from WARNING on only, because below that some print
whole stanzas and requests. What strangers send to our endpoint makes no errors in the log.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from pydantic import SecretBytes, SecretStr
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import Processor

REDACTED = "[redacted]"
_OURS = "dm_bridge"
_SENSITIVE = frozenset(
    {
        "authorization", "body", "content", "cookie", "credential", "credentials", "html",
        "passphrase", "passwd", "password", "passwords", "secret", "secrets", "token", "tokens",
    }
)  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_UNSAFE = re.compile(r"[\x00-\x1F\x7F-\x9F\u2028\u2029]")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}

Event = MutableMapping[str, Any]

log = structlog.get_logger(__name__)


def configure_logging(
    level: str, format: Literal["text", "json"], *, stream: TextIO | None = None
) -> None:
    """Send all logging of this process to ``stream`` (standard error by default).

    ``level``: debug, info, warning or error, for our own events. May be called again.
    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if format == "json":
        last.append(
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        )
        last.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    else:
        last.append(TextRenderer(colours=stream.isatty()))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=shared)
    )
    handler.addFilter(_heard)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if getattr(old, "dm_bridge", False):
            root.removeHandler(old)
    handler.dm_bridge = True  # type: ignore[attr-defined]  # marks it for the next call
    root.addHandler(handler)
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger(_OURS).setLevel(threshold)
    logging.getLogger("asyncpg").setLevel(
        logging.ERROR
    )  # we say it ourselves when a connection is lost
    logging.getLogger("aiohttp.server").addFilter(_not_malformed)
    logging.captureWarnings(True)


def _heard(record: logging.LogRecord) -> bool:
    ours = record.name == _OURS or record.name.startswith(_OURS + ".")
    return ours or record.levelno >= logging.WARNING


def _not_malformed(record: logging.LogRecord) -> bool:
    """Instead of a traceback about a request that is not HTTP, one line for who wants to know."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | RequestPayloadError):
        return True
    log.debug("a request that cannot be read was refused", kind=type(error).__name__)
    return False


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """A structlog processor: values under sensitive names, at any depth, become `REDACTED`."""
    for key, value in event.items():
        if key not in ("event", "exc_info"):
            event[key] = REDACTED if _sensitive(key) else _redacted(value)
    return event


def _sensitive(key: str) -> bool:
    words = _WORD.findall(key)
    return bool(words) and words[-1].lower() in _SENSITIVE


def _redacted(value: Any) -> Any:
    match value:
        case SecretStr() | SecretBytes():
            return REDACTED
        case Mapping():
            return {
                key: REDACTED if isinstance(key, str) and _sensitive(key) else _redacted(inner)
                for key, inner in value.items()
            }
        case list() | tuple():
            return [_redacted(inner) for inner in value]
        case _:
            return value


class TextRenderer:
    """Renders an event as one line: UTC time, level, event, then ``key=value``.

    Control characters are escaped, so that nobody can forge lines or steer a terminal.
    A traceback follows on lines of its own.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: Any, _method: str, event: Event) -> str:
        fields = dict(event)
        exception = fields.pop("exc_info", None)
        fields.pop("stack", None)
        timestamp, level = fields.pop("timestamp", ""), fields.pop("level", "")
        name = str(fields.pop("logger", None) or "")
        if name and name.partition(".")[0] != _OURS:
            fields["logger"] = name
        text = _escape(str(fields.pop("event", "")))
        line = f"{timestamp} {self._paint(f'{level:<8}', _COLOURS.get(level))} "
        line += self._paint(text, "1")
        for key, value in fields.items():
            line += f" {self._paint(key, '36')}={_show(value)}"
        if exception:
            line += "\n" + _traceback(exception)
        return line

    def _paint(self, text: str, colour: str | None) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, str) and (not text or re.search(r"[\s\"'=]", text)):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _escape(text)


def _escape(text: str) -> str:
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _traceback(exception: Any) -> str:
    if exception is True:
        exception = sys.exc_info()
    if isinstance(exception, BaseException):
        lines = traceback.format_exception(exception)
    elif isinstance(exception, tuple) and exception[0] is not None:
        lines = traceback.format_exception(*exception)
    else:
        return ""
    return "\n".join("  " + _escape(line) for line in "".join(lines).splitlines())
