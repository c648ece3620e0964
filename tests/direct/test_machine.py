"""Every invariant holds under writers of all kinds, missed versions, crashes, and a second bridge."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dm_bridge.direct import (
    DirectDocument,
    DMState,
    Keep,
    Ledger,
    Mind,
    Outcome,
    Put,
    activate,
    difference,
    is_room_id,
    manage,
    observe,
    opt_in,
    opt_out,
    rename_ghost,
    replace_room,
    retire,
)
from dm_bridge.direct.conflicts import LIMIT, at_peace, yielded
from dm_bridge.direct.origin import Kind
from dm_bridge.ids import RoomId, UserId
from dm_bridge.testing.writers import BOT, GHOST_PREFIX, WRITERS, Names, Truth, Writer

ME = UserId("@user:example.org")
BRIDGES = 2
PATIENCE = 2 * LIMIT
"""Looks of each bridge after which both must have come to rest, a conflict between them included."""

bridges = st.integers(0, BRIDGES - 1)
CHATS = 6


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


@dataclass
class Bridge:
    """One bridge on the account. ``before``: its mind before its last decision, as a crash may leave it."""

    mind: Mind
    before: Mind
    rooms: list[RoomId] = field(default_factory=list)


class Direct(RuleBasedStateMachine):
    """One document, five clients, two bridges that manage different rooms."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.now = 0.0
        self.truth = Truth()
        self.history: list[dict[str, Any]] = [{}]
        names = Names()
        self.clients: list[Writer] = [
            kind(Random(f"{seed} {name}"), self.truth, names) for name, kind in WRITERS.items()
        ]
        mind = Mind(Ledger.of(ME, never_keys=[UserId(BOT)]))
        self.bridges = [Bridge(mind, mind) for _ in range(BRIDGES)]
        self.chats = 0

    # -- what others do

    @rule(which=st.integers(0, len(WRITERS) - 1))
    def client_syncs(self, which: int) -> None:
        self.clients[which].sync(self.history[-1])

    @rule(which=st.integers(0, len(WRITERS) - 1))
    def client_writes(self, which: int) -> None:
        written = self.clients[which].write(self.history)
        if written is not None:
            self._put(written)

    @rule(ago=st.integers(0, 5))
    def the_document_jumps_back(self, ago: int) -> None:
        self._put(copy.deepcopy(self.history[max(0, len(self.history) - 1 - ago)]))

    @rule()
    def somebody_wipes_it(self) -> None:
        self._put({})

    @rule(seconds=st.sampled_from([1.0, 100.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # -- what happens to a bridge

    @precondition(lambda self: self.chats < CHATS)
    @rule(which=bridges, shared=st.booleans())
    def a_chat_begins(self, which: int, shared: bool) -> None:
        room = RoomId(f"!managed{self.chats}:example.org")
        ghost = UserId(f"{GHOST_PREFIX}{0 if shared else self.chats}:example.org")
        self.chats += 1
        self.truth.managed[room] = ghost
        bridge = self.bridges[which]
        bridge.rooms.append(room)
        self._ledger(bridge, activate(manage(bridge.mind.ledger, room, ghost), room))

    @rule(which=bridges, number=st.integers(0, CHATS - 1), what=st.sampled_from("ioruw"))
    def a_chat_changes(self, which: int, number: int, what: str) -> None:
        bridge = self.bridges[which]
        living = [
            dm for dm in bridge.mind.ledger.managed.values() if dm.state is not DMState.RETIRED
        ]
        if not living:
            return
        dm = living[number % len(living)]
        ledger = bridge.mind.ledger
        match what:
            case "i":
                ledger = opt_in(ledger, dm.room)
            case "o":
                ledger = opt_out(ledger, dm.room)
            case "r":
                ledger = retire(ledger, dm.room)
            case "u":
                new = RoomId(f"{dm.room}+")
                if new not in ledger.managed:
                    ledger = replace_room(ledger, dm.room, new)
            case _:
                ledger = rename_ghost(ledger, dm.ghost, UserId(f"{dm.ghost}0"))
        self._ledger(bridge, ledger)

    # -- what a bridge does

    @rule(which=bridges)
    def bridge_looks(self, which: int) -> None:
        outcome = self._observe(self.bridges[which])
        if isinstance(outcome.decision, Put):
            self._put(outcome.decision.document.content())

    @rule(which=bridges, writer=st.integers(0, len(WRITERS) - 1))
    def a_client_writes_before_the_bridge_does(self, which: int, writer: int) -> None:
        outcome = self._observe(self.bridges[which])
        self.client_writes(writer)
        if isinstance(outcome.decision, Put):
            self._put(outcome.decision.document.content())

    @rule(which=bridges)
    def the_write_is_refused(self, which: int) -> None:
        bridge = self.bridges[which]
        self._observe(bridge)
        bridge.mind = replace(bridge.mind, journal=bridge.mind.journal.untried())

    @rule(which=bridges)
    def it_dies_before_the_write(self, which: int) -> None:
        self._observe(self.bridges[which])

    @rule(which=bridges, written=st.booleans())
    def it_dies_before_the_record(self, which: int, written: bool) -> None:
        bridge = self.bridges[which]
        outcome = self._observe(bridge)
        if written and isinstance(outcome.decision, Put):
            self._put(outcome.decision.document.content())
        bridge.mind = bridge.before

    @rule(which=bridges)
    def it_looks_twice_and_the_second_look_keeps(self, which: int) -> None:
        bridge = self.bridges[which]
        outcome = self._observe(bridge)
        if isinstance(outcome.decision, Put):
            self._put(outcome.decision.document.content())
            again = self._observe(bridge)
            assert isinstance(again.decision, Keep)
            assert again.kind is Kind.SAME

    @rule(turns=st.lists(bridges, max_size=6))
    def the_bridges_settle_on_one_document(self, turns: list[int]) -> None:
        for bridge in self.bridges:
            bridge.mind = replace(bridge.mind, journal=at_peace(bridge.mind.journal))
        looks = [*turns, *list(range(BRIDGES)) * PATIENCE]
        kept = 0
        for which in looks:
            outcome = self._observe(self.bridges[which])
            kept += 1
            if isinstance(outcome.decision, Put):
                self._put(outcome.decision.document.content())
                kept = 0
        assert kept >= BRIDGES, "the bridges keep writing although nobody else does"
        self._check_settled()

    # -- what always holds

    @invariant()
    def the_journal_ends_with_its_head(self) -> None:
        for bridge in self.bridges if hasattr(self, "bridges") else ():
            journal = bridge.mind.journal
            assert (journal.head is None) == (not journal.versions)
            assert [v.seq for v in journal.versions] == sorted({v.seq for v in journal.versions})

    def _check_settled(self) -> None:
        document = parse(self.history[-1])
        held = document.keys_of(
            {room for bridge in self.bridges for room in bridge.mind.ledger.managed}
        )
        given_up = {what for bridge in self.bridges for what in yielded(bridge.mind.journal)}
        for bridge in self.bridges:
            for room, dm in bridge.mind.ledger.managed.items():
                if room in given_up:
                    continue
                if dm.wanted:
                    assert held.get(room) == (dm.ghost,)
                    assert all(map(is_room_id, self.history[-1][dm.ghost]))
                else:
                    assert not dm.is_marked_by(held.get(room, ()))

    def _observe(self, bridge: Bridge) -> Outcome:
        self.now += 1.0
        stood = parse(self.history[-1])
        bridge.before = bridge.mind
        outcome = observe(bridge.mind, stood, at=self.now)
        assert observe(bridge.mind, stood, at=self.now) == outcome or isinstance(
            outcome.decision, Put
        ), "the same mind decides alike"
        bridge.mind = outcome.mind
        if isinstance(outcome.decision, Put):
            self._check_put(bridge, stood, outcome, outcome.decision)
        return outcome

    def _check_put(self, bridge: Bridge, stood: DirectDocument, outcome: Outcome, put: Put) -> None:
        change = difference(stood, put.document)
        assert change, "a write changes the meaning"
        assert put.reasons, "a write says why"
        ledger = bridge.before.ledger
        foreign = {a for a in change.added | change.removed if a[1] not in ledger.managed}
        keys = {key for key, _ in ledger.wanted()}
        entries = {atom for atom in foreign if atom[1].startswith("!") or atom[0] not in keys}
        if outcome.kind not in (Kind.STALE, Kind.JUMPED_BACK, Kind.NOT_WRITTEN):
            assert not entries, "who is not managed changes by a merge of a stale write only"
        before = bridge.before.journal.head
        if entries and before is not None:
            known = difference(DirectDocument(), before).added
            assert {a for a in entries if a in change.added} <= known, (
                "only what was known comes back"
            )
        for room, dm in bridge.mind.ledger.managed.items():
            if dm.state is DMState.ACTIVE and dm.opted_out:
                assert (dm.ghost, room) not in change.added, "an opt-out is not reverted"
        content = put.document.content()
        for key, room in ledger.wanted() & put.document.entries():
            if (key, room) in change.added:
                assert all(map(is_room_id, content[key])), "a strict parser reads our keys"

    def _ledger(self, bridge: Bridge, ledger: Ledger) -> None:
        """The ledger is in the database: it survives every crash."""
        bridge.mind = replace(bridge.mind, ledger=ledger)

    def _put(self, content: dict[str, Any]) -> None:
        self.history = [*self.history[-20:], content]


TestDirect = Direct.TestCase
TestDirect.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_the_writes_against_writers_who_never_stop_are_bounded() -> None:
    for name, kind in WRITERS.items():
        room, ghost = RoomId("!managed:example.org"), UserId(f"{GHOST_PREFIX}0:example.org")
        ledger = activate(manage(Ledger.of(ME, never_keys=[UserId(BOT)]), room, ghost), room)
        mind, puts, content = Mind(ledger), 0, {BOT: [room]}
        client = kind(Random(name), Truth({room: ghost}), Names())
        for second in range(1000):
            outcome = observe(mind, parse(client.shape(copy.deepcopy(content))), at=float(second))
            mind = outcome.mind
            puts += isinstance(outcome.decision, Put)
        assert 1 <= puts <= 10, name
