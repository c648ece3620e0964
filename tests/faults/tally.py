"""What became of numbered messages: lost, doubled, misordered, or told to their author.

The rule that must never break: what is counted is what the two servers' own clients can read; nothing is
taken from the bridge but what it tells its users.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TAG = re.compile(r"(\S+) (\S+) (in|out|elsewhere) (\d+)\.")


@dataclass(frozen=True, slots=True)
class Tag:
    """Which message it is: of which run and chat, in which direction (``in``: to Matrix), with which number."""

    run: str
    chat: str
    way: str
    number: int

    def __str__(self) -> str:
        return f"{self.run} {self.chat} {self.way} {self.number}."


def tag_of(body: object) -> Tag | None:
    """The tag that a message's text is, if it is one."""
    match = _TAG.fullmatch(body) if isinstance(body, str) else None
    return match and Tag(match[1], match[2], match[3], int(match[4]))


@dataclass(frozen=True, slots=True)
class Line:
    """One chat and direction. ``accepted``: what the sender's own server has, in order; ``arrived``: what the
    reader's has. ``failed``, ``uncertain``: what the author was told so about, ``said``: in which words.
    ``refused``: whether the login was, for a while, so that something had to fail.
    """

    name: str
    accepted: Sequence[int]
    arrived: Sequence[int]
    failed: frozenset[int] = frozenset()
    uncertain: frozenset[int] = frozenset()
    said: frozenset[str] = frozenset()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """What became of messages. ``told_wrong``: they arrived, and their author was told that they did not."""

    accepted: int = 0
    lost: int = 0
    doubled: int = 0
    misordered: int = 0
    failed: int = 0
    uncertain: int = 0
    told_wrong: int = 0
    invented: int = 0

    def __add__(self, other: Count) -> Count:
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Count(*(a + b for a, b in zip(mine, others, strict=True)))


def count(lines: Iterable[Line]) -> Count:
    """The sum over lines."""
    return sum((_count(line) for line in lines), Count())


def _count(line: Line) -> Count:
    accepted, arrived = set(line.accepted), Counter(line.arrived)
    told = line.failed | line.uncertain
    return Count(
        accepted=len(accepted),
        lost=len(accepted - arrived.keys() - told),
        doubled=sum(arrived.values()) - len(arrived),
        misordered=_misordered(line),
        failed=len(line.failed),
        uncertain=len(line.uncertain),
        told_wrong=len(line.failed & arrived.keys()),
        invented=len(arrived.keys() - accepted),
    )


def _misordered(line: Line) -> int:
    """How many arrived, for the first time, after a message that was accepted later."""
    place = {number: at for at, number in enumerate(dict.fromkeys(line.accepted))}
    found, latest = 0, -1
    for number in dict.fromkeys(line.arrived):
        at = place.get(number, latest)
        found += at < latest
        latest = max(latest, at)
    return found


def complaints(lines: Iterable[Line]) -> list[str]:
    """What must never be, as sentences. No message may be given up for what is over soon."""
    found = []
    for line in lines:
        result = _count(line)
        failed = "told_wrong" if line.refused else "failed"
        for what in ("lost", "doubled", "misordered", failed, "invented"):
            if number := getattr(result, what):
                found.append(
                    f"{line.name}: {number} {what.replace('_', ' ')} (accepted {list(line.accepted)}, "
                    f"arrived {list(line.arrived)}, told failed {sorted(line.failed)}, "
                    f"uncertain {sorted(line.uncertain)}, said {sorted(line.said)})"
                )
    return found
