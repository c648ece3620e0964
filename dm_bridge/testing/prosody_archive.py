"""Message archives written as Prosody itself stores them, in its files or in SQLite: a history without writing it.

Files (mod_storage_internal) are Prosody's default; all of an archive is read for each answer. SQLite
(mod_storage_sql) has an index.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from dm_bridge.errors import AdminError

Archives = Literal["files", "sql"]

SQL_FILE = "archives.sqlite"
_DRIVERS = "lib/*/lua/*/dbd/sqlite3.so"
_REMEDY = "Prosody cannot use SQLite. Install what it needs: apt-get install lua-dbi-sqlite3"
_BUSY_SECONDS = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS prosodyarchive (
    "sort_id" INTEGER PRIMARY KEY AUTOINCREMENT, "host" TEXT NOT NULL, "user" TEXT NOT NULL,
    "store" TEXT NOT NULL, "key" TEXT NOT NULL, "when" INTEGER NOT NULL, "with" TEXT NOT NULL,
    "type" TEXT NOT NULL, "value" TEXT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Archived:
    """A message in somebody's archive. ``from_self``: its owner wrote it; ``at``: seconds since the epoch."""

    contact: str
    body: str
    from_self: bool
    at: int


def sql_settings() -> tuple[str, ...]:
    """Lines of a configuration that has archives in `SQL_FILE`. Raises `AdminError` when it cannot."""
    if not any(Path("/usr").glob(_DRIVERS)):
        raise AdminError(_REMEDY)
    return (
        'storage = { archive = "sql" }',
        f'sql = {{ driver = "SQLite3"; database = "{SQL_FILE}" }}',
    )


def write_file(data: Path, jid: str, messages: Iterable[Archived]) -> None:
    """Give an account that has none an archive, in Prosody's folder ``data``; the oldest message first."""
    localpart, _, domain = jid.partition("@")
    folder = data / _stored(domain) / "archive"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{_stored(localpart)}.list").open("x", encoding="ascii") as file:
        for message in messages:
            sender, recipient = _ends(jid, message)
            file.write(
                f'item({{\n\t{{ {lua(message.body)}; ["attr"] = {{}}; ["name"] = "body"; }};\n'
                f'\t["attr"] = {{ ["type"] = "chat"; ["id"] = {lua(secrets.token_hex(8))};'
                f' ["from"] = {lua(sender)}; ["to"] = {lua(recipient)}; }};\n'
                f'\t["key"] = {lua(secrets.token_urlsafe(18))}; ["when"] = {message.at};'
                f' ["name"] = "message"; ["with"] = {lua(message.contact)};\n}});\n'
            )


def write_sql(file: Path, jid: str, messages: Iterable[Archived]) -> None:
    """The same, into the table of ``file``, which Prosody makes when it needs it first, or we do."""
    localpart, _, domain = jid.partition("@")
    columns = '"host", "user", "store", "key", "when", "with", "type", "value"'
    rows = (
        (
            *(domain, localpart, "archive", secrets.token_urlsafe(18)),
            *(message.at, message.contact, "xml", _stanza(jid, message)),
        )
        for message in messages
    )
    with contextlib.closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as database, database:
        database.execute(_TABLE)
        database.executemany(
            f"INSERT INTO prosodyarchive ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - ours
            rows,
        )


def lua(value: str | Path) -> str:
    """A Lua string literal; every byte outside plain text is escaped by number."""
    return f'"{"".join(_escaped(str(value).encode()))}"'


def _escaped(text: bytes) -> Iterator[str]:
    for byte in text:
        yield chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03d}"


def _ends(jid: str, message: Archived) -> tuple[str, str]:
    """Who wrote it, and to whom."""
    if message.from_self:
        return f"{jid}/phone", message.contact
    return f"{message.contact}/pc", jid


def _stanza(jid: str, message: Archived) -> str:
    sender, recipient = _ends(jid, message)
    attributes = {"type": "chat", "id": secrets.token_hex(8), "from": sender, "to": recipient}
    stanza = ElementTree.Element("message", attributes)
    ElementTree.SubElement(stanza, "body").text = message.body
    return ElementTree.tostring(stanza, encoding="unicode")


def _stored(name: str) -> str:
    """A name as Prosody calls files by it."""
    safe = string.ascii_letters + string.digits
    return "".join(each if each in safe else f"%{ord(each):02x}" for each in name)
