"""What became of messages that wait for the server's word."""

from __future__ import annotations

import pytest

from dm_bridge.connectors.xmpp.deliveries import Deliveries


async def test_an_accepted_message_is_settled_and_remembered() -> None:
    deliveries = Deliveries()
    attempt = deliveries.begin("a")
    assert deliveries.pending("a") is attempt
    deliveries.accept("a")
    assert await attempt is None
    assert deliveries.was_accepted("a")
    assert deliveries.pending("a") is None
    deliveries.accept("never begun")
    assert not deliveries.was_accepted("never begun")


async def test_abandoned_messages_say_whether_they_may_have_arrived() -> None:
    deliveries = Deliveries()
    first, second, third = (deliveries.begin(name) for name in "abc")
    deliveries.abandon(certain=True, only={"b", "unknown"})
    assert not first.done()
    outcome = await second
    assert outcome is not None
    assert outcome.certain
    deliveries.abandon(certain=False)
    for attempt in (first, third):
        outcome = await attempt
        assert outcome is not None
        assert (outcome.certain, outcome.retry_after) == (False, 1.0)
    assert len(deliveries) == 0
    assert not deliveries.was_accepted("a")


async def test_what_is_remembered_is_bounded() -> None:
    deliveries = Deliveries()
    for number in range(1500):
        deliveries.begin(str(number))
        deliveries.accept(str(number))
    assert not deliveries.was_accepted("0")
    assert deliveries.was_accepted("1499")
    assert len(deliveries._accepted) == 1000


async def test_settling_after_the_waiter_left_is_harmless() -> None:
    deliveries = Deliveries()
    deliveries.begin("a").cancel()
    deliveries.accept("a")
    assert deliveries.was_accepted("a")


@pytest.mark.parametrize("overtakes", [True, False])
async def test_what_is_sent_back_is_sent_anew_when_it_is_tried_again(overtakes: bool) -> None:
    deliveries = Deliveries()
    outcome = deliveries.begin("a")
    if overtakes:  # the error comes before the acknowledgement
        deliveries.sent_back("a")
    deliveries.accept("a")
    if not overtakes:
        deliveries.sent_back("a")
    assert await outcome is None
    assert not deliveries.was_accepted("a")
    deliveries.begin("a")
    deliveries.accept("a")
    assert deliveries.was_accepted("a")
