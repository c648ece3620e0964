"""How an emoji is spelled as the key of a reaction. Pure.

Clients count reactions whose keys are the same, to the code point; so the specification says how an emoji is
spelled: with the variation selector U+FE0F where that makes a difference, and without it where it makes none.
Other networks do one or the other, some always: GTK's choice of emojis ends each with one.

The rule that must never break: what is no emoji stays as it is.
"""

from __future__ import annotations

_SELECTOR = "\ufe0f"
_VARIABLE = (
    "203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 23cf 23e9-23ea 23ed-23ef 23f1-23f3 23f8-23fa 24c2 "
    "25aa-25ab 25b6 25c0 25fb-25fe 2600-2604 260e 2611 2614-2615 2618 261d 2620 2622-2623 2626 262a 262e-262f "
    "2638-263a 2640 2642 2648-2653 265f-2660 2663 2665-2666 2668 267b 267e-267f 2692-2697 2699 269b-269c "
    "26a0-26a1 26a7 26aa-26ab 26b0-26b1 26bd-26be 26c4-26c5 26c8 26cf 26d1 26d3-26d4 26e9-26ea 26f0-26f5 "
    "26f7-26fa 26fd 2702 2708-2709 270c-270d 270f 2712 2714 2716 271d 2721 2733-2734 2744 2747 2753 2757 "
    "2763-2764 27a1 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d 3297 3299 1f004 1f170-1f171 1f17e-1f17f "
    "1f202 1f21a 1f22f 1f237 1f30d-1f30f 1f315 1f31c 1f321 1f324-1f32c 1f336 1f378 1f37d 1f393 1f396-1f397 "
    "1f399-1f39b 1f39e-1f39f 1f3a7 1f3ac-1f3ae 1f3c2 1f3c4 1f3c6 1f3ca-1f3ce 1f3d4-1f3e0 1f3ed 1f3f3 1f3f5 "
    "1f3f7 1f408 1f415 1f41f 1f426 1f43f 1f441-1f442 1f446-1f449 1f44d-1f44e 1f453 1f46a 1f47d 1f4a3 1f4b0 "
    "1f4b3 1f4bb 1f4bf 1f4cb 1f4da 1f4df 1f4e4-1f4e6 1f4ea-1f4ed 1f4f7 1f4f9-1f4fb 1f4fd 1f508 1f50d "
    "1f512-1f513 1f549-1f54a 1f550-1f567 1f56f-1f570 1f573-1f579 1f587 1f58a-1f58d 1f590 1f5a5 1f5a8 "
    "1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 1f5d1-1f5d3 1f5dc-1f5de 1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa 1f610 1f687 "
    "1f68d 1f691 1f694 1f698 1f6ad 1f6b2 1f6b9-1f6ba 1f6bc 1f6cb 1f6cd-1f6cf 1f6e0-1f6e5 1f6e9 1f6f0 1f6f3"
)
"""Emojis with two looks: Unicode 15's ``emoji-variation-sequences.txt``, without what is in ISO 8859-1."""


def _characters() -> frozenset[str]:
    found: set[str] = set()
    for each in _VARIABLE.split():
        first, _, last = each.partition("-")
        found.update(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(found)


_TWO_LOOKS = _characters()


def plain(emoji: str) -> str:
    """``emoji`` without variation selectors: the same for all spellings of one."""
    return emoji.replace(_SELECTOR, "")


def to_key(emoji: str) -> str:
    """How ``emoji`` is spelled as a key. Of several characters, only what has no meaning is left out."""
    alone = plain(emoji)
    if alone in _TWO_LOOKS:
        return alone + _SELECTOR
    kept = ""
    for each in emoji:
        if each != _SELECTOR or not kept or kept[-1] in _TWO_LOOKS or kept[-1] <= "\xff":
            kept += each
    return kept
