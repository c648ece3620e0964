"""`update_direct_chats` for bridges on mautrix-python, with the m.direct engine of dm_bridge.

What mautrix-python brings replaces everything that stands under the bridge's ghosts by what the bridge
thinks; so it undoes what users decide, and overwrites what others write meanwhile. This reads, judges what
others did, and writes only what is missing.

    class User(DirectChats, DBUser, BaseUser): ...

The rule that must never break: no write without a read right before it that shows what was decided upon, and
none that was not saved first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mautrix.bridge import BaseUser
from mautrix.errors import MatrixRequestError, MNotFound
from mautrix.types import EventType, RoomID, UserID

from dm_bridge.direct import (
    DirectDocument,
    DMState,
    Ledger,
    Malformed,
    Mind,
    NotSet,
    Put,
    Refuse,
    activate,
    dump,
    load,
    manage,
    observe,
    retire,
)
from dm_bridge.ids import RoomId, UserId

Chats = Mapping[UserID, list[RoomID]]
Observed = DirectDocument | Malformed | NotSet
ROUNDS = 5  # a list that changes more often than that while we look is left for the next time


def managing(ledger: Ledger, dms: Chats, *, all_of_them: bool) -> Ledger:
    """The ledger once the bridge has these chats: rooms by ghost; ``all_of_them``: and no others."""
    for ghost, rooms in dms.items():
        for room in map(RoomId, rooms):
            known = ledger.managed.get(room)
            if known is not None:
                if known.ghost == UserId(ghost) and known.state is DMState.ACTIVE:
                    continue
                ledger = retire(ledger, room)  # from now on under another ghost, or again
            ledger = activate(manage(ledger, room, UserId(ghost)), room)
    if all_of_them:
        for room in ledger.managed.keys() - {room for rooms in dms.values() for room in rooms}:
            ledger = retire(ledger, RoomId(room))
    return ledger


class DirectChats(BaseUser):
    """A user of the bridge whose direct chats stay right."""

    async def load_direct_state(self) -> str | None:
        """What `save_direct_state` was given last, or None. A text column beside the user will do."""
        raise NotImplementedError

    async def save_direct_state(self, state: str) -> None:
        """Keep ``state``; return when it is safe."""
        raise NotImplementedError

    async def update_direct_chats(self, dms: Chats | None = None) -> None:
        """As in mautrix: ``dms`` are added; without them, `get_direct_chats` says all there are."""
        if not self.bridge.config["bridge.sync_direct_chat_list"]:
            return
        puppet = await self.bridge.get_double_puppet(self.mxid)
        if not puppet or not puppet.is_real_user:
            return
        chats: Chats = await self.get_direct_chats() if dms is None else dms
        async with self.dm_update_lock:
            mind = await self._direct_mind()
            ledger = managing(mind.ledger, chats, all_of_them=dms is None)
            await self._keep_direct_chats(puppet.intent, replace(mind, ledger=ledger))

    async def _direct_mind(self) -> Mind:
        saved = await self.load_direct_state()
        if saved is not None:
            return load(json.loads(saved))
        return Mind(Ledger.of(UserId(self.mxid), never_keys=[UserId(self.az.bot_mxid)]))

    async def _keep_direct_chats(self, intent: Any, mind: Mind) -> None:
        observed = await _read(intent)
        for _ in range(ROUNDS):
            outcome = observe(mind, observed, at=time.time())
            mind = outcome.mind
            await self._save(mind)
            if isinstance(outcome.decision, Refuse):
                self.log.warning(outcome.decision.sentence)
            if not isinstance(outcome.decision, Put):
                return
            before, observed = observed, await _read(intent)
            if not _same(before, observed):  # somebody wrote meanwhile: judge that first
                mind = replace(mind, journal=mind.journal.untried())
                continue
            for reason in outcome.decision.reasons:
                self.log.debug("m.direct: %s", reason.sentence)
            try:
                await intent.set_account_data(EventType.DIRECT, outcome.decision.document.content())
            except MatrixRequestError as error:
                if error.http_status < 500:  # refused: it surely was not written
                    await self._save(replace(mind, journal=mind.journal.untried()))
                raise
            observed = await _read(intent)  # until it says what it should
        await self._save(mind)

    async def _save(self, mind: Mind) -> None:
        await self.save_direct_state(json.dumps(dump(mind)))


async def _read(intent: Any) -> Observed:
    try:
        return DirectDocument.parse(await intent.get_account_data(EventType.DIRECT))
    except MNotFound:
        return NotSet()


def _same(one: Observed, other: Observed) -> bool:
    if isinstance(one, DirectDocument) and isinstance(other, DirectDocument):
        return one.same_meaning(other)
    return one == other
