"""Answers calls wherever their user is: here, or through the database by the process that has them.

A request comes to whichever process there is behind the URL. The process that has the user is left an errand with
the call, and leaves one with the answer in return (see `dm_bridge.store.instances`).

The rule that must never break: a call is carried out by the process that has its user, and by no other; and what
it says lies sealed in the database, because it may be a password.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from typing import Any

import orjson
import structlog

from dm_bridge.errors import BridgeError, StorageError
from dm_bridge.ids import UserId
from dm_bridge.provisioning.calls import Answer, Call, Run
from dm_bridge.provisioning.operations import BY_NAME
from dm_bridge.provisioning.refusals import Refusal, refusal_of
from dm_bridge.store.instances import Errand
from dm_bridge.store.sealing import SealingKey
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

CALL = "provision"
ANSWER = "provisioned"
"""The kinds of errands."""
PATIENCE = 65.0
"""Seconds that another process may take; longer than a call may."""
AT_ONCE = 200
"""Calls of other processes that are carried out at the same time, and calls that wait for them; and as many more
that wait for something to happen (`Operation.waits`)."""

_UNREADABLE = (StorageError, ValueError, KeyError, TypeError)


class Relay:
    """``instance``: our name among the processes. ``holds``: whether we have a user. ``adopt``: takes strangers.

    ``leave``: leaves errands. ``run``: carries a call out. ``refusal``: why nothing may be done just now, if so.
    """

    def __init__(
        self,
        instance: str,
        key: SealingKey,
        holds: Callable[[UserId], bool],
        adopt: Callable[[Collection[UserId]], Awaitable[None]],
        leave: Callable[[Collection[Errand]], Awaitable[None]],
        run: Run,
        refusal: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._instance = instance
        self._key = key
        self._holds = holds
        self._adopt = adopt
        self._leave = leave
        self._run = run
        self._refusal = refusal
        self._stopped = False
        self._waiting: dict[str, tuple[bool, asyncio.Future[Answer]]] = {}
        self._tasks: dict[asyncio.Task[None], bool] = {}  # and whether it waits for something

    async def stop(self) -> None:
        """Carry out no more, and ask nobody."""
        self._stopped = True
        for _, waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(_busy())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, call: Call) -> Answer:
        """The answer to a call."""
        try:
            if self._stopped or self._refusal() is not None:
                return _busy()
            await self._adopt([call.user])
            return await (self._run(call) if self._holds(call.user) else self._ask(call))
        except BridgeError as error:
            return Answer.refusing(refusal_of(error))

    async def _ask(self, call: Call) -> Answer:
        waits = _waits(call)
        if sum(each is waits for each, _ in self._waiting.values()) >= AT_ONCE:
            return _busy()
        id = secrets.token_hex(16)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[id] = waits, answer
        try:
            async with asyncio.timeout(PATIENCE):
                body = base64.b64encode(call.body).decode()
                said = {"id": id, "asker": self._instance, "call": asdict(call) | {"body": body}}
                await self._leave([Errand(call.user, CALL, self._seal(call.user, said))])
                await asyncio.wait({answer})
                return answer.result()
        except TimeoutError:
            return _silent()
        except asyncio.CancelledError:
            if waits:
                await self._give_up(call.user, id)
            raise
        finally:
            del self._waiting[id]

    async def _give_up(self, user: UserId, id: str) -> None:
        """Whoever waits for a call has gone: then its place is free."""
        with contextlib.suppress(BridgeError):
            await self._leave([Errand(user, CALL, self._seal(user, {"id": id, "over": True}))])

    # -- for other processes

    def asked(self, errand: Errand) -> None:
        """Another process has left a call for us, because we had its user."""
        try:
            fields = self._open(errand)
            if "over" in fields:
                self._end(fields["id"])
                return
            id, asker, call = fields["id"], fields["asker"], fields["call"]
            call = Call(**{**call, "body": base64.b64decode(call["body"])})
        except _UNREADABLE:
            log.warning("a request of another process cannot be read; do all share one data_dir?")
            return
        if self._stopped or self._under_way(call) >= 2 * AT_ONCE:
            log.warning(
                "a request of another process was passed over: there are too many, or we end"
            )
            return
        task = asyncio.create_task(self._carry_out(id, asker, call), name=_name(id))
        self._tasks[task] = _waits(call)
        task.add_done_callback(self._tasks.pop)

    def _end(self, id: str) -> None:
        for task in self._tasks:
            if task.get_name() == _name(id):
                task.cancel()

    async def _carry_out(self, id: str, asker: str, call: Call) -> None:
        if not self._holds(call.user):
            answer = _moving()
        elif self._under_way(call) > AT_ONCE or self._refusal() is not None:
            answer = _busy()
        else:
            answer = await self._run(call)
        sealed = self._seal(asker, {"id": id, "answer": asdict(answer)})
        try:
            await self._leave([Errand(asker, ANSWER, sealed)])
        except BridgeError as error:
            log.warning("another process could not be answered", reason=str(error))

    def answered(self, errand: Errand) -> None:
        """Another process has left an answer for us."""
        try:
            fields = self._open(errand)
            _, waiting = self._waiting.get(fields["id"], (False, None))
            answer = Answer(**fields["answer"])
        except _UNREADABLE:
            log.warning("the answer of another process cannot be read")
            return
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _under_way(self, call: Call) -> int:
        """How many calls of its kind are being carried out."""
        return sum(each is _waits(call) for each in self._tasks.values())

    def _seal(self, for_whom: str, fields: dict[str, Any]) -> str:
        """What can be opened as an errand for the same one only."""
        said = {"": orjson.dumps(fields).decode()}
        return base64.b64encode(self._key.seal(f"provisioning/{for_whom}", said)).decode()

    def _open(self, errand: Errand) -> dict[str, Any]:
        """What `_seal` has made. Raises one of `_UNREADABLE`."""
        sealed = base64.b64decode(errand.subject, validate=True)
        said = self._key.unseal(f"provisioning/{errand.for_whom}", sealed)
        fields: dict[str, Any] = orjson.loads(said[""])
        return fields


def _busy() -> Answer:
    return Answer.refusing(Refusal(503, "M_UNKNOWN", phrase("provisioning-busy"), 2.0))


def _moving() -> Answer:
    return Answer.refusing(Refusal(503, "M_UNKNOWN", phrase("provisioning-moving"), 2.0))


def _silent() -> Answer:
    return Answer.refusing(Refusal(504, "M_UNKNOWN", phrase("provisioning-silent"), 2.0))


def _name(id: str) -> str:
    return f"relayed call {id}"


def _waits(call: Call) -> bool:
    """Whether a call waits for something to happen."""
    operation = BY_NAME.get(call.operation)
    return operation is not None and operation.waits
