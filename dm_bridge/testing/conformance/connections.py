"""Connections: states that can be believed, reconnecting, closing; and what becomes of credentials.

The rule that must never break: whatever the network does, a session ends when it is told to, and leaves nothing.
"""

from __future__ import annotations

import asyncio
import itertools

from dm_bridge.errors import NetworkError
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.testing.conformance.case import Case, Live, require
from dm_bridge.testing.conformance.incoming import exactly

MOST_ATTEMPTS = 2
"""Connections that refused credentials may cost, once they are known to be refused or to find it out."""
_ENDS = (SessionStatus.BAD_CREDENTIALS, SessionStatus.LOGGED_OUT)


async def states_tell_the_truth(case: Case) -> None:
    """Report CONNECTING, CONNECTED, and after a loss TRANSIENT_DISCONNECT with a reason; none twice in a row."""
    live = await case.connected()
    require(
        live.sink.statuses
        in ([SessionStatus.CONNECTED], [SessionStatus.CONNECTING, SessionStatus.CONNECTED]),
        f"A session that connects reports CONNECTING, CONNECTED; not {live.sink.statuses}.",
    )
    for _ in range(2):
        reports = len(live.sink.states)
        await case.line.refuse()
        await live.reach(SessionStatus.TRANSIENT_DISCONNECT, reports)
        await case.line.mend()
        await live.reach(SessionStatus.CONNECTED, reports)
    are_sensible(live.sink.states)


async def a_cut_connection_is_made_anew(case: Case) -> None:
    """Reconnect by yourself when an idle connection breaks, with nothing asked of you."""
    live, person = await case.meet()
    for number in range(3):
        reports = len(live.sink.states)
        await case.line.cut()
        await live.reach(SessionStatus.CONNECTED, reports)
        await live.send_until_taken(live.message(person, f"out {number}"))
        await live.hears(person, f"out {number}")
        await person.say(live.account.address, f"in {number}")
        await live.arrives(f"in {number}")
    are_sensible(live.sink.states)


async def a_server_that_falls_silent_is_noticed(case: Case) -> None:
    """Ask a silent server for a sign of life, also when nothing is to be sent; without one, connect anew."""
    live, person = await case.meet()
    reports = len(live.sink.states)
    await case.line.hang()
    await live.reach(SessionStatus.TRANSIENT_DISCONNECT, reports)
    await case.line.mend()
    await live.reach(SessionStatus.CONNECTED, reports)
    if live.capabilities.catches_up:  # elsewhere the dead connection may still have the address
        await person.say(live.account.address, "still there")
        await live.arrives("still there")


async def a_server_that_is_away_is_waited_for(case: Case) -> None:
    """`connect` does not raise when nobody listens: report it, with a reason, and try until somebody does."""
    live = await case.opened(await case.account())
    await case.line.refuse()
    await live.begin()
    await live.reach(SessionStatus.TRANSIENT_DISCONNECT)
    require(
        live.sink.states[-1].reason, "A TRANSIENT_DISCONNECT says why, in a sentence for the user."
    )
    await case.line.mend()
    await live.reach(SessionStatus.CONNECTED)
    are_sensible(live.sink.states)


async def a_session_closes_at_once_and_for_good(case: Case) -> None:
    """`disconnect` is prompt, may be called twice, and leaves no task behind."""
    account = await case.account()
    live = await case.opened(account)
    before = asyncio.all_tasks()
    await live.connect()
    await live.close()
    await live.close()
    await leaves_nothing(case, before)


async def a_session_that_never_connected_closes(case: Case) -> None:
    """`disconnect` may be called before `connect`."""
    live = await case.opened(await case.account())
    before = asyncio.all_tasks()
    await live.close()
    await leaves_nothing(case, before)


async def a_session_closes_while_it_tries_to_connect(case: Case) -> None:
    """`disconnect` ends an attempt that is under way, also when the server says nothing at all."""
    account = await case.account()
    live, other = await case.opened(account), await case.opened(await case.account())
    before = asyncio.all_tasks()
    await case.line.refuse()
    await live.begin()
    await live.reach(SessionStatus.TRANSIENT_DISCONNECT)
    await live.close()
    await case.line.mend()
    await case.line.hang()
    await other.begin()
    await asyncio.sleep(0.1)
    await other.close()
    await case.line.mend()
    await leaves_nothing(case, before)


async def a_session_closes_while_nothing_can_be_stored(case: Case) -> None:
    """`disconnect` does not wait for an `EventSink.deliver` that never returns, or always raises."""
    for hang in (True, False):
        account, person = await case.account(), await case.person()
        live = await case.opened(account)
        before = asyncio.all_tasks()
        await live.connect()
        live.sink.hang_before, live.sink.refuse = hang, 1_000_000
        await person.say(account.address, "cannot be stored")
        await case.until(
            lambda s=live.sink: s.hanging or s.refused,  # type: ignore[misc]
            "Something should have been delivered.",
        )
        await live.close()
        await leaves_nothing(case, before)


async def a_session_closes_while_the_server_sleeps(case: Case) -> None:
    """`disconnect` does not wait for a server that does not say goodbye; what is being sent ends as well."""
    live, person = await case.opened(await case.account()), await case.person()
    before = asyncio.all_tasks()
    await live.connect()
    await case.line.hang()
    sending = asyncio.create_task(live.session.send(live.message(person, "too late")))
    await asyncio.sleep(0.05)
    await live.close()
    try:
        async with asyncio.timeout(1.0):
            await sending
    except NetworkError:
        pass
    except TimeoutError:
        require(False, "When a session is closed, a `send` that waits ends, with a `NetworkError`.")
    await case.line.mend()
    await leaves_nothing(case, before)


async def logins_do_not_mix(case: Case) -> None:
    """Keep two logins of one network apart: what arrives, what is sent, and when one of them ends."""
    first, second = await case.connected(), await case.connected()
    person = await case.person()
    for number in range(3):
        await person.say(first.account.address, f"to the first {number}")
        await person.say(second.account.address, f"to the second {number}")
        await first.send(first.message(person, f"by the first {number}"))
        await second.send(second.message(person, f"by the second {number}"))
    await exactly(case, first.inbox, [f"to the first {number}" for number in range(3)])
    await exactly(case, second.inbox, [f"to the second {number}" for number in range(3)])
    await second.hears(person, "by the second 2")
    await first.hears(person, "by the first 2")
    mixed = [
        heard
        for heard in person.heard
        if (heard.sender == first.account.address) is not heard.text.startswith("by the first")
    ]
    require(not mixed, f"What one login sends is seen as another's: {mixed!r}.")
    await first.close()
    await second.send(second.message(person, "still here"))
    await second.hears(person, "still here")
    await person.say(second.account.address, "still there")
    await second.arrives("still there")


async def revoked_credentials_end_the_session(case: Case) -> None:
    """Report BAD_CREDENTIALS once, with a reason; then connect no more, and let `send` raise for good."""
    live, person = await case.meet()
    await case.adapter.revoke(live.account)
    await live.reach(SessionStatus.BAD_CREDENTIALS)
    await _ends(case, live)
    try:
        await live.send(live.message(person, "too late"))
    except NetworkError as error:
        require(
            error.retry_after is None,
            "After BAD_CREDENTIALS, `send` raises without `retry_after` (`CredentialsError`).",
        )
    else:
        require(False, "`Session.send` returned, although the credentials are refused.")


async def refused_credentials_are_not_tried_again(case: Case) -> None:
    """A session that begins with refused credentials reports BAD_CREDENTIALS after one attempt: no lockout."""
    account = await case.account()
    live = await case.opened(account)
    await case.adapter.revoke(account)
    before = case.line.connections
    await live.begin()
    await live.reach(SessionStatus.BAD_CREDENTIALS)
    await _ends(case, live)
    attempts = case.line.connections - before
    require(attempts <= MOST_ATTEMPTS, f"Refused credentials were tried {attempts} times.")
    require(SessionStatus.CONNECTED not in live.sink.statuses, "It was never CONNECTED.")


async def _ends(case: Case, live: Live) -> None:
    """Nothing happens any more."""
    state, before = live.sink.states[-1], case.line.connections
    require(state.reason, "BAD_CREDENTIALS says why, in a sentence for the user.")
    secrets = [value for values in live.account.answers for value in values.values()]
    public = (live.account.address, live.login.remote, live.login.id)
    told = [
        s
        for s in secrets
        if s not in public and s not in live.account.address and s in state.reason
    ]
    require(not told, "A reason holds a secret of the user's.")
    await asyncio.sleep(case.adapter.quiet)
    require(
        live.sink.statuses.count(SessionStatus.BAD_CREDENTIALS) == 1,
        "BAD_CREDENTIALS is reported once.",
    )
    require(live.sink.states[-1] == state, "After BAD_CREDENTIALS nothing is reported any more.")
    attempts = case.line.connections - before
    require(not attempts, f"After BAD_CREDENTIALS the session connected {attempts} times more.")
    are_sensible(live.sink.states)


async def leaves_nothing(case: Case, before: set[asyncio.Task[object]]) -> None:
    """Wait until no task is there that was not ``before``."""

    def left() -> list[str]:
        tasks = asyncio.all_tasks() - before
        return [repr(task.get_coro()) for task in tasks if not task.done()]

    try:
        await case.until(lambda: not left(), "")
    except AssertionError:
        require(False, f"After `disconnect` these tasks are left: {left()}")


def are_sensible(states: list[SessionState]) -> None:
    """Raise `Failed` when a sequence of states makes no sense."""
    names = [state.status.name for state in states]
    for before, state in itertools.pairwise(states):
        require(state != before, f"The same state is reported twice in a row: {names}")
        require(before.status not in _ENDS, f"Something is reported after the end: {names}")
        require(
            not (before.status is state.status is SessionStatus.CONNECTED),
            f"CONNECTED is reported again, with nothing in between: {names}",
        )
    for state in states:
        require(
            "\n" not in state.reason, f"A reason is one line for the user, not {state.reason!r}."
        )


CHECKS = (
    states_tell_the_truth,
    a_cut_connection_is_made_anew,
    a_server_that_falls_silent_is_noticed,
    a_server_that_is_away_is_waited_for,
    a_session_closes_at_once_and_for_good,
    a_session_that_never_connected_closes,
    a_session_closes_while_it_tries_to_connect,
    a_session_closes_while_nothing_can_be_stored,
    a_session_closes_while_the_server_sleeps,
    logins_do_not_mix,
    revoked_credentials_end_the_session,
    refused_credentials_are_not_tried_again,
)
