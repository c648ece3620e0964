"""What the doctor finds: a sentence each, and how bad it is. Pure.

The rule that must never break: a finding that is not good says in the same sentence, or the next, what to do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Verdict(enum.StrEnum):
    """``NOTE``: it works, and something is worth knowing. ``UNKNOWN``: it could not be found out."""

    OK = "ok"
    NOTE = "note"
    MEND = "mend"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """``about``: what was looked at, a word or two that stay the same for programs."""

    about: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a check found. ``value``: what later checks build on; None when they cannot be made."""

    findings: tuple[Finding, ...]
    value: T | None = None


def ok(about: str, sentence: str) -> Finding:
    """All is well."""
    return Finding(about, Verdict.OK, sentence)


def note(about: str, sentence: str) -> Finding:
    """Worth knowing; nothing has to be done."""
    return Finding(about, Verdict.NOTE, sentence)


def mend(about: str, sentence: str) -> Finding:
    """Something has to be put right."""
    return Finding(about, Verdict.MEND, sentence)


def unknown(about: str, sentence: str) -> Finding:
    """It could not be found out."""
    return Finding(about, Verdict.UNKNOWN, sentence)


def overall(findings: Iterable[Finding]) -> Verdict:
    """``MEND`` when anything is to be mended, else ``UNKNOWN`` when anything is unknown, else ``OK``."""
    verdicts = {finding.verdict for finding in findings}
    return next((v for v in (Verdict.MEND, Verdict.UNKNOWN) if v in verdicts), Verdict.OK)
