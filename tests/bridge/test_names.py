"""Names as people give them to themselves, harmless or not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.names import MAX_NAME, clean_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, None),
        ("", None),
        (" \n\t ", None),
        ("\u3164\u2800\u115f", None),
        ("\u202e\u2066", None),
        ("Romeo\nMontague", "Romeo Montague"),
        ("Rom\u2028eo", "Rom eo"),
        ("\u202eoemoR", "oemoR"),
        ("a\u2067b\x00c\x1b[31m", "abc[31m"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
        ("نمی‌خواهم", "نمی‌خواهم"),
        ("R" * 10_000, "R" * (MAX_NAME - 1) + "…"),
        ("R" * MAX_NAME, "R" * MAX_NAME),
    ],
)
def test_a_name_is_one_short_line_in_its_own_order(name: str | None, shown: str | None) -> None:
    assert clean_name(name) == shown


@given(st.text(st.characters(), max_size=300))
def test_a_clean_name_is_harmless_and_stays_as_it_is(name: str) -> None:
    clean = clean_name(name)
    if clean is None:
        return
    assert 0 < len(clean) <= MAX_NAME
    assert clean == clean_name(clean)
    assert all(unicodedata.category(each) not in ("Cc", "Cs", "Zl", "Zp") for each in clean)
    assert all(
        unicodedata.bidirectional(each) not in ("LRO", "RLO", "LRE", "RLE", "PDF") for each in clean
    )
