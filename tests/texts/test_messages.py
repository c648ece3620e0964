"""The messages and the code that says them agree, and nothing is said that is not among them."""

from __future__ import annotations

from fluent.syntax import visitor
from fluent.syntax.ast import (
    BaseNode,
    Message,
    MessageReference,
    Resource,
    Term,
    TermReference,
    VariableReference,
)

from dm_bridge.texts import ENGLISH, FOLDER, languages, read

from .scripts import script_calls, script_constants, script_words
from .sources import calls, constants, sentences

SAID_ONLY_THERE = (
    "bridge",
    "connectors",
    "matrix",
    "network",
    "ops/health.py",
    "page",
    "provisioning",
    "store/database.py",
    "store/journals.py",
)
"""Folders and modules all of whose sentences are among the messages.

`dm_bridge.direct` is none: it is a library, and speaks English (tests/bridge/test_direct_words.py).
"""


class Uses(visitor.Visitor):
    """Which values and which other messages an entry uses."""

    def __init__(self, entry: BaseNode) -> None:
        self.values: set[str] = set()
        self.others: set[str] = set()
        self.visit(entry)

    def visit_VariableReference(self, node: VariableReference) -> None:
        self.values.add(node.id.name)

    def visit_MessageReference(self, node: MessageReference) -> None:
        self.others.add(node.id.name)

    def visit_TermReference(self, node: TermReference) -> None:
        self.others.add(f"-{node.id.name}")


def messages(language: str) -> dict[str, Uses]:
    """All entries of a language; terms with a ``-`` before their names."""
    found: dict[str, Uses] = {}
    for path in sorted((FOLDER / language).glob("*.ftl")):
        resource: Resource = read(path)
        for entry in resource.body:
            if isinstance(entry, Message | Term):
                name = f"{'-' * isinstance(entry, Term)}{entry.id.name}"
                assert name not in found, f"{path}: {name} is there twice"
                found[name] = Uses(entry)
    return found


def values_of(name: str, known: dict[str, Uses]) -> set[str]:
    uses = known[name]
    return uses.values.union(*(values_of(other, known) for other in uses.others))


def test_every_call_has_a_message_and_gives_what_stands_in_it() -> None:
    known = messages(ENGLISH)
    wrong = []
    for call in [*calls(), *script_calls()]:
        if call.name is None:
            continue
        if call.name not in known:
            wrong.append(f"{call.where}: there is no message {call.name}")
        elif call.values is not None and call.values != values_of(call.name, known):
            expected = sorted(values_of(call.name, known))
            wrong.append(f"{call.where}: {call.name} takes {expected}, not {sorted(call.values)}")
    assert wrong == []


def test_every_message_is_said() -> None:
    known = messages(ENGLISH)
    others = {other for uses in known.values() for other in uses.others}
    assert sorted(known.keys() - others - constants() - script_constants()) == []


def test_other_languages_say_what_english_says() -> None:
    english = messages(ENGLISH)
    for language in languages():
        known = messages(language)
        for name in known:
            if not name.startswith("-"):
                assert name in english
                assert values_of(name, known) <= values_of(name, english)


def test_nothing_is_said_that_is_not_among_the_messages() -> None:
    assert sentences(*SAID_ONLY_THERE) == []
    assert script_words() == []


def test_what_a_person_reads_is_found_in_the_sources() -> None:
    assert len(sentences("testing")) > 100
    assert len(script_calls()) > 100
