"""Who is in a channel with us, from what the server says."""

from __future__ import annotations

import pytest

from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.lines import parse
from dm_bridge.connectors.irc.record import Here
from dm_bridge.connectors.irc.sight import Sight

HERE = Here("romeo", Features())


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ([":romeo!r@h JOIN #a"], ""),
        ([":x JOIN #a", ":s 353 romeo = #a :y"], ""),
        ([":romeo JOIN #A", ":s 353 romeo = #a :romeo @+x y!u@h", ":Z[]!u@h JOIN #a"], "x y z{}"),
        ([":romeo JOIN #a", ":x JOIN #a", ":x PART #a"], ""),
        ([":romeo JOIN #a", ":romeo JOIN #b", ":x JOIN #a", ":x JOIN #b", ":x PART #a"], "x"),
        ([":romeo JOIN #a", ":x JOIN #a", ":op KICK #a X :out"], ""),
        ([":romeo JOIN #a", ":x JOIN #a", ":x QUIT :bye"], ""),
        ([":romeo JOIN #a", ":x JOIN #a", ":x NICK :Y"], "y"),
        ([":romeo JOIN #a", ":x JOIN #a", ":romeo PART #a"], ""),
        ([":romeo JOIN #a", ":x JOIN #a", ":op KICK #a romeo :out"], ""),
    ],
)
def test_who_is_in_sight(lines: list[str], seen: str) -> None:
    sight = Sight()
    for text in lines:
        line = parse(text.encode())
        assert line is not None
        sight.take(line, HERE)
    assert {nick for nick in ("x", "y", "z{}") if nick in sight} == set(seen.split())


def test_who_was_there_before_us_may_not_be_who_it_was() -> None:
    sight = Sight()
    for text, new in ((":romeo JOIN #a", set()), (":s 353 romeo = #a :x y", {"x", "y"})):
        line = parse(text.encode())
        assert line is not None
        assert sight.take(line, HERE) == new
