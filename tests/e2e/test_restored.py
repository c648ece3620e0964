"""A homeserver that is restored from a backup knows less than the bridge remembers; private chats go on."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import ghost_of, pair, within


@pytest_asyncio.fixture
async def alone(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge whose homeserver no other test needs."""
    stack = await Stack.start(workplace("restored"), prosody=prosody, domain="restored.localhost")
    yield stack
    await stack.stop()


def copy_database(source: Path, target: Path) -> None:
    """Put one folder's database in place of another's."""
    target.mkdir(exist_ok=True)
    for old in target.glob("homeserver.db*"):
        old.unlink()
    for file in source.glob("homeserver.db*"):
        shutil.copy2(file, target / file.name)


async def test_chats_that_the_homeserver_has_forgotten_begin_again(
    alone: Stack, workplace: Workplace
) -> None:
    data, backup = alone.bridge.directory / "synapse", workplace("backup")
    backup.mkdir(parents=True)
    async with pair(alone) as p, alone.xmpp_user("mercutio") as mercutio:
        kept = await p.first_chat()
        foreign = {"@nurse:elsewhere.example": ["!nurse:elsewhere.example"]}
        await p.alice.set_m_direct({**(await p.alice.m_direct() or {}), **foreign})
        await p.alice.close()
        await alone.synapse.stop()
        copy_database(data, backup)
        await alone.synapse.restart()
        await p.alice.open()

        mark = p.alice.mark()
        mercutio.send(p.romeo, "after the backup")
        lost = (await p.alice.wait_for_text("after the backup", after=mark)).room_id
        p.juliet.send(p.romeo, "in the old room, after the backup")
        await p.alice.wait_for_text("in the old room, after the backup", after=mark)
        await p.alice.close()
        await alone.synapse.stop()
        copy_database(backup, data)
        await alone.synapse.restart()
        await p.alice.open()

        mark = p.alice.mark()
        mercutio.send(p.romeo, "after the restore")
        seen = await p.alice.wait_for_text("after the restore", timeout=60, after=mark)
        assert seen.room_id not in (lost, kept)
        ghost = ghost_of(alone, mercutio.bare_jid)
        assert seen.sender == ghost
        p.juliet.send(p.romeo, "in the old room, after the restore")
        seen_old = await p.alice.wait_for_text("in the old room, after the restore", after=mark)
        assert seen_old.room_id == kept
        await p.alice.send_text(seen.room_id, "from the new room")
        await mercutio.wait_for_text("from the new room", timeout=30)

        async def right() -> bool:
            expected = {**foreign, p.ghost: [kept], ghost: [seen.room_id]}
            direct = await p.alice.m_direct() or {}
            return expected == {key: direct.get(key) for key in expected}

        await within(30, right)
        name = await p.alice.request("GET", f"v3/profile/{ghost}/displayname")
        assert name == {"displayname": mercutio.bare_jid}
        log = (alone.bridge.directory / "dm-bridge.log").read_text(encoding="utf-8")
        assert "could not be shown" not in log
