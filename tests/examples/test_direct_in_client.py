"""The client of the example, on Synapse: who the direct chats are really with."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.synapse import Synapse

CLIENT = Path(__file__).resolve().parents[2] / "examples/direct_in_client/who_is_direct.py"


async def test_it_lists_the_chats_there_are_and_not_what_else_the_list_says(
    synapse: Synapse,
) -> None:
    anna = await synapse.register_user("who_anna", "secret")
    ben = await synapse.register_user("who_ben", "secret")
    async with (
        MatrixUser(synapse.url, anna.user_id, anna.access_token) as alice,
        MatrixUser(synapse.url, ben.user_id, ben.access_token) as friend,
    ):
        chat = await alice.create_room(invite=[ben.user_id], is_direct=True)
        await friend.join(chat)
        left = await alice.create_room(invite=[ben.user_id], is_direct=True)
        await alice.leave(left)
        space = await alice.create_room(creation_content={"type": "m.space"})
        await alice.set_m_direct(
            {ben.user_id: [chat, left, space, 7], anna.user_id: [chat], "junk": "junk"}
        )
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(CLIENT), synapse.url, anna.access_token],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ran.stdout == f"{ben.user_id} {chat}\n"
        assert "junk" in (await alice.m_direct() or {})
