"""The last of several chats that are being opened has the marks written; the others wait for it."""

from __future__ import annotations

import contextlib

import pytest

from dm_bridge.bridge.arrivals import Arrivals
from dm_bridge.ids import UserId
from tests.bridge.room_world import FakeKeeper

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


@pytest.fixture
def arrivals(keeper: FakeKeeper) -> Arrivals:
    return Arrivals(keeper)  # type: ignore[arg-type]


def test_the_last_to_arrive_hastens_once(arrivals: Arrivals, keeper: FakeKeeper) -> None:
    with arrivals.expect(ALICE) as first, arrivals.expect(ALICE) as second:
        first()
        assert keeper.hastened == []
        arrivals.no_more(ALICE)
        assert keeper.hastened == []
        second()
        assert keeper.hastened == [ALICE]
        second()
    assert keeper.hastened == [ALICE]


def test_one_that_fails_is_waited_for_no_longer(arrivals: Arrivals, keeper: FakeKeeper) -> None:
    with arrivals.expect(ALICE) as arrived:
        with contextlib.suppress(RuntimeError), arrivals.expect(ALICE):
            arrived()
            raise RuntimeError
        assert keeper.hastened == [ALICE]


def test_the_chats_of_others_do_not_count(arrivals: Arrivals, keeper: FakeKeeper) -> None:
    with arrivals.expect(BOB):
        arrivals.no_more(ALICE)
        with arrivals.expect(ALICE):
            pass
        assert keeper.hastened == [ALICE, ALICE]
