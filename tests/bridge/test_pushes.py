"""What is made of pushes: news once and in order, and a true idea of who is covered."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from dm_bridge.bridge import pushes as pushes_module
from dm_bridge.bridge.pushes import SILENCE, Pushes
from dm_bridge.direct.journal import Source
from dm_bridge.ids import UserId
from dm_bridge.matrix.direct_push import DirectPush, PushAnswer, PushedDirect

KEPT = UserId("@kept:example.org")
STRANGER = UserId("@stranger:example.org")


@dataclass
class World:
    """A keeper that notes what it is told, clocks that stand still, and a module that talks."""

    now: float = 1000.0
    kept: set[UserId] = field(default_factory=lambda: {KEPT})
    seen: dict[UserId, float] = field(default_factory=dict)
    news: list[tuple[str, UserId, bytes | Source]] = field(default_factory=list)
    gaps: int = 0
    epoch: str = ""

    def __post_init__(self) -> None:
        self.pushes = Pushes(
            self, self.seen.get, self.gap, clock=lambda: self.now, steady=lambda: self.now
        )

    def keeps(self, account: UserId) -> bool:
        return account in self.kept

    def look(self, account: UserId, source: Source) -> None:
        self.news.append(("look", account, source))

    def saw(self, account: UserId, content: bytes, source: Source) -> None:
        assert source is Source.PUSHED
        self.news.append(("saw", account, content))

    def gap(self) -> None:
        self.gaps += 1

    def push(
        self,
        *updates: PushedDirect,
        instance: str = "master",
        run: str = "r1",
        gap: bool = False,
        missed: tuple[UserId, ...] = (),
        dropped: int = 0,
        epoch: str | None = None,
    ) -> PushAnswer:
        """Push as a module does that has read the last answer."""
        known = self.epoch if epoch is None else epoch
        answer = self.pushes.receive(
            DirectPush(instance, run, known, gap, missed, dropped, updates)
        )
        self.epoch = answer.epoch
        return answer


@pytest.fixture
def world() -> World:
    return World()


def update(
    seq: int, content: bytes | None = b"{}", account: UserId = KEPT, age: float = 0.01
) -> PushedDirect:
    return PushedDirect(seq, account, age, content)


def test_versions_of_kept_accounts_are_news_in_order(world: World) -> None:
    answer = world.push(update(1, b"a"), update(2, b"b", STRANGER), update(3, b"c"))
    assert world.news == [("saw", KEPT, b"a"), ("saw", KEPT, b"c")]
    assert (answer.not_kept, answer.kept) == ((STRANGER,), ())
    assert world.pushes.received == 2


def test_a_push_that_is_repeated_is_no_news(world: World) -> None:
    world.push(update(1, b"a"), update(2, b"b"))
    world.push(update(1, b"a"), update(2, b"b"), update(3, b"c"))
    assert [news[2] for news in world.news] == [b"a", b"b", b"c"]


def test_a_new_run_counts_from_the_start(world: World) -> None:
    world.push(update(5, b"a"))
    world.push(update(1, b"b"), run="r2")
    assert [news[2] for news in world.news] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("age", "seen_ago", "heard"),
    [
        (20, 5, "look"),
        (6, 5, "look"),
        (4, 5, "saw"),
        (0, 5, "saw"),
        (1.5, 0, "saw"),
        (3, 0, "look"),
    ],
)
def test_a_version_that_waited_while_something_newer_was_seen_makes_us_look_instead(
    world: World, age: float, seen_ago: float, heard: str
) -> None:
    world.seen[KEPT] = world.now - seen_ago
    world.push(update(1, age=age))
    assert [news[:2] for news in world.news] == [(heard, KEPT)]


def test_of_a_kept_account_that_came_without_its_document_documents_are_asked_for(
    world: World,
) -> None:
    answer = world.push(update(1, None), update(2, None, STRANGER), update(3, None))
    assert (answer.not_kept, answer.kept) == ((STRANGER,), (KEPT,))


def test_what_was_too_large_or_missed_is_looked_at(world: World) -> None:
    world.push(update(1, None), missed=(KEPT, STRANGER), dropped=4)
    assert world.news == [("look", KEPT, Source.PUSHED)] * 2
    assert world.pushes.dropped == 4


def test_a_gap_is_told(world: World) -> None:
    world.push()
    assert world.gaps == 0
    world.push(gap=True)
    assert world.gaps == 1


def test_an_account_is_covered_once_the_module_knows_our_epoch_and_until_it_is_silent(
    world: World,
) -> None:
    assert not world.pushes.covers(KEPT)
    world.push()
    assert not world.pushes.covers(KEPT), "it may hold the account for one that is not kept"
    world.push()
    assert world.pushes.covers(KEPT)
    assert world.pushes.alive_since == 1000.0
    world.now += SILENCE - 1
    assert world.pushes.covers(KEPT)
    world.push()
    world.now += SILENCE + 1
    assert not world.pushes.covers(KEPT)
    assert world.pushes.alive_since is None


@pytest.mark.parametrize("epoch", ["", "x", "x.1", "99999999.0", ".", "é.²"])
def test_an_epoch_that_is_not_ours_covers_nobody(world: World, epoch: str) -> None:
    world.push(epoch=epoch)
    world.push(epoch=epoch)
    assert not world.pushes.covers(KEPT)


def test_an_epoch_from_the_future_covers_no_more_than_ours(world: World) -> None:
    world.push()
    nonce = world.epoch.partition(".")[0]
    world.push(update(1, account=STRANGER), epoch=f"{nonce}.9")
    world.kept.add(STRANGER)
    world.pushes.kept(STRANGER)
    assert not world.pushes.covers(STRANGER)


def test_an_account_that_was_refused_is_covered_only_when_the_module_has_learned_better(
    world: World,
) -> None:
    world.push()
    world.push(update(1, account=STRANGER))
    before = world.epoch
    world.kept.add(STRANGER)
    world.pushes.kept(STRANGER)
    assert world.pushes.covers(KEPT)
    assert not world.pushes.covers(STRANGER)
    world.push()  # the answer has the new epoch, which the module does not know yet
    assert not world.pushes.covers(STRANGER)
    assert world.epoch != before
    world.push()
    assert world.pushes.covers(STRANGER)


def test_every_instance_has_to_learn_it(world: World) -> None:
    for _ in range(2):
        world.push(instance="one")
        world.push(instance="two", run="r9")
    assert world.pushes.covers(KEPT)
    old = world.epoch
    world.push(update(1, account=STRANGER), instance="one")
    world.kept.add(STRANGER)
    world.pushes.kept(STRANGER)
    world.push(instance="one")
    world.push(instance="one")
    world.push(instance="two", run="r9", epoch=old)
    assert not world.pushes.covers(STRANGER)
    world.push(instance="two", run="r9")
    world.push(instance="two", run="r9")
    assert world.pushes.covers(STRANGER)


def test_a_restarted_module_must_say_again_that_it_knows(world: World) -> None:
    world.push()
    world.push()
    assert world.pushes.covers(KEPT)
    world.push(run="r2", epoch="")
    assert not world.pushes.covers(KEPT)


def test_when_too_many_were_refused_to_remember_all_are_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes_module, "MAX_DENIED", 3)
    world.push()
    first = world.epoch
    for number in range(4):
        world.push(update(number, account=UserId(f"@s{number}:example.org")))
    assert world.epoch != first


def test_hundreds_of_instances_are_not_remembered(world: World) -> None:
    for number in range(200):
        world.push(instance=f"i{number}")
    assert len(world.pushes._instances) <= pushes_module.MAX_INSTANCES
