"""What a portal needs next, in every state it can be in."""

from __future__ import annotations

import itertools

import pytest

from dm_bridge.bridge.portal_steps import Step, next_step
from dm_bridge.store.portals import Membership, PortalState

OPEN = {
    (Membership.NONE, True): Step.INVITE,
    (Membership.NONE, False): Step.INVITE,
    (Membership.LEAVE, True): Step.INVITE,
    (Membership.LEAVE, False): Step.INVITE,
    (Membership.INVITE, True): Step.JOIN,
    (Membership.INVITE, False): Step.READY,
    (Membership.JOIN, True): Step.READY,
    (Membership.JOIN, False): Step.READY,
}


@pytest.mark.parametrize(
    ("membership", "can_join"), list(itertools.product(Membership, [True, False]))
)
def test_every_state_has_its_step(membership: Membership, can_join: bool) -> None:
    steps = [next_step(state, membership, can_join=can_join) for state in PortalState]
    assert steps == [Step.CREATE, Step.RECOVER, OPEN[membership, can_join]]
    assert list(PortalState) == [PortalState.RESERVED, PortalState.CREATING, PortalState.OPEN]


@pytest.mark.parametrize("can_join", [True, False])
@pytest.mark.parametrize("state", list(PortalState))
@pytest.mark.parametrize("membership", list(Membership))
def test_every_path_ends_ready_within_three_steps(
    state: PortalState, membership: Membership, can_join: bool
) -> None:
    for _ in range(4):
        match next_step(state, membership, can_join=can_join):
            case Step.FOLLOW:
                raise AssertionError("nothing was replaced")
            case Step.CREATE | Step.RECOVER:
                state, membership = PortalState.OPEN, Membership.INVITE
            case Step.INVITE:
                membership = Membership.INVITE
            case Step.JOIN:
                membership = Membership.JOIN
            case Step.READY:
                return
    raise AssertionError("it never becomes ready")


@pytest.mark.parametrize("membership", list(Membership))
@pytest.mark.parametrize("can_join", [True, False])
def test_a_room_that_was_replaced_is_left_behind_before_anything_else(
    membership: Membership, can_join: bool
) -> None:
    steps = {
        state: next_step(state, membership, can_join=can_join, replaced=True)
        for state in PortalState
    }
    assert steps == {
        PortalState.RESERVED: Step.CREATE,
        PortalState.CREATING: Step.RECOVER,
        PortalState.OPEN: Step.FOLLOW,
    }
