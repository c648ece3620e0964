"""How emojis are spelled as keys of reactions."""

from __future__ import annotations

import pytest

from dm_bridge.matrix.emojis import plain, to_key

S = "\ufe0f"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("👍", f"👍{S}"),
        (f"👍{S}", f"👍{S}"),
        (f"👍{S}{S}", f"👍{S}"),
        ("\u2764", f"\u2764{S}"),
        ("😀", "😀"),
        (f"😀{S}", "😀"),  # as Dino says it
        ("👍🏽", "👍🏽"),
        (f"👍🏽{S}", "👍🏽"),
        (f"\u2764{S}\u200d🔥", f"\u2764{S}\u200d🔥"),
        (f"\u2764{S}\u200d🔥{S}", f"\u2764{S}\u200d🔥"),
        (f"🇫🇷{S}", "🇫🇷"),
        (f"1{S}\u20e3", f"1{S}\u20e3"),
        (f"1{S}\u20e3{S}", f"1{S}\u20e3"),
        ("1", "1"),
        ("+1", "+1"),
        ("Foo™", "Foo™"),
        ("👍\ufe0e", "👍\ufe0e"),
        ("", ""),
        (S, S),
    ],
)
def test_a_key_has_the_selector_only_where_it_makes_a_difference(written: str, key: str) -> None:
    assert to_key(written) == key
    assert to_key(key) == key


def test_all_spellings_of_an_emoji_are_the_same_when_plain() -> None:
    assert plain(f"😀{S}") == plain("😀") == "😀"
