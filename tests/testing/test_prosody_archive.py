"""Archives that are written as Prosody would have, and read from it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from dm_bridge.errors import AdminError
from dm_bridge.testing import prosody_archive
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.prosody_archive import Archived, Archives, sql_settings
from dm_bridge.testing.xmpp_client import XmppUser

SAID = [
    Archived("juliet@localhost", 'art <thou> & "not" Romeo\n\\?', False, 1_700_000_000),
    Archived("juliet@localhost", "neither, fair saint 🌹", True, 1_700_000_001),
    Archived("nurse@localhost", "madam", False, 1_700_000_002),
]


@pytest.mark.parametrize("archives", ["files", "sql"])
async def test_prosody_gives_out_what_was_written(tmp_path: Path, archives: Archives) -> None:
    server = await Prosody.start(tmp_path, archives=archives)
    try:
        jid = await server.add_user("romeo", "pass")
        server.write_archive(jid, SAID)
        async with XmppUser(jid, "pass", server.host, server.port) as romeo:
            kept = await romeo.archive(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        assert [message.body for message in kept] == [each.body for each in SAID]
        assert [message.sender for message in kept] == [
            "juliet@localhost/pc",
            "romeo@localhost/phone",
            "nurse@localhost/pc",
        ]
    finally:
        await server.stop()


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prosody_archive, "_DRIVERS", "lib/nothing-here/*.so")
    with pytest.raises(AdminError, match="apt-get install lua-dbi-sqlite3"):
        sql_settings()
