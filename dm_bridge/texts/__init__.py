"""What the bridge says to people: messages by name, in the language that the admin has chosen.

The messages are Fluent's (https://projectfluent.org/fluent/guide/): ``en/*.ftl`` here has all of them, one file
for each subject; another language is a folder beside ``en`` with as many of them as are translated.

The rule that must never break: what a language lacks, or has wrong, is said in English; a mistake in a message
never keeps anybody from hearing something.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path

from babel import Locale, UnknownLocaleError
from fluent.runtime import FluentBundle, FluentResource, resolver
from fluent.syntax.ast import Junk, Message, Pattern, Resource

log = logging.getLogger(__name__)

resolver.MAX_PART_LENGTH = 1_000_000
"""Characters of one value. Fluent's own limit of 2500 is against messages of strangers; ours hold whole lists."""

ENGLISH = "en"
FOLDER = Path(__file__).parent

Value = str | int | float
"""What stands in a message for ``{ $name }``. A string is put in as it is; a number as the language writes it."""


class Speech:
    """``languages``: the chosen one, then what stands in for it. ``folder``: the admin's own messages, if any.

    ``strict``: raise what is otherwise logged, for tests.
    """

    def __init__(self) -> None:
        self.languages: tuple[str, ...] = (ENGLISH,)
        self.folder: Path | None = None
        self.strict = False
        self.changes = 0


_speech = Speech()


def speak(language: str, folder: Path | None = None) -> None:
    """Say everything in ``language`` (BCP 47, such as ``de`` or ``pt-BR``) from now on.

    ``folder``: has folders named like languages, whose messages come before those of the bridge.
    """
    _speech.languages = tuple(dict.fromkeys([language, language.partition("-")[0], ENGLISH]))
    _speech.folder = folder
    _speech.changes += 1


def be_strict(strict: bool = True) -> None:
    """Whether mistakes in messages are raised as `LookupError`: in tests they are."""
    _speech.strict = strict


def languages(own: Path | None = None) -> list[str]:
    """Those that there are messages in: the bridge's, or the admin's in the folder ``own``."""
    found = [path for folder in (FOLDER, own) if folder for path in folder.glob("*/*.ftl")]
    return sorted({path.parent.name for path in found})


class Catalogue:
    """The messages in a folder that has one folder for each language; call it to have one put into words.

    A connector that is a package of its own may have one: ``phrase = Catalogue(Path(__file__).parent / "texts")``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bundles: list[tuple[str, FluentBundle]] = []
        self._read_at = -1

    def __call__(self, name: str, /, **values: Value) -> str:
        """The message ``name`` with these values, in the chosen language."""
        mistakes: list[str] = []
        said = self._say(name, values, mistakes)
        for mistake in mistakes:
            mistaken(mistake)
        return said

    def prepare(self) -> None:
        """Read all messages now: it takes a tenth of a second, which nobody should wait for later."""
        self._of_now()

    def patterns(self, names: Collection[str]) -> list[tuple[str, dict[str, Pattern]]]:
        """These messages as they are written: of each language, the chosen one first, the admin's before ours."""
        found = []
        for language in _speech.languages:
            ours, own = self._resources(language)
            for resources in (own, ours) if own and ours else (own or ours,):
                messages: dict[str, Pattern] = {}
                for entry in (entry for resource in resources for entry in resource.body):
                    if isinstance(entry, Message) and entry.value and entry.id.name in names:
                        messages[entry.id.name] = entry.value
                found.append((language, messages))
        return found

    def _say(self, name: str, values: dict[str, Value], mistakes: list[str]) -> str:
        poor: str | None = None
        for language, bundle in self._of_now():
            if not bundle.has_message(name):
                continue
            pattern = bundle.get_message(name).value
            if pattern is None:
                continue
            try:
                said, errors = bundle.format_pattern(pattern, values)
            except Exception as error:  # such as a message that says itself
                mistakes.append(f"{name} ({language}): {error!r}")
                continue
            if not errors:
                return str(said)
            poor = str(said) if poor is None else poor
            mistakes += [f"{name} ({language}): {error}" for error in errors]
        if poor is None:
            mistakes.append(f"{name} is in no language")
        return name if poor is None else poor

    def _of_now(self) -> list[tuple[str, FluentBundle]]:
        if self._read_at != _speech.changes:
            self._bundles = [
                (language, each) for language in _speech.languages for each in self._read(language)
            ]
            self._read_at = _speech.changes
        return self._bundles

    def _read(self, language: str) -> Iterator[FluentBundle]:
        """A language with the admin's own messages, if there are any, and without."""
        ours, own = self._resources(language)
        for more in [own, []] if own else [[]]:
            bundle = FluentBundle(_tags(language), use_isolating=False)
            for resource in ours:
                bundle.add_resource(resource)
            for resource in more:
                bundle.add_resource(resource, allow_overrides=True)
            yield bundle

    def _resources(self, language: str) -> tuple[list[Resource], list[Resource]]:
        """The files of messages, and those of the admin's own."""
        ours, own = (
            []
            if folder is None
            else [read(path) for path in sorted(folder.glob(f"{language}/*.ftl"))]
            for folder in (self.folder, _speech.folder)
        )
        return ours, own


def _tags(language: str) -> list[str]:
    """How a language writes numbers: as English does where nobody knows it; a folder may be called anything."""
    try:
        Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return [ENGLISH]
    return [language, ENGLISH]


def read(path: Path) -> Resource:
    """A file of messages. What is no message in it, or cannot be read, is logged, or raised (see `be_strict`)."""
    try:
        resource = FluentResource(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeError, RecursionError) as error:
        mistaken(f"{path} cannot be read: {error}")
        return Resource([])
    for entry in resource.body:
        if isinstance(entry, Junk):
            what = entry.annotations[0].message
            mistaken(f"{path}: {what}: {(entry.content or '').strip()[:80]}")
    return resource


def mistaken(mistake: str) -> None:
    """A message is wrong: it is logged, or raised (see `be_strict`)."""
    if _speech.strict:
        raise LookupError(mistake)
    log.error("a message is wrong: %s", mistake)


phrase = Catalogue(FOLDER)
