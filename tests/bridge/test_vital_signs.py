"""Who is taken for dead, and who never is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.vital_signs import (
    ACTS,
    BEAT,
    DEAD,
    VitalSigns,
    has_ended,
    this_place,
    this_process,
)
from dm_bridge.store.instances import Instance

LEASE = 10.0


def instance(name: str, beat: int, *, lease: float = LEASE, process: str = "") -> Instance:
    return Instance(name, lease, this_place() if process else "elsewhere", process, beat)


def test_who_beats_is_alive_and_who_does_not_for_long_is_dead() -> None:
    signs = VitalSigns("me")
    for second in range(30):
        both = [instance("me", second), instance("other", second)]
        assert signs.see(both, float(second)) == []
    for second in range(30, 36):
        assert signs.see([instance("me", second), instance("other", 29)], float(second)) == []
    dead = signs.see([instance("me", 36), instance("other", 29)], 36.0)
    assert [each.id for each in dead] == ["other"]


def test_after_a_pause_of_our_own_the_others_get_their_whole_time_again() -> None:
    signs = VitalSigns("me")
    assert signs.see([instance("me", 0), instance("other", 0)], 0.0) == []
    assert signs.see([instance("me", 1), instance("other", 0)], 100.0) == []
    assert signs.see([instance("me", 2), instance("other", 0)], 101.0) == []


def test_one_that_is_being_buried_is_dead() -> None:
    assert VitalSigns("me").see([instance("me", 0), instance("other", -1)], 0.0)


def test_each_has_its_own_lease() -> None:
    signs = VitalSigns("me")
    for second in range(21):
        others = [instance("me", second), instance("long", 0, lease=60.0)]
        assert signs.see(others, float(second)) == []


@given(
    pauses=st.lists(st.floats(0.0, 30.0), min_size=1, max_size=40),
    away=st.floats(0.0, 100.0),
    offset=st.floats(0.0, 5.0),
)
def test_nobody_is_taken_for_dead_who_may_still_act(
    pauses: list[float], away: float, offset: float
) -> None:
    """One beats until ``away``, another looks at any moments: when it says dead, the first must be silent."""
    beats = [n * BEAT * LEASE for n in range(int(away / (BEAT * LEASE)) + 1)]
    may_act_until = beats[-1] + ACTS * LEASE
    signs, now = VitalSigns("me"), offset
    for pause in pauses:
        now += pause
        beat = sum(at <= now for at in beats)
        if signs.see([instance("me", 0), instance("other", beat)], now):
            assert now > may_act_until
            return


def test_a_process_of_this_machine_that_has_ended_is_known_to_be_dead_at_once() -> None:
    if not this_place():
        pytest.fail("this machine has no /proc; the test has to be run where it has")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = f"{child.pid} {_started(child.pid)}"
    assert not has_ended(this_place(), process)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(this_place(), process)  # as a zombie too
    child.wait()
    assert has_ended(this_place(), process)
    child.stdin and child.stdin.close()


def test_an_id_that_is_used_again_is_another_process() -> None:
    assert not has_ended(this_place(), this_process())
    assert has_ended(this_place(), f"{os.getpid()} 1")


def test_what_happens_elsewhere_cannot_be_seen() -> None:
    assert not has_ended("another machine", f"{os.getpid()} 1")
    assert not has_ended("", f"{os.getpid()} 1")


def test_silence_is_death_only_after_nobody_acts_any_more() -> None:
    assert BEAT < ACTS < DEAD < 1 - 2 * BEAT + 1e-9


def _started(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[19]
