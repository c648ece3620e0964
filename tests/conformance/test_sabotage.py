"""The kit finds what is planted: a check that cannot fail is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_bridge.testing import whole_bridge
from dm_bridge.testing.conformance import (
    CHECKS,
    Adapter,
    Check,
    Failed,
    Kit,
    NotOffered,
    attention,
    media,
    relations,
)
from dm_bridge.testing.conformance import case as cases

from . import (
    sabotage_attention,
    sabotage_history,
    sabotage_media,
    sabotage_messages,
    sabotage_relations,
    sabotage_sessions,
)
from .pigeon_adapter import PigeonAdapter
from .sabotage import SABOTAGES, network_with

PLANTED = (
    sabotage_attention,
    sabotage_history,
    sabotage_media,
    sabotage_messages,
    sabotage_relations,
    sabotage_sessions,
)


class ImpatientAdapter(PigeonAdapter):
    hostile = ("before\nTO {bystander} injected\nafter",)
    patience = 0.4


@pytest.mark.parametrize(
    ("broken", "check"), SABOTAGES, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_a_broken_promise_is_found(
    broken: type, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(whole_bridge, "PATIENCE", 1.0)
    monkeypatch.setattr(attention, "TELL_SECONDS", 0.5)
    kit = Kit(ImpatientAdapter(network_with(broken)), tmp_path)
    with kit, pytest.raises(Failed) as caught:
        kit.run(check)
    told = str(caught.value)
    assert told.startswith(f"{check.__name__}: ")
    assert "Not expected here" not in told  # a sentence for the author, and no bug of the kit
    assert len(told.splitlines()[1]) > 20  # what was seen, besides what the check is about


class DumbAdapter(PigeonAdapter):
    react = Adapter.react


def test_what_nobody_can_check_is_no_promise_kept(tmp_path: Path) -> None:
    """A declared capability needs the adapter's method for it, and the sentence says which one."""
    with Kit(DumbAdapter(), tmp_path) as kit, pytest.raises(Failed) as caught:
        kit.run(relations.reactions_are_carried)
    assert "`Capabilities.reactions`" in str(caught.value)
    assert "the adapter lacks `react`" in str(caught.value)


class EarlierAdapter(PigeonAdapter):
    """As it was before there were checks of signals and files."""

    types, seen, received, befriend = (
        Adapter.types,
        Adapter.seen,
        Adapter.received,
        Adapter.befriend,
    )
    share, shared = Adapter.share, Adapter.shared


@pytest.mark.parametrize(
    "check", [*attention.CHECKS[:-1], *media.CHECKS], ids=lambda check: check.__name__
)
def test_an_adapter_without_a_method_lets_a_check_be_skipped(check: Check, tmp_path: Path) -> None:
    with Kit(EarlierAdapter(), tmp_path) as kit:
        if check is attention.what_the_user_reads_elsewhere_is_theirs:
            kit.run(check)  # it needs nothing else than before, and `read`
        else:
            with pytest.raises(NotOffered, match="the adapter has no `"):
                kit.run(check)


def test_every_check_has_found_something() -> None:
    unproven = {check.__name__ for check in CHECKS} - {check.__name__ for _, check in SABOTAGES}
    assert not unproven
