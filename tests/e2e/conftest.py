"""The whole bridge on real servers, started once for each room version that is needed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from dm_bridge.testing.processes import free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.wire import Wire

Workplace = Callable[[str], Path]
SHARED_SECRET = "a-secret-that-a-service-has"
"""Of the provisioning API."""


@pytest.fixture(scope="session")
def workplace() -> Iterator[Workplace]:
    """Makes directories that are not below pytest's own.

    Started by root, the embedded PostgreSQL runs as another user, and every pytest that starts takes its
    directory away from other users again.
    """
    base = Path(tempfile.mkdtemp(prefix="dm_bridge_e2e_"))
    yield lambda name: base / name
    shutil.rmtree(base, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Room version 12, and 11 too where it matters who made a room and who may do what in it."""
    if "stack" in metafunc.fixturenames and not hasattr(metafunc.module, "stack"):
        both = metafunc.definition.get_closest_marker("both_room_versions") is not None
        versions = ["12", "11"] if both else ["12"]
        ids = [f"v{version}" for version in versions]
        metafunc.parametrize("stack", versions, indirect=True, ids=ids, scope="session")


@pytest_asyncio.fixture(scope="module")
async def wire(prosody: Prosody) -> AsyncIterator[Wire]:
    """Between a bridge and Prosody, for a module that starts a stack of its own."""
    async with Wire(prosody.host, prosody.port, free_port()) as wire:
        yield wire


@pytest_asyncio.fixture(scope="session")
async def stacks(
    prosody: Prosody, workplace: Workplace
) -> AsyncIterator[Callable[[str], Awaitable[Stack]]]:
    """Gives the one of a room version, which is started when it is first asked for, and stays."""
    running: dict[str, Stack] = {}

    async def of(version: str) -> Stack:
        if version not in running:
            running[version] = await Stack.start(
                workplace(f"stack-v{version}"),
                prosody=prosody,
                domain=f"v{version}.localhost",
                room_version=version,
                config={
                    "logging": {"level": "debug"},
                    "presence": {"contacts": True, "users": True},
                    "provisioning": {"shared_secret": SHARED_SECRET},
                    "media": {"private_hosts": [prosody.host], "max_megabytes": 60},
                },
                synapse_config=lambda _: {"presence": {"enabled": True}},
            )
        return running[version]

    yield of
    for stack in running.values():
        await stack.stop()


@pytest_asyncio.fixture(scope="session")
async def stack(request: pytest.FixtureRequest, stacks: Callable[[str], Awaitable[Stack]]) -> Stack:
    """A running bridge. Shared: make users with names of your own."""
    return await stacks(request.param)
