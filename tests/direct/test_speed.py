"""A decision on a large account takes hardly longer than its JSON. `make direct-report` prints exact figures."""

from __future__ import annotations

import pytest

from benchmarks.direct_speed import ENTRIES, VERSIONS, full_account, measure

GENEROUS = 4.0
"""Times reading the account's content as JSON and writing it; 1.4 is usual, the rest is for odd machines."""


def test_the_account_that_is_measured_is_full() -> None:
    mind, values = full_account(ENTRIES)
    assert len(values) == ENTRIES + VERSIONS
    assert len(mind.journal.versions) == VERSIONS
    assert len(mind.ledger.managed) == ENTRIES


@pytest.mark.parametrize("managed", [0, ENTRIES])
def test_a_large_account_is_decided_about_as_fast_as_it_is_read_and_written(managed: int) -> None:
    speed = measure(managed, repeats=7)
    assert speed.at_rest < GENEROUS * speed.json
    assert speed.stale < GENEROUS * speed.json
