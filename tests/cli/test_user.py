"""``dm-bridge audit`` and ``dm-bridge user``, without a running bridge."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio
import yaml
from click.testing import Result

from dm_bridge.bridge.audit_log import AuditLog
from dm_bridge.store.audit_log import Act, AuditStore
from dm_bridge.store.database import Database
from dm_bridge.store.erasing import ErasureStore
from tests.cli.conftest import Command
from tests.store.stored import OWNER, a_login


@dataclass
class Admin:
    """``run``: a command with the configuration. One user has a login, and has logged in."""

    command: Command
    config: Path
    database: Database

    async def run(self, *arguments: str, text: str | None = None) -> Result:
        words = [*arguments, "-c", str(self.config)]
        return await asyncio.to_thread(self.command, *words, text=text)

    async def json(self, *arguments: str) -> Any:
        return json.loads((await self.run(*arguments, "--json")).stdout)


@pytest_asyncio.fixture
async def admin(database_url: str, database: Database, command: Command, made: Path) -> Admin:
    config = yaml.safe_load(made.read_text())
    config["database"] = {"url": database_url}
    made.write_text(yaml.safe_dump(config))
    await a_login(database)
    log = AuditLog(AuditStore(database))
    await log.record(OWNER, Act.LOGIN, OWNER, {"network": "xmpp"}, "bot")
    await log.record("@evil\x1b[31m:x", Act.REFUSED, None, {"reason": "no\x1b[0m"}, "api")
    return Admin(command, made, database)


async def test_the_log_is_shown_in_part_and_cannot_colour_the_terminal(admin: Admin) -> None:
    shown = await admin.run("audit")
    assert shown.exit_code == 0
    assert OWNER in shown.stdout
    assert "\x1b" not in shown.stdout
    entries = (await admin.json("audit", "--user", OWNER))["entries"]
    assert [(e["act"], e["door"], e["details"]) for e in entries] == [
        ("login", "bot", {"network": "xmpp"})
    ]
    assert (await admin.json("audit", "--act", "logout"))["entries"] == []
    assert len((await admin.json("audit", "--since", "1h"))["entries"]) == 2
    assert (await admin.run("audit", "--since", "soon")).exit_code == 2


async def test_an_export_is_private_recorded_and_replaces_nothing(
    admin: Admin, tmp_path: Path
) -> None:
    path = tmp_path / "juliet.json"
    done = await admin.run("user", "export", OWNER, "-o", str(path))
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["tables"]["login"][0]["remote"] == "juliet@example.com"
    again = await admin.run("user", "export", OWNER, "-o", str(path))
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    entry = (await admin.json("audit", "--act", "exported"))["entries"][0]
    assert (entry["subject"], entry["door"]) == (OWNER, "cli")
    assert entry["actor"].startswith("admin")


async def test_an_erasure_is_asked_about_recorded_and_left_to_the_bridge(admin: Admin) -> None:
    refused = await admin.run("user", "erase", OWNER, text="n\n")
    assert refused.exit_code == 1
    assert "Nothing was deleted" in refused.stderr
    assert await ErasureStore(admin.database).pending() == []
    assert await admin.json("user", "erase", OWNER, "--yes") == {"user": OWNER, "erased": False}
    [erasure] = await ErasureStore(admin.database).pending()
    assert (erasure.user, erasure.door) == (OWNER, "cli")
    nobody = await admin.run("user", "erase", "@nobody:example.org", "--yes")
    assert nobody.exit_code == 1
    assert "Nothing is stored" in nobody.stderr
