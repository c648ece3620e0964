"""``dm-bridge direct repair``: look at the direct chats of one account now, and put them right.

The rule that must never break: it writes as the bridge itself does, by the keeper, under the account's
lease; so a bridge that runs meanwhile and this command never write at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import click

from dm_bridge.cli.direct.managed import managed_options, run_offline
from dm_bridge.cli.direct.shown import progress, say, show_changes
from dm_bridge.cli.recording import record
from dm_bridge.direct.change import difference
from dm_bridge.direct.conflicts import at_peace
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.engine import Mind, observe
from dm_bridge.direct.ledger import Ledger
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.direct.reconcile import Keep, Put, Refuse, reconcile
from dm_bridge.errors import BridgeError, StorageError, UserError, may_pass
from dm_bridge.ids import UserId
from dm_bridge.store.audit_log import Act

if TYPE_CHECKING:
    from dm_bridge.app.offline import Offline

EXIT_TO_DO = 3
TURN = 30.0
"""Seconds in which another process of the bridge may finish with the account."""
PATIENCE = 60.0
"""Seconds in which everything else has to be done."""

_NOTHING_NEW = frozenset({ReasonKind.PENDING, ReasonKind.OPTED_OUT, ReasonKind.NOT_WRITTEN})


@dataclass(frozen=True, slots=True)
class _Done:
    """``writes``: what stood there before each write, and after. ``left``: what waits, in words."""

    account: UserId
    writes: Sequence[tuple[DirectDocument, DirectDocument]]
    reasons: Sequence[Reason]
    left: Sequence[Reason] = ()


@click.command(
    short_help="Look at the direct chats of a user now, and put them right.",
    epilog="Exit codes: 0 all is as it should be, now at least; 3 with --dry-run: there is something to "
    "write; 1 failed; 2 wrong usage; 78 wrong configuration.  Example: dm-bridge direct repair alice",
)
@managed_options
@click.option("--dry-run", is_flag=True, help="Show the exact change, and write nothing.")
@click.pass_context
def repair(ctx: click.Context, user: str, config_path: Path, in_json: bool, dry_run: bool) -> None:
    """Read the direct chats of USER, decide, write, and verify; now, and with conflicts forgotten.

    Does what the user's `direct repair` does, whether the bridge runs or not. What the user has decided
    stays decided.
    """
    done = run_offline(config_path, user, _plan if dry_run else _repair)
    if in_json:
        click.echo(json.dumps(_as_json(done, dry_run=dry_run)))
    else:
        _print(done, dry_run=dry_run)
    ctx.exit(EXIT_TO_DO if dry_run and done.writes else 0)


async def _plan(parts: Offline, account: UserId) -> _Done:
    """What would be written. Records nothing."""
    await _check_access(parts, account)
    observed = await parts.documents.read(account)
    managed = await parts.store.managed(account)
    if parts.documents.has_journal(account):
        journal = at_peace(await parts.journals.read(account))
        ledger = Ledger.of(account, managed, parts.never_keys(account))
        decision = observe(Mind(ledger, journal), observed, at=time.time()).decision
    else:
        decision = reconcile(Ledger.of(account, managed), observed)
    match decision:
        case Put(document, reasons):
            before = observed if isinstance(observed, DirectDocument) else DirectDocument()
            return _Done(account, [(before, document)], _new(reasons), _waiting(reasons))
        case Keep(reasons):
            return _Done(account, [], _new(reasons), _waiting(reasons))
        case Refuse(_, sentence):
            raise UserError(sentence)
        case _:
            assert_never(decision)


async def _repair(parts: Offline, account: UserId) -> _Done:
    await record(parts.database, Act.DIRECT, account, {"command": "repair"})
    await _check_access(parts, account)
    documents = parts.documents
    if documents.has_journal(account):
        await _take_turn(parts, account)
        await parts.journals.at_peace(account)
    before = await parts.journals.read(account)
    seen_before = await parts.journals.seen(account)
    await _keep(parts, account)
    after = await parts.journals.read(account)
    seen = await parts.journals.seen(account)
    if seen.refused:
        raise UserError(seen.refused)
    managed = await parts.store.managed(account)
    if documents.has_journal(account):
        verified = after.doubt is None and seen.at != seen_before.at
        ledger = Ledger.of(account, managed, parts.never_keys(account))
    else:
        ledger = Ledger.of(account, managed)
        verified = documents.seen is not None and isinstance(
            reconcile(ledger, documents.seen), Keep
        )
    if not verified or documents.trouble is not None:
        raise _unfinished(parts, account)
    assert documents.seen is not None
    new = [v for v in after.versions if v.seq > before.seq]
    state = reconcile(ledger, documents.seen)
    waiting = () if isinstance(state, Refuse) else _waiting(state.reasons)
    reasons = tuple(reason for version in new for reason in version.reasons)
    return _Done(account, documents.writes, _new(reasons), waiting)


async def _check_access(parts: Offline, account: UserId) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            problem = await parts.check_access(account)
    except TimeoutError:
        problem = f"The homeserver has not answered within {PATIENCE:.0f} seconds. Try again later."
    if problem is not None:
        raise UserError(f"Nothing was written. {problem}")


async def _take_turn(parts: Offline, account: UserId) -> None:
    """Become the account's writer, when the bridge that runs has finished with it."""
    from dm_bridge.store.journals import Busy

    until = time.monotonic() + TURN
    waited = False
    while True:
        try:
            await parts.journals.claim(account)
        except Busy:
            if time.monotonic() > until:
                raise StorageError(
                    f"The bridge has been writing the direct chats of {account} for {TURN:.0f} seconds. "
                    "Nothing was written; try again in a minute."
                ) from None
            if not waited:
                progress("The bridge is writing for this account just now; waiting for it.")
            waited = True
            await asyncio.sleep(0.25)
        else:
            return


async def _keep(parts: Offline, account: UserId) -> None:
    """Let the keeper work until it has verified, or something stands in its way for good."""
    parts.keeper.touch(account)
    settling = asyncio.create_task(parts.keeper.settled(account, within=PATIENCE))
    try:
        while not settling.done():
            await asyncio.wait({settling}, timeout=0.2)
            trouble = parts.documents.trouble
            if trouble is not None and not may_pass(trouble):
                return
    finally:
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
        await parts.keeper.stop()
        if parts.documents.has_journal(account):
            await parts.journals.release(account)


def _unfinished(parts: Offline, account: UserId) -> BridgeError:
    state = "Nothing was written."
    if parts.documents.uncertain:
        state = "It may have been written."
    elif parts.documents.writes:
        state = "It was written, but not verified."
    trouble = parts.documents.trouble
    if trouble is not None:
        return UserError(f"{trouble.message} {state} Run the command again.")
    if not parts.documents.has_access(account):
        return UserError(
            f"The homeserver does not know the token that {account} gave any more. They can give another "
            f"with `login-matrix`, written to the bot. {state}"
        )
    return UserError(
        f"It could not be done within {PATIENCE:.0f} seconds; somebody else keeps writing, or the database is "
        f"slow. {state} Run the command again."
    )


def _new(reasons: Sequence[Reason]) -> list[Reason]:
    """The reasons that tell of something that happened, or is done."""
    return [reason for reason in dict.fromkeys(reasons) if reason.kind not in _NOTHING_NEW]


def _waiting(reasons: Sequence[Reason]) -> list[Reason]:
    return [reason for reason in dict.fromkeys(reasons) if reason.kind is ReasonKind.PENDING]


def _print(done: _Done, *, dry_run: bool) -> None:
    for reason in done.reasons:
        say(reason.sentence)
    for before, after in done.writes:
        say("The change that would be written:" if dry_run else "Written:")
        show_changes(before, after)
    for reason in done.left:
        say(reason.sentence)
    if not done.writes:
        say(f"The direct chats of {done.account} are as they should be; nothing was written.")
    elif dry_run:
        say("Nothing was written. Without --dry-run it is.")
    else:
        say(f"Read back: the direct chats of {done.account} are as they should be.")


def _as_json(done: _Done, *, dry_run: bool) -> dict[str, Any]:
    changes = [difference(before, after) for before, after in done.writes]
    return {
        "user": done.account,
        "dry_run": dry_run,
        "writes": [
            {
                "add": [list(atom) for atom in sorted(change.added)],
                "remove": [list(atom) for atom in sorted(change.removed)],
            }
            for change in changes
        ],
        "reasons": [reason.to_json() for reason in done.reasons],
        "waiting": [reason.to_json() for reason in done.left],
    }
