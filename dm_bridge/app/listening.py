"""Listens for the homeserver, and for whoever asks how the bridge is.

The rule that must never break: an address that cannot be listened on is said in words that name the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

import structlog
from aiohttp import web

from dm_bridge.config.values import ListenAddress
from dm_bridge.errors import AdminError
from dm_bridge.matrix.intake import MAX_BODY, matrix_errors

log = structlog.get_logger(__name__)

SHUTDOWN_PATIENCE = 5.0


async def listen(
    address: ListenAddress,
    endpoints: Iterable[Callable[[web.Application], None]],
    stack: AsyncExitStack,
    patience: float = SHUTDOWN_PATIENCE,
) -> None:
    """Serve ``endpoints``, each of which adds its paths, until ``stack`` ends. Raises `AdminError`.

    ``patience``: seconds for requests that are under way then.
    """
    app = web.Application(client_max_size=MAX_BODY, middlewares=[matrix_errors])
    for add_routes in endpoints:
        add_routes(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=patience)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError as error:
        raise AdminError(
            f"Nothing can listen on {address} ({error.strerror}). "
            "Change appservice.listen, or stop what uses that port."
        ) from error
    log.info("listening for the homeserver", listen=str(address))
