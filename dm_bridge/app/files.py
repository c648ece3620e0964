"""Builds what carries files.

The rule that must never break: files have connections of their own, so that none of them, however slow, keeps a
message waiting for one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from dm_bridge.bridge.files_in import AT_ONCE, FilesIn
from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.config import Config
from dm_bridge.matrix.budget import Budget
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.web import Web


class Files:
    """``inward`` and ``outward``. ``stack`` closes their connections."""

    def __init__(
        self,
        config: Config,
        budget: Budget,
        refusal: Callable[[], str | None],
        stack: AsyncExitStack,
    ) -> None:
        session = homeserver_session(connections=3 * AT_ONCE)
        stack.push_async_callback(session.close)
        homeserver = Homeserver(
            config.homeserver.url,
            config.appservice.as_token.get_secret_value(),
            session,
            refusal=refusal,
            budget=budget,
        )
        hosts = frozenset(config.media.private_hosts)
        web = Web(hosts.__contains__, connections=2 * AT_ONCE)
        stack.push_async_callback(web.close)
        repository = MediaRepository(homeserver)
        largest = config.media.largest
        self.inward = FilesIn(homeserver, repository, web, largest)
        self.outward = FilesOut(repository, config.bot_user_id, largest)
