"""The pytest side of the kit: each check is a test. It needs no plugin.

The rule that must never break: a check that was not run, or not wholly, has not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, cast

import pytest

from dm_bridge.testing.conformance.adapter import Adapter, NotOffered
from dm_bridge.testing.conformance.kit import CHECKS, Check, Kit
from dm_bridge.testing.conformance.lanes import Lanes


class Conformance:
    """All checks, as tests: ``class TestMine(Conformance)``, with ``adapter``, what makes the `Adapter`.

    ``excused``: checks that this network cannot pass, by name, with the reason, which pytest shows.
    ``lanes``: how many checks run at the same time, each on a server of its own; for servers that make one wait.
    """

    adapter: ClassVar[Callable[[], Adapter]]
    excused: ClassVar[Mapping[str, str]] = {}
    lanes: ClassVar[int] = 1

    @pytest.fixture(scope="class")
    @classmethod
    def kit(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Kit | Lanes]:
        """The server and the connector, for all checks."""
        directory = tmp_path_factory.mktemp("conformance")
        if cls.lanes == 1:
            with Kit(cls.adapter(), directory) as kit:
                yield kit
        else:
            wanted = [
                check for check in cls._asked_for(request) if check.__name__ not in cls.excused
            ]
            with Lanes(cls.adapter, directory, cls.lanes, wanted) as lanes:
                yield lanes

    @classmethod
    def _asked_for(cls, request: pytest.FixtureRequest) -> Iterator[Check]:
        """The checks that pytest will ask for, in order."""
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.cls is cls and hasattr(item, "callspec"):
                yield cast(Check, item.callspec.params["check"])

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conforms(self, check: Check, kit: Kit | Lanes) -> None:
        """The connector does what the check says."""
        if check.__name__ in self.excused:
            pytest.skip(self.excused[check.__name__])
        try:
            kit.run(check)
        except NotOffered as reason:
            pytest.skip(str(reason))
