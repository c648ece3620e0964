"""The homeserver fails, is away, repeats itself, and says what is not so.

The rule that must never break: what is answered in Synapse's place, or repeated in its name, is what a real one
could have sent.
"""

from __future__ import annotations

import asyncio
import json
import signal

from dm_bridge.testing.dialects import Frame
from dm_bridge.testing.fault_proxy import PASS, RESET, End, Verdict, http_answer
from tests.faults.killing import SEND, TRANSACTION
from tests.faults.load import Run
from tests.faults.scenarios import Inject, one

ANY_WRITE = r"^(PUT|POST) .*/(send|createRoom|join|register|profile|account_data)\b"


def answered(status: int, *headers: str, body: dict[str, object] | None = None) -> Inject:
    """Several writes are answered so, and do not reach Synapse."""

    async def inject(run: Run) -> None:
        async def refuse(_: Frame) -> Verdict:
            return Verdict(forward=b"", back=http_answer(status, raw, *headers))

        raw = json.dumps(body).encode() if body is not None else b"<html>bad gateway</html>"
        trap = run.world.client_api.when(ANY_WRITE, refuse, skip=run.rng.randrange(3), times=4)
        await run.newcomer()
        if await run.happened(trap.sprung, f"four writes for {status}"):
            run.injected += 3

    return inject


async def accepted_and_answered_502(run: Run) -> None:
    """Writes that Synapse takes, and a proxy between says that it does not."""

    async def lie(_: Frame) -> Verdict:
        return Verdict(forward=http_answer(502, b"<html>bad gateway</html>"))

    trap = run.world.client_api.when(
        ANY_WRITE, lie, answer=True, skip=run.rng.randrange(3), times=4
    )
    await run.newcomer()
    if await run.happened(trap.sprung, "four answers"):
        run.injected += 3


async def answers_lost(run: Run) -> None:
    """Writes arrive, the connection ends before the answer."""

    async def lose(_: Frame) -> Verdict:
        return RESET

    trap = run.world.client_api.when(
        ANY_WRITE, lose, answer=True, skip=run.rng.randrange(3), times=4
    )
    await run.newcomer()
    if await run.happened(trap.sprung, "four answers"):
        run.injected += 3


async def answer_lost_and_restarted(run: Run) -> None:
    """An answer is lost, and Synapse forgets its transactions before the message is tried again."""

    async def lose(_: Frame) -> Verdict:
        run.world.client_api.refuse()
        return RESET

    trap = run.world.client_api.when(SEND, lose, answer=True, skip=run.rng.randrange(6))
    await run.happened(trap.sprung, "an answer to a send")
    await run.world.synapse.restart()
    await run.world.client_api.accept()
    await run.some_time()


async def restarted(run: Run) -> None:
    await run.world.synapse.restart()
    run.injected += 1
    await run.some_time()


async def away(run: Run) -> None:
    """Down for a while: killed, with what was under way."""
    await run.world.synapse.kill()
    run.injected += 1
    await run.some_time(3, 5)
    await run.world.synapse.restart()


async def hangs(run: Run) -> None:
    """It stands still without closing anything, and then goes on."""
    run.world.synapse.signal(signal.SIGSTOP)
    try:
        await run.some_time(4, 6)
    finally:
        run.world.synapse.signal(signal.SIGCONT)
    run.injected += 1


async def connections_cut(run: Run) -> None:
    for how in (End.RESET, End.FIN, End.RESET):
        await run.some_time()
        run.injected += run.world.client_api.cut(how) + run.world.pushes.cut(how)


async def half_open(run: Run) -> None:
    """Nothing passes either way for a while, and then all connections are reset."""
    for proxy in (run.world.client_api, run.world.pushes):
        proxy.stall()
    await run.some_time(3, 4)
    for proxy in (run.world.client_api, run.world.pushes):
        proxy.cut()
        await proxy.mend()
    run.injected += 1


async def slow_requests(run: Run) -> None:
    """Half a push, and never the rest: it holds up nobody else."""
    writers = []
    for _ in range(20):
        _, writer = await asyncio.open_connection(run.world.pushes.host, run.world.bridge.port)
        writer.write(b"PUT /_matrix/app/v1/transactions/slow HTTP/1.1\r\nHost: x\r\nContent-Le")
        writers.append(writer)
    run.injected += len(writers)
    await run.some_time(1, 2)
    for writer in writers:
        writer.close()


async def repeated(run: Run) -> None:
    """Transactions come again after they were taken, and later again."""
    kept: list[bytes] = []

    async def again(frame: Frame) -> Verdict:
        kept.append(requests[0])
        status = (await run.world.pushes.repeat(requests.pop(0))).status
        check(status == 200)
        return PASS

    async def keep(frame: Frame) -> Verdict:
        requests.append(frame.data)
        return PASS

    requests: list[bytes] = []
    with run.must_hold("a repeated transaction is answered with 200") as check:
        run.world.pushes.when(TRANSACTION, keep, times=5)
        trap = run.world.pushes.when(TRANSACTION, again, answer=True, times=5)
        await run.happened(trap.sprung, "five transactions")
        for data in reversed(kept):
            check((await run.world.pushes.repeat(data)).status == 200)
    run.injected += 2 * len(kept) - 1


async def repeated_at_once(run: Run) -> None:
    """The same transaction comes several times at the same time."""

    async def flood(frame: Frame) -> Verdict:
        copies = [run.world.pushes.repeat(frame.data) for _ in range(4)]
        tasks.extend(asyncio.ensure_future(copy) for copy in copies)
        return PASS

    tasks: list[asyncio.Future[Frame]] = []
    trap = run.world.pushes.when(TRANSACTION, flood, times=4)
    if await run.happened(trap.sprung, "four transactions"):
        with run.must_hold("a repeated transaction is answered with 200") as check:
            for answer in await asyncio.gather(*tasks):
                check(answer.status == 200)
    run.injected += len(tasks) - 1


def renamed(data: bytes, transaction: bytes) -> bytes:
    """A push under another transaction id."""
    line, rest = data.split(b"\r\n", 1)
    method, path, version = line.split(b" ")
    head, _, query = path.partition(b"?")
    path = head[: head.rindex(b"/") + 1] + transaction + (b"?" + query if query else b"")
    return b" ".join((method, path, version)) + b"\r\n" + rest


async def old_events_in_new_transactions(run: Run) -> None:
    """Events that were pushed come again under ids that are new."""

    async def again(frame: Frame) -> Verdict:
        other = renamed(frame.data, f"again{len(answers)}".encode())
        answers.append((await run.world.pushes.repeat(other)).status)
        return PASS

    answers: list[int] = []
    trap = run.world.pushes.when(TRANSACTION, again, times=5)
    await run.happened(trap.sprung, "five transactions")
    with run.must_hold("a transaction is answered with 200") as check:
        for status in answers:
            check(status == 200)
    run.injected += len(answers) - 1


async def new_events_in_old_transactions(run: Run) -> None:
    """Transaction ids are used again for other events, as after the registration was made anew."""

    async def reuse(frame: Frame) -> Verdict:
        return Verdict(forward=renamed(frame.data, b"1"))

    trap = run.world.pushes.when(TRANSACTION, reuse, times=6)
    if await run.happened(trap.sprung, "six transactions"):
        run.injected += 5


LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 700}

SCENARIOS = (
    one("writes answered with 500", "homeserver", answered(500)),
    one("writes answered with 502", "homeserver", answered(502)),
    one("writes answered with 504", "homeserver", answered(504)),
    one("writes limited (429, with a hint)", "homeserver", answered(429, body=LIMITED)),
    one("writes accepted, and answered with 502", "homeserver", accepted_and_answered_502),
    one("writes accepted, and the answer lost", "homeserver", answers_lost),
    one(
        "a message accepted, the answer lost, and the homeserver restarted",
        "homeserver",
        answer_lost_and_restarted,
    ),
    one("the homeserver restarted", "homeserver", restarted),
    one(
        "the homeserver killed, and away for a while",
        "homeserver",
        away,
    ),
    one("the homeserver hangs", "homeserver", hangs),
    one("the homeserver's connections cut", "homeserver", connections_cut),
    one("the homeserver's connections half open", "homeserver", half_open),
    one("slow requests that never end", "homeserver", slow_requests),
    one("transactions repeated", "homeserver", repeated),
    one("transactions repeated at the same time", "homeserver", repeated_at_once),
    one("old events in new transactions", "homeserver", old_events_in_new_transactions),
    one("new events under a used transaction id", "homeserver", new_events_in_old_transactions),
)
