"""The network drops its connections, forgets its sessions, repeats itself, and changes its mind about a password.

The rule that must never break: what is repeated in the server's name is what it has said itself.
"""

from __future__ import annotations

import asyncio
import signal

from dm_bridge.testing.dialects import Frame
from dm_bridge.testing.fault_proxy import PASS, RESET, End, Verdict
from tests.faults.load import Run
from tests.faults.scenarios import one
from tests.faults.world import PASSWORD


async def connections_cut(run: Run) -> None:
    """Cut, and resumed (XEP-0198)."""
    for how in (End.RESET, End.FIN, End.RESET):
        await run.some_time(0.3, 1)
        run.injected += run.world.network.cut(how)


async def cut_inside_a_send(run: Run) -> None:
    """The stanza arrives, and the connection ends before its acknowledgement."""

    async def cut(_: Frame) -> Verdict:
        run.world.network.cut()
        return RESET

    for _ in range(3):
        trap = run.world.network.when("^<a ", cut, answer=True)
        await run.happened(trap.sprung, "an acknowledgement")
        await run.some_time(0.2, 0.5)


async def cut_before_an_acknowledgement(run: Run) -> None:
    """What the server sent is committed, and the server does not learn of it."""

    async def cut(_: Frame) -> Verdict:
        run.world.network.cut()
        return RESET

    for _ in range(3):
        trap = run.world.network.when("^<a ", cut)
        await run.happened(trap.sprung, "an acknowledgement")
        await run.some_time(0.2, 0.5)


async def resumption_refused(run: Run) -> None:
    """The connection ends, and the server does not know the session any more."""

    async def other_id(frame: Frame) -> Verdict:
        before, _, after = frame.data.partition(b"previd=")
        quote = after[:1]
        rest = after[1:].partition(quote)[2]
        return Verdict(forward=before + b"previd=" + quote + b"nobody" + quote + rest)

    for _ in range(2):
        trap = run.world.network.when("^<resume", other_id)
        run.world.network.cut()
        await run.happened(trap.sprung, "an attempt to resume")
        await run.some_time(0.3, 0.8)


async def restarted(run: Run) -> None:
    await run.world.prosody.restart()
    run.injected += 1


async def away(run: Run) -> None:
    """Down for a while."""
    await run.world.prosody.stop()
    run.injected += 1
    await run.some_time(2, 4)
    await run.world.prosody.restart()


async def hangs(run: Run) -> None:
    run.world.prosody.signal(signal.SIGSTOP)
    try:
        await run.some_time(5, 7)
    finally:
        run.world.prosody.signal(signal.SIGCONT)
    run.injected += 1


async def half_open(run: Run) -> None:
    """Nothing passes, until the bridge notices; then it can connect again."""
    run.world.network.stall()
    await run.some_time(7, 8)
    run.world.network.cut()
    await run.world.network.mend()
    run.injected += 1


async def stanzas_doubled(run: Run) -> None:
    """Messages come twice in a row."""

    async def twice(frame: Frame) -> Verdict:
        return Verdict(forward=frame.data * 2)

    trap = run.world.network.when("^<message", twice, answer=True, times=5)
    if await run.happened(trap.sprung, "five messages"):
        run.injected += 4


async def password_changed(run: Run) -> None:
    """The login stops, asks once, and tries no more; after the user has logged in again, all goes on."""
    refusals = 0

    async def refused(_: Frame) -> Verdict:
        nonlocal refusals
        refusals += 1
        return PASS

    person = run.people[0]
    run.refused.append(person)
    localpart = person.romeo.partition("@")[0]
    trap = run.world.network.when("^<failure", refused, answer=True, times=1000)
    mark = person.alice.mark()
    await run.world.prosody.change_password(localpart, PASSWORD + "2")
    run.injected += 1
    await run.world.prosody.disconnect_user(localpart)
    try:
        await person.alice.wait_for(
            lambda seen: seen.room_id == person.management and "login" in (seen.body or ""),
            after=mark,
        )
        await asyncio.sleep(4)
        said = [
            seen
            for seen in person.alice.seen[mark:]
            if seen.room_id == person.management
            and seen.body
            and seen.sender == run.world.stack.bot
        ]
        with run.must_hold("a refused password is asked for once, and tried once") as check:
            check(len(said) == 1)
            check(refusals == 1)
    except TimeoutError:
        run.wrong.append("nobody asked for the new password")
    run.world.network.forget(trap)
    await run.world.prosody.change_password(localpart, PASSWORD)
    await run.world.stack.log_in(person.alice, person.management, person.romeo, PASSWORD)


SCENARIOS = (
    one("the XMPP connection cut, and resumed", "network", connections_cut),
    one("the XMPP connection cut before a message is acknowledged", "network", cut_inside_a_send),
    one(
        "the XMPP connection cut before the server learns that its messages are safe",
        "network",
        cut_before_an_acknowledgement,
    ),
    one("the resumption of the XMPP session refused", "network", resumption_refused),
    one("the XMPP server restarted", "network", restarted),
    one("the XMPP server away for a while", "network", away),
    one("the XMPP server hangs", "network", hangs),
    one("the XMPP connection half open", "network", half_open),
    one("messages of the XMPP server doubled on the wire", "network", stanzas_doubled),
    one("the XMPP password changed", "network", password_changed),
)
