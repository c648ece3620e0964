"""The kit finds what is planted: a check that cannot fail is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_bridge.testing import whole_bridge
from dm_bridge.testing.conformance import CHECKS, Check, Failed, Kit
from dm_bridge.testing.conformance import case as cases

from . import sabotage_messages, sabotage_sessions
from .pigeon_adapter import PigeonAdapter
from .sabotage import SABOTAGES, network_with

PLANTED = (sabotage_messages, sabotage_sessions)


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
    kit = Kit(ImpatientAdapter(network_with(broken)), tmp_path)
    with kit, pytest.raises(Failed) as caught:
        kit.run(check)
    told = str(caught.value)
    assert told.startswith(f"{check.__name__}: ")
    assert "Not expected here" not in told  # a sentence for the author, and no bug of the kit
    assert len(told.splitlines()[1]) > 20  # what was seen, besides what the check is about


def test_every_check_has_found_something() -> None:
    unproven = {check.__name__ for check in CHECKS} - {check.__name__ for _, check in SABOTAGES}
    assert not unproven
