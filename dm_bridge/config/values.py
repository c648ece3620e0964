"""The values that a configuration may hold: what each must look like, said in one sentence.

The rule that must never break: a check raises ``ValueError`` whose text begins with what was
expected and does not repeat the value, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationInfo

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SERVER_NAME = re.compile(rf"(?:{_HOST}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::([0-9]{{1,5}}))?\Z")
_MAX_SERVER_NAME = 230
_LOCALPART = re.compile(r"[a-z0-9._=\-/+]+\Z")
_USER_ID = re.compile(r"@[\x21-\x39\x3B-\x7E]+:(.+)\Z")
_MIN_TOKEN = 16
_TOKEN = re.compile(r"[\x21-\x7E]+\Z")
EXAMPLE_TOKEN_MARK = "replace-me"  # noqa: S105 (marks the tokens of the example, which are public)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens. ``host``: a name or an address, IPv6 without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, value: object) -> ListenAddress:
        """``host:port`` with IPv6 in brackets. Raises ``ValueError``."""
        if isinstance(value, ListenAddress):
            return value
        expected = 'expected host:port, such as 127.0.0.1:29350 or "[::1]:29350"'
        if not isinstance(value, str):
            raise ValueError(expected)
        host, separator, digits = value.rpartition(":")
        if not separator or not digits.isascii() or not digits.isdigit():
            raise ValueError(expected)
        port = int(digits)
        if not 1 <= port <= 65535:
            raise ValueError("expected a port between 1 and 65535 after the colon")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            try:
                ipaddress.IPv6Address(host)
            except ValueError:
                raise ValueError("expected an IPv6 address between the brackets") from None
        elif ":" in host:
            raise ValueError(f"{expected}; an IPv6 address needs the brackets")
        elif re.fullmatch(_HOST, host) is None:
            raise ValueError(expected)
        return cls(host, port)

    @property
    def url(self) -> str:
        """How this machine reaches the server: an address that means "all" becomes the loopback."""
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{ListenAddress(local, self.port)}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def check_server_name(value: str) -> str:
    """A Matrix server name (specification, appendices): a host and maybe a port, no URL."""
    expected = "expected a server name, such as example.org or localhost:8448"
    if "://" in value or "/" in value:
        raise ValueError(f"{expected}, and no URL: the part of user ids after the colon")
    match = _SERVER_NAME.match(value)
    if match is None or len(value) > _MAX_SERVER_NAME:
        raise ValueError(expected)
    if match.group(1) is not None and not 1 <= int(match.group(1)) <= 65535:
        raise ValueError("expected a port between 1 and 65535 after the colon")
    return value


def check_user_id(value: str) -> str:
    """A whole Matrix user id."""
    match = _USER_ID.match(value)
    if match is None or len(value.encode()) > 255:
        raise ValueError("expected a user id, such as @alice:example.org")
    check_server_name(match.group(1))
    return value


def check_host(value: str) -> str:
    """A host name or an IP address, without a port."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:]{2,45}", value) is None:
        raise ValueError("expected a host name or an address alone, such as upload.example.org")
    return value.lower()


def check_permission_key(value: str) -> str:
    """Whom a permission is for: ``*``, a server name, or a user id."""
    if value == "*":
        return value
    try:
        return check_user_id(value) if value.startswith("@") else check_server_name(value)
    except ValueError:
        raise ValueError(
            "expected *, a domain such as example.org, or a user id such as @alice:example.org, as the key"
        ) from None


def check_homeserver_url(value: str) -> str:
    """The base URL of the client-server API, without a path."""
    url = _http_url(value, "http://localhost:8008")
    if url.path.strip("/"):
        raise ValueError(
            "expected the homeserver's address alone, such as http://localhost:8008, without a path"
        )
    return f"{url.scheme}://{url.netloc}"


def check_appservice_url(value: str) -> str:
    """The URL under which the homeserver reaches the bridge; a reverse proxy may add a path."""
    url = _http_url(value, "http://127.0.0.1:29350")
    if "_matrix" in url.path:
        raise ValueError(
            "expected an address without /_matrix, which the homeserver adds by itself"
        )
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def check_collector_url(value: str) -> str:
    """The URL to which reports are posted."""
    _http_url(value, "https://example.org/reports")
    return value


def check_page_url(value: str) -> str:
    """The URL of the page; ends with a slash. Over HTTP without TLS only on this machine."""
    url = _http_url(value, "https://bridge.example.org/page/")
    local = url.hostname == "localhost" or _is_loopback(url.hostname or "")
    if url.scheme != "https" and not local:
        raise ValueError(
            "expected a URL that begins with https://, for people sign in there; http:// only with localhost"
        )
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _http_url(value: str, example: str) -> SplitResult:
    expected = f"expected a URL that begins with http:// or https://, such as {example}"
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise ValueError(expected) from None
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or re.search(r"\s", value)
        or port == 0
    ):
        raise ValueError(expected)
    if url.username is not None or url.password is not None:
        raise ValueError(f"{expected}, without a user name or password in it")
    if "?" in value or "#" in value:
        raise ValueError(f"{expected}, without anything after ? or #")
    return url


def check_database_url(value: str) -> str:
    """``embedded``, or a PostgreSQL URL."""
    expected = (
        "expected embedded, or a URL such as postgresql://dm_bridge:password@localhost/dm_bridge"
    )
    if value == "embedded":
        return value
    try:
        url = urlsplit(value)
    except ValueError:
        raise ValueError(expected) from None
    if url.scheme.startswith("postgresql+"):
        raise ValueError(f"{expected}; remove the driver after postgresql")
    if url.scheme == "sqlite":
        raise ValueError(f"{expected}; SQLite is not supported")
    if url.scheme not in ("postgresql", "postgres") or "://" not in value:
        raise ValueError(expected)
    torn = url.fragment or "/" in url.path[1:] or "@" in url.path + url.query
    if torn or not all(map(_has_sound_port, url.netloc.rpartition("@")[2].split(","))):
        raise ValueError(
            f"{expected}; in a password, write / as %2F, # as %23, ? as %3F, @ as %40, : as %3A and % as %25"
        )
    return value


def _has_sound_port(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").port != 0
    except ValueError:
        return False


def check_bot(value: str) -> str:
    """The bot's localpart; homeservers want one that needs no URL encoding."""
    if _LOCALPART.match(value) is None or set(value) & set("=+/"):
        raise ValueError(
            "expected the part of a user id between @ and the colon: lower-case letters, digits and . _ -"
        )
    return value


def check_ghost_prefix(value: str) -> str:
    """What every ghost's localpart begins with."""
    if _LOCALPART.match(value) is None:
        raise ValueError("expected lower-case letters, digits and . _ = - / +, at least one")
    return value


def check_appservice_id(value: str) -> str:
    """The id in the registration; it is part of a path when the homeserver is asked to ping us."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value) is None:
        raise ValueError("expected letters, digits and . _ -, at least one")
    return value


def check_token(value: str) -> str:
    """A token, at least 16 visible ASCII characters: it travels in an HTTP header."""
    if len(value) < _MIN_TOKEN:
        raise ValueError(f"expected a random token of at least {_MIN_TOKEN} characters")
    if _TOKEN.match(value) is None:
        raise ValueError(
            "expected a token of ASCII letters, digits and signs, without spaces or line breaks"
        )
    return value


def resolved(path: Path, info: ValidationInfo) -> Path:
    """An absolute path; a relative one begins where the configuration is."""
    folder = (info.context or {}).get("folder", Path())
    return (Path(folder) / path).absolute()


def check_folder(path: Path) -> Path:
    """A directory that is there, and can be read."""
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise ValueError(
            f"expected a directory that can be read; {path}: {error.strerror}"
        ) from None
    return path


def check_language(value: str, known: Collection[str]) -> str:
    """One of the ``known`` languages, or a variety of one of them, such as ``de-AT``."""
    if not {value, value.partition("-")[0]} & {*known}:
        raise ValueError(
            f"expected a language that there are messages in: {', '.join(sorted(known))}"
        )
    return value
