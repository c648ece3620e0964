"""How many logins each process should have.

The rule that must never break: every process that sees the same comes to the same answer, and the answers add up
to all logins; so nothing is fought over, and nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dm_bridge.ids import UserId


def fair_load(me: str, instances: Sequence[str], loads: Mapping[str, int], free: int) -> int:
    """How many logins ``me`` should have, of those that ``instances`` have (``loads``) and those that are free.

    All get the same or one more; one more get those who have the most, so that little moves.
    """
    total = free + sum(loads.get(each, 0) for each in instances)
    least, more = divmod(total, len(instances))
    ranked = sorted(instances, key=lambda each: (-loads.get(each, 0), instances.index(each)))
    return least + (ranked.index(me) < more)


def surplus(held: Mapping[UserId, int], target: int) -> list[UserId]:
    """Whom of the users in ``held`` (with their logins) to give away, to come down to ``target`` and not below.

    Users with many logins first, so that few move; users without any stay.
    """
    excess = sum(held.values()) - target
    given = []
    for user in sorted((u for u in held if held[u]), key=lambda u: (held[u], u), reverse=True):
        if held[user] <= excess:
            given.append(user)
            excess -= held[user]
    return given
