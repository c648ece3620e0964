"""Asks everything at the same time, and tells it in order.

The rule that must never break: nothing hangs. Each question has a deadline, all together have one, and what cannot
be asked because of something else says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from dm_bridge.app.doctor import (
    database,
    doorway,
    files,
    homeserver,
    media,
    networks,
    page,
    pushing,
    registrations,
)
from dm_bridge.app.doctor.database import Known
from dm_bridge.app.doctor.doorway import Door
from dm_bridge.app.doctor.findings import Answer, Finding, mend, note, ok, unknown
from dm_bridge.app.doctor.registrations import Registered
from dm_bridge.app.doctor.threads import LooseThreads
from dm_bridge.config import Config
from dm_bridge.config.checks import advice
from dm_bridge.config.schema import NetworkSection
from dm_bridge.errors import BridgeError, HomeserverError, StorageError
from dm_bridge.ids import UserId
from dm_bridge.matrix.greeting import Greeting, greet
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.matrix.sessions import homeserver_session

T = TypeVar("T")

STEP_SECONDS = 5.0
"""For one check, after what it waits for."""
ALL_SECONDS = 12.0
ACCOUNTS_SECONDS = 2.0
"""For which the networks wait for the database, to learn of users' accounts."""
FAREWELL_SECONDS = 0.5


async def examine(config: Config, path: Path, *, right: bool = True) -> AsyncIterator[Finding]:
    """Every finding, in an order that stays the same.

    ``path``: of the configuration file. ``right``: False when something was wrong with it, which is told already.
    """
    asyncio.get_running_loop().set_default_executor(LooseThreads())
    async with AsyncExitStack() as stack:
        session = homeserver_session()
        stack.push_async_callback(_closed, session)
        examination = _Examination(config, path, right, session, stack)
        until = asyncio.get_running_loop().time() + ALL_SECONDS
        try:
            for about, task in examination.tasks:
                left = until - asyncio.get_running_loop().time()
                done, _ = await asyncio.wait({task}, timeout=max(0.0, left))
                if not done:
                    yield _late(about, ALL_SECONDS)
                    continue
                for finding in task.result().findings:
                    yield finding
        finally:
            await examination.end()


class _Examination:
    """``tasks``: every check, begun, in the order in which they are told."""

    def __init__(
        self,
        config: Config,
        path: Path,
        right: bool,
        session: aiohttp.ClientSession,
        stack: AsyncExitStack,
    ) -> None:
        self._config, self._path, self._right = config, path, right
        self._session, self._stack = session, stack
        appservice = config.appservice
        url = config.homeserver.url
        self._homeserver = Homeserver(url, appservice.as_token.get_secret_value(), session)
        self._as_users = Homeserver(url, appservice.accounts_token.get_secret_value(), session)
        self.tasks: list[tuple[str, asyncio.Task[Answer[Any]]]] = []
        begin = self._begin
        begin(files.SECRETS, self._configuration())
        begin(files.DISK, self._disk())
        self._door: asyncio.Task[Answer[Door]] = begin(doorway.ABOUT, self._check_door())
        self._database = begin(database.ABOUT, self._check_database())
        begin(files.KEY, self._key())
        self._greeting = begin(homeserver.ABOUT, self._greet())
        begin(homeserver.CLOCK, self._clock())
        self._tokens = begin(registrations.MAIN, self._check_tokens())
        begin(homeserver.ROOMS, self._rooms())
        self._ghost = begin(registrations.GHOSTS, self._check_ghost())
        begin(registrations.STRANGERS, self._strangers())
        self._ping = begin(pushing.PING, self._check_ping())
        begin(pushing.EPHEMERAL, self._ephemeral())
        begin(media.ABOUT, self._media())
        if config.page.public_url is not None:
            begin(page.ABOUT, self._page(config.page.public_url))
        for section in config.enabled_networks:
            begin(section.connector.title, self._network(section))

    def _begin(self, about: str, work: Coroutine[Any, Any, Answer[T]]) -> asyncio.Task[Answer[T]]:
        async def guarded() -> Answer[T]:
            try:
                return await work
            except BridgeError as error:
                return Answer((mend(about, _with_advice(about, error)),))
            except Exception as error:
                kind = type(error).__name__  # what it says may hold a secret
                return Answer(
                    (
                        unknown(
                            about,
                            f"This check failed by an internal error ({kind}). This is a bug.",
                        ),
                    )
                )

        task = asyncio.create_task(guarded())
        self.tasks.append((about, task))
        return task

    async def end(self) -> None:
        """Give up what is still under way."""
        left = {task for _, task in self.tasks if not task.done()}
        for _ in range(2):  # some need to be told twice: the second time they do not say goodbye
            for task in left:
                task.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=FAREWELL_SECONDS)

    # -- by themselves

    async def _configuration(self) -> Answer[None]:
        config = self._config
        titles = ", ".join(section.connector.title for section in config.enabled_networks)
        said = f"{self._path} is right: {config.bot_user_id}, for {titles or 'no network'}."
        right = (ok(files.SECRETS, said),) if self._right else ()
        advised = (note(files.SECRETS, f"{text[0].upper()}{text[1:]}.") for text in advice(config))
        return Answer((*right, *advised, *files.check_secrets(self._path)))

    async def _disk(self) -> Answer[None]:
        embedded = self._config.database.embedded
        facts = await asyncio.to_thread(files.disk_facts, self._config.data_dir)
        log = files.check_log(self._config.data_dir) if embedded else []
        return Answer((files.judge_disk(facts, embedded=embedded), *log))

    async def _check_door(self) -> Answer[Door]:
        try:
            async with asyncio.timeout(STEP_SECONDS):
                return await doorway.check(self._config, self._session, self._stack)
        except TimeoutError:
            pass
        address = self._config.appservice.listen
        return Answer(
            (
                mend(
                    doorway.ABOUT,
                    f"What listens at {address} does not answer. If it is the bridge, it hangs: look into its "
                    "log, and "
                    "restart it.",
                ),
            )
        )

    async def _check_database(self) -> Answer[Known]:
        try:
            async with asyncio.timeout(STEP_SECONDS):
                return await database.check(self._config)
        except (StorageError, TimeoutError) as error:
            return Answer((database.away(error, STEP_SECONDS),))

    async def _greet(self) -> Answer[Greeting]:
        url = self._config.homeserver.url
        greeting = await greet(self._session, url, STEP_SECONDS)
        return Answer(tuple(homeserver.judge(greeting, url)), greeting)

    # -- after others

    async def _key(self) -> Answer[None]:
        known = await self._value(self._database)
        logins = known.logins if known is not None else None
        return Answer(tuple(files.check_key(self._config.data_dir, logins)))

    async def _clock(self) -> Answer[None]:
        findings = []
        greeting, known = await self._value(self._greeting), await self._value(self._database)
        if greeting is not None:
            times = greeting.clock, greeting.asked, greeting.answered
            findings.append(homeserver.judge_clock("homeserver", *times))
        if known is not None and known.facts is not None and not self._config.database.embedded:
            facts = known.facts
            findings.append(
                homeserver.judge_clock("database", facts.clock, facts.asked, facts.answered)
            )
        if not findings:
            findings.append(_not_before(homeserver.CLOCK, "the homeserver or the database answers"))
        return Answer(tuple(findings))

    async def _check_tokens(self) -> Answer[Registered]:
        if await self._value(self._greeting) is None:
            return Answer((_not_before(registrations.MAIN, "the homeserver answers"),))
        work = registrations.check_tokens(self._config, self._homeserver, self._as_users)
        return await _in_time(registrations.MAIN, work)

    async def _rooms(self) -> Answer[None]:
        if not await self._main_known():
            return Answer((_not_before(homeserver.ROOMS, "the homeserver knows the bridge"),))
        return await _listed(homeserver.ROOMS, homeserver.check_rooms(self._homeserver))

    async def _check_ghost(self) -> Answer[UserId]:
        if not await self._main_known():
            return Answer((_not_before(registrations.GHOSTS, "the homeserver knows the bridge"),))
        work = registrations.check_ghosts(self._config, self._homeserver)
        return await _in_time(registrations.GHOSTS, work)

    async def _strangers(self) -> Answer[None]:
        registered = await self._value(self._tokens)
        if registered is None or not (registered.main or registered.accounts):
            return Answer(
                (_not_before(registrations.STRANGERS, "the homeserver knows the bridge"),)
            )
        work = registrations.check_strangers(
            self._config, self._homeserver, self._as_users, registered
        )
        return await _listed(registrations.STRANGERS, work)

    async def _check_ping(self) -> Answer[bool]:
        door = await self._value(self._door)
        if not await self._main_known() or door is None:
            what = "the homeserver knows the bridge, and the bridge can listen"
            return Answer((_not_before(pushing.PING, what),))
        work = pushing.check_ping(self._config, self._session, self._homeserver, door)
        return await _in_time(pushing.PING, work, pushing.PING_SECONDS + 3)

    async def _ephemeral(self) -> Answer[None]:
        door, ghost = await self._value(self._door), await self._value(self._ghost)
        if door is None or ghost is None or not await self._value(self._ping):
            return Answer((_not_before(pushing.EPHEMERAL, "the homeserver reaches the bridge"),))
        work = pushing.check_ephemeral(self._session, self._homeserver, ghost, door)
        return await _listed(pushing.EPHEMERAL, work)

    async def _media(self) -> Answer[None]:
        ghost = await self._value(self._ghost)
        if ghost is None:
            return Answer((_not_before(media.ABOUT, "the bridge may act as its ghosts"),))
        work = media.check(MediaRepository(self._homeserver), ghost, self._config.media.largest)
        return await _listed(media.ABOUT, work)

    async def _page(self, url: str) -> Answer[None]:
        door = await self._value(self._door)
        if not isinstance(door, doorway.Running):
            return Answer((note(page.ABOUT, "Not looked at: the bridge does not run."),))
        return Answer((await page.check(self._session, url),))

    async def _network(self, section: NetworkSection) -> Answer[None]:
        done, _ = await asyncio.wait({self._database}, timeout=ACCOUNTS_SECONDS)
        known = self._database.result().value if done else None
        logins = known.logins if known is not None else ()
        accounts = [row.remote for row in logins if row.network == section.name]
        return await _listed(section.connector.title, networks.check(section, accounts))

    async def _main_known(self) -> bool:
        registered = await self._value(self._tokens)
        return registered is not None and registered.main

    async def _value(self, task: asyncio.Task[Answer[T]]) -> T | None:
        answer: Answer[T] = await asyncio.shield(task)
        return answer.value


async def _listed(about: str, work: Awaitable[list[Finding]]) -> Answer[None]:
    async def answered() -> Answer[None]:
        return Answer(tuple(await work))

    return await _in_time(about, answered())


async def _in_time(
    about: str, work: Awaitable[Answer[T]], seconds: float = STEP_SECONDS
) -> Answer[T]:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return Answer((_late(about, seconds),))


def _late(about: str, seconds: float) -> Finding:
    return unknown(
        about,
        f"No answer within {seconds:g} seconds: whom this is about is overloaded, or something blocks the way. "
        "Run the "
        "doctor again when the rest is mended.",
    )


def _with_advice(about: str, error: BridgeError) -> str:
    if isinstance(error, HomeserverError) and about != homeserver.ABOUT:
        return (
            f"{error.message} The homeserver's log says why; mend that, and run the doctor again."
        )
    return error.message


def _not_before(about: str, what: str) -> Finding:
    return unknown(about, f"Not checked: this can be looked at when {what}.")


async def _closed(session: aiohttp.ClientSession) -> None:
    await session.close()
