"""What the demo does once its servers run: one private chat, and the proof that it works.

The rule that must never break: every claim is taken from what an independent client saw, never from
what the bridge says about itself.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from dm_bridge.cli.stages import ALICE, PASSWORD, PATIENCE, Contact, Stage
from dm_bridge.errors import BridgeError
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.stack import Stack

if TYPE_CHECKING:
    from rich.console import Console

FIRST_WORDS = "O Romeo, Romeo! wherefore art thou Romeo?"
ANSWER = "Shall I hear more, or shall I speak at this?"
ROUNDS = 10


async def run_scenario(
    console: Console, stack: Stack, stage: Stage, outcome: dict[str, Any]
) -> None:
    """Log in, chat both ways, and put what was seen into ``outcome``.

    Raises `BridgeError` or TimeoutError at the first thing that is not as it should be.
    """
    async with stack.matrix_user(ALICE, PASSWORD) as alice, stage.contact(stack) as juliet:
        with console.status("Logging in through the bot"):
            *steps, said = await stage.log_in(stack, alice)
        for number, step in enumerate(steps):
            done(console, step)
            if not number:
                _said(console, stack.bot, said)
        before = await alice.m_direct()
        room, ghost = await _first_message(console, alice, juliet, stage.user, outcome)
        await _compare_m_direct(console, alice, before, room, ghost, outcome)
        await _talk(console, alice, juliet, stage, room, outcome)
        outcome["page"] = await _page(stack, alice)


async def _page(stack: Stack, alice: MatrixUser) -> str:
    """The link to her page that the bot gives her."""
    [room, *_] = (await alice.m_direct() or {})[stack.bot]
    mark = alice.mark()
    await alice.send_text(room, "page")
    told = await alice.wait_for(
        lambda seen: seen.room_id == room and "#enter=" in (seen.body or ""),
        timeout=PATIENCE,
        after=mark,
    )
    return (told.body or "").partition("(")[2].partition(")")[0]


async def _first_message(
    console: Console,
    alice: MatrixUser,
    juliet: Contact,
    romeo: str,
    outcome: dict[str, Any],
) -> tuple[str, str]:
    with console.status(f"{juliet.address} writes to {romeo}"):
        sent = time.monotonic()
        juliet.say(FIRST_WORDS)
        seen = await alice.wait_for_text(FIRST_WORDS, timeout=PATIENCE)
        took = _milliseconds(seen.at - sent)
        room, ghost = seen.room_id, seen.sender
        invite = await _invite(alice, room)
        name = await alice.state_content(room, "m.room.member", ghost) or {}
    is_direct = invite.get("content", {}).get("is_direct")
    outcome |= {
        "room_id": room,
        "ghost": ghost,
        "ghost_name": name.get("displayname"),
        "invite_is_direct": is_direct is True,
        "first_message_ms": took,
    }
    if is_direct is not True:
        raise BridgeError(f"The invite to {room} did not carry is_direct: true.")
    if invite.get("sender") != ghost:
        raise BridgeError(f"{invite.get('sender')} sent the invite, and not the ghost {ghost}.")
    _said(console, juliet.address, FIRST_WORDS)
    done(console, f"room {room}, made by {ghost} ({name.get('displayname')}), in {took:.0f} ms")
    done(console, f"the invite to {alice.user_id} carries is_direct: true")
    return room, ghost


async def _invite(alice: MatrixUser, room: str) -> dict[str, Any]:
    for event in await alice.messages(room):
        if (
            event["type"] == "m.room.member"
            and event.get("state_key") == alice.user_id
            and event["content"].get("membership") == "invite"
        ):
            return event
    for seen in alice.seen:
        if (
            seen.kind == "invite"
            and seen.room_id == room
            and seen.event.get("state_key") == alice.user_id
        ):
            return seen.event
    raise BridgeError(f"{alice.user_id} is in {room}, but no invite was seen.")


async def _compare_m_direct(
    console: Console,
    alice: MatrixUser,
    before: dict[str, Any] | None,
    room: str,
    ghost: str,
    outcome: dict[str, Any],
) -> None:
    with console.status("Waiting for m.direct"):
        deadline = time.monotonic() + PATIENCE
        after = await alice.m_direct()
        while room not in (after or {}).get(ghost, []):
            if time.monotonic() > deadline:
                raise BridgeError(f"m.direct of {alice.user_id} does not name {room}: {after}")
            await asyncio.sleep(0.05)
            after = await alice.m_direct()
    outcome |= {"m_direct_before": before, "m_direct": after}
    if after != {**(before or {}), ghost: [room]}:
        raise BridgeError(f"m.direct of {alice.user_id} lost or gained something: {after}")
    console.print("  m.direct before:")
    _show_m_direct(console, before or {}, new=None)
    console.print("  m.direct after:")
    _show_m_direct(console, after or {}, new=ghost)


async def _talk(
    console: Console,
    alice: MatrixUser,
    juliet: Contact,
    stage: Stage,
    room: str,
    outcome: dict[str, Any],
) -> None:
    with console.status("Talking both ways"):
        await alice.send_text(room, ANSWER)
        _, sender = await juliet.hear(ANSWER)
        if sender != stage.user:
            raise BridgeError(f"{alice.user_id}'s answer came from {sender}.")
        to_matrix, to_remote = [], []
        for number in range(ROUNDS):
            text = f"ping {number} from {juliet.address}"
            sent = time.monotonic()
            juliet.say(text)
            seen = await alice.wait_for_text(text, timeout=PATIENCE)
            to_matrix.append(_milliseconds(seen.at - sent))
            if seen.room_id != room:
                raise BridgeError(f"A later message came to {seen.room_id} and not to {room}.")
            text = f"pong {number} from {alice.user_id}"
            sent = time.monotonic()
            await alice.send_text(room, text)
            arrived, _ = await juliet.hear(text)
            to_remote.append(_milliseconds(arrived - sent))
    _said(console, alice.user_id, ANSWER)
    latency = {
        "remote_to_matrix": round(statistics.median(to_matrix), 1),
        "matrix_to_remote": round(statistics.median(to_remote), 1),
    }
    outcome |= {"latency_ms": latency, "rounds": ROUNDS}
    for label, key in (
        (f"{stage.title} to Matrix", "remote_to_matrix"),
        (f"Matrix to {stage.title}", "matrix_to_remote"),
    ):
        done(console, f"{label}: {latency[key]:.0f} ms (median of {ROUNDS}, client to client)")


def _show_m_direct(console: Console, document: Mapping[str, Any], *, new: str | None) -> None:
    if not document:
        console.print("    [dim]nothing[/]")
    for user, rooms in document.items():
        style = "green" if user == new else "dim"
        console.print(f"    [{style}]{escape(user)}: {escape(', '.join(rooms))}[/]")


def _said(console: Console, who: str, text: str) -> None:
    console.print(f"  [bold]{escape(who)}[/]: {escape(text)}")


def done(console: Console, text: str) -> None:
    """Report a step that has succeeded."""
    console.print(f"[green]✓[/] {escape(text)}")


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
