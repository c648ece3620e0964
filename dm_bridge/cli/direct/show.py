"""``dm-bridge direct show``: how the direct chats of one account are.

The rule that must never break: it only looks.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dm_bridge.cli.direct.managed import HOW, managed_options, moment, run_offline
from dm_bridge.cli.direct.shown import safe, say
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.ledger import DMState, ManagedDM
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId

if TYPE_CHECKING:
    from dm_bridge.app.offline import Offline

EXIT_PROBLEM = 3
PATIENCE = 10.0
"""Seconds in which the homeserver may say whether the account can be acted for."""

_ACCESS = {
    "masquerade": "by the second registration (masquerade)",
    "token": "by a token that the user gave",
    "ghost": "a ghost of the bridge",
    "none": "none",
    "unknown": "not known: the homeserver does not answer",
}


@dataclass(frozen=True, slots=True)
class _Chat:
    """``state``: the word that people read. ``keys``: under whom the room stands."""

    dm: ManagedDM
    contact: str
    state: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shown:
    account: UserId
    access: str
    seen_at: float | None
    seen_by: str
    in_doubt: bool
    chats: list[_Chat]
    problems: list[str]
    document: DirectDocument | None


@click.command(
    short_help="Show how the direct chats of one of the bridge's users are.",
    epilog="Exit codes: 0 all is well; 3 something is not, and the answer says what; 1 failed; 2 wrong "
    "usage; 78 wrong configuration.  Example: dm-bridge direct show alice",
)
@managed_options
@click.option("--content", is_flag=True, help="Print the list (m.direct) as it was last seen, too.")
@click.pass_context
def show(ctx: click.Context, user: str, config_path: Path, in_json: bool, content: bool) -> None:
    """Show the chats that the bridge manages for USER, and how it reaches the account.

    USER is a user id, or a local name of your homeserver. What was last seen is shown, without asking for
    it again; the bridge may run or not.
    """
    shown = run_offline(config_path, user, _look)
    if in_json:
        click.echo(json.dumps(_as_json(shown, content=content)))
    else:
        _print(shown)
        if content:
            _print_content(shown)
    ctx.exit(EXIT_PROBLEM if shown.problems else 0)


async def _look(parts: Offline, account: UserId) -> _Shown:
    access, problem = await _access(parts, account)
    status = await parts.view.status(account)
    journal = await parts.journals.read(account)
    seen = await parts.journals.seen(account)
    managed = {dm.room: dm for dm in await parts.store.managed(account)}
    document = journal.head
    states = {chat.room: chat.state.value for chat in status.chats}
    if access == "ghost":
        document = await _document_of_ghost(parts, account)
        marked = frozenset() if document is None else document.entries()
        for room, row in managed.items():
            if row.wanted and (row.ghost, room) in marked:
                states[room] = "marked"
    held = {} if document is None else document.keys_of(managed)
    chats = [
        _Chat(dm, chat.contact, states[chat.room], held.get(chat.room, ()))
        for chat in status.chats
        if (dm := managed.get(chat.room)) is not None
    ]
    problems = [] if status.problem is None else [status.problem]
    if problem is not None and managed:
        problems.append(problem)
    problems += _problems(chats, reachable=problem is None)
    return _Shown(
        account,
        access,
        seen.at,
        seen.source,
        journal.doubt is not None,
        chats,
        problems,
        document,
    )


async def _access(parts: Offline, account: UserId) -> tuple[str, str | None]:
    """How the account is reached, and why not."""
    if parts.config.ghosts.owns(account):
        return "ghost", None
    try:
        async with asyncio.timeout(PATIENCE):
            problem = await parts.check_access(account)
    except HomeserverError as error:
        return "unknown", error.message
    except TimeoutError:
        return "unknown", f"The homeserver has not answered within {PATIENCE:.0f} seconds."
    return parts.accounts.access(account).value, problem


async def _document_of_ghost(parts: Offline, account: UserId) -> DirectDocument | None:
    # nobody else writes it, so it is not remembered
    try:
        async with asyncio.timeout(PATIENCE):
            document = await parts.documents.read(account)
    except (HomeserverError, TimeoutError):
        return None
    return document if isinstance(document, DirectDocument) else None


def _problems(chats: list[_Chat], *, reachable: bool) -> list[str]:
    problems = []
    fought = sum(chat.state == "conflict" for chat in chats)
    if fought:
        problems.append(
            f"{_chats(fought)} in conflict: another client or bridge keeps undoing the mark, so it is left "
            "alone for now. `dm-bridge direct repair` tries again."
        )
    waiting = sum(chat.dm.wanted and chat.state == "pending" for chat in chats)
    if waiting and reachable:
        problems.append(
            f"{_chats(waiting)} not marked yet, though the user has joined. The bridge does it soon when it "
            "runs; `dm-bridge direct repair` does it now."
        )
    return problems


def _chats(number: int) -> str:
    return "1 chat is" if number == 1 else f"{number} chats are"


def _print(shown: _Shown) -> None:
    click.secho(safe(shown.account), bold=True)
    say(f"Access: {_ACCESS[shown.access]}.", 2)
    if shown.seen_at is not None:
        say(f"Last seen: {moment(shown.seen_at)}, {HOW.get(shown.seen_by, shown.seen_by)}.", 2)
    elif shown.access != "ghost":
        say("Last seen: never.", 2)
    if shown.in_doubt:
        say("The last write has not been verified yet.", 2)
    for problem in shown.problems:
        say(f"Problem: {problem}", 2)
    click.echo()
    if not shown.chats:
        say("The bridge manages no chats for this account.")
        return
    counts = Counter(chat.state for chat in shown.chats)
    total = "1 chat" if len(shown.chats) == 1 else f"{len(shown.chats)} chats"
    say(f"{total}: {', '.join(f'{n} {state}' for state, n in sorted(counts.items()))}.")
    for chat in shown.chats:
        click.echo(f"  {chat.state:<10} {safe(chat.contact)}")
        click.echo(f"  {'':<10} room {safe(chat.dm.room)}")
        click.echo(f"  {'':<10} ghost {safe(chat.dm.ghost)}{_note(chat)}")


def _note(chat: _Chat) -> str:
    notes = []
    if chat.dm.aliases:
        notes.append(f"before: {', '.join(sorted(chat.dm.aliases))}")
    if chat.dm.state is DMState.PENDING:
        notes.append("the user has not joined")
    others = [key for key in chat.keys if key != chat.dm.ghost]
    if others:
        notes.append(f"stands under {', '.join(others)}")
    return f"  ({safe('; '.join(notes))})" if notes else ""


def _print_content(shown: _Shown) -> None:
    click.echo()
    if shown.document is None:
        say("The list has not been seen yet.")
        return
    say("The list, as it was last seen:")
    click.echo(json.dumps(shown.document.content(), indent=2))


def _as_json(shown: _Shown, *, content: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "user": shown.account,
        "access": shown.access,
        "seen_at": shown.seen_at,
        "seen_by": shown.seen_by or None,
        "in_doubt": shown.in_doubt,
        "problems": shown.problems,
        "chats": [
            {
                "room": chat.dm.room,
                "ghost": chat.dm.ghost,
                "contact": chat.contact,
                "state": chat.state,
                "life": chat.dm.state.value,
                "opted_out": chat.dm.opted_out,
                "earlier_ghosts": sorted(chat.dm.aliases),
                "stands_under": list(chat.keys),
            }
            for chat in shown.chats
        ],
    }
    if content:
        answer["content"] = None if shown.document is None else shown.document.content()
    return answer
