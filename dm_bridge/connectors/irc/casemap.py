"""Which nicks are the same to a server (CASEMAPPING of ISUPPORT).

The rule that must never break: two nicks that a server tells apart never have one normal form, and two that
it takes for one never have two.
"""

from __future__ import annotations

import enum
import string

_ASCII = (string.ascii_uppercase, string.ascii_lowercase)


class CaseMapping(enum.Enum):
    """What a server says in ``CASEMAPPING``; servers that say nothing mean ``rfc1459`` (RFC 2812, 2.2)."""

    ASCII = "ascii"
    RFC1459 = "rfc1459"
    STRICT = "rfc1459-strict"

    @classmethod
    def named(cls, name: str) -> CaseMapping:
        """The mapping of this name. One that is not known is treated as ``ascii``.

        Servers with other mappings (``utf8``, say) fold more than that; folding less keeps people apart.
        """
        lowered = name.lower().replace("strict-rfc1459", "rfc1459-strict")
        return next((mapping for mapping in cls if mapping.value == lowered), cls.ASCII)

    def fold(self, name: str) -> str:
        """The normal form of a nick, an account or a channel."""
        return name.translate(_TABLES[self])


_TABLES = {
    CaseMapping.ASCII: str.maketrans(*_ASCII),
    CaseMapping.RFC1459: str.maketrans(_ASCII[0] + "[]\\~", _ASCII[1] + "{}|^"),
    CaseMapping.STRICT: str.maketrans(_ASCII[0] + "[]\\", _ASCII[1] + "{}|"),
}
