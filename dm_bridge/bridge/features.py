"""What can be done in a chat, said in its room, so that clients offer no more than that.

The state event ``com.beeper.room_features`` is what clients of bridged rooms read; levels are those of mautrix
bridgev2 (``event/capabilities.go``). It says what the session declares, and the bridge's own limits.

The rule that must never break: no message waits for this, and no homeserver is kept busy with it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog

from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import LoginId, digest_id
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.api import Capabilities, capabilities_of
from dm_bridge.network.events import SessionStatus
from dm_bridge.store.features import FeatureStore, Untold

log = structlog.get_logger(__name__)

ROOM_FEATURES = "com.beeper.room_features"
PAUSE = 0.2
"""Seconds between two rooms: the first start of a release with other features tells them to all rooms."""
PAGE = 100

_REJECTED, _FALLBACK, _PARTLY, _FULLY = -2, 0, 1, 2
_STYLES = ("bold", "italic", "strikethrough", "inline_code", "code_block", "blockquote")
_FILES = ("m.image", "m.file", "m.audio", "m.video", "org.matrix.msc3245.voice", "fi.mau.gif")


def room_features(can: Capabilities, largest_file: int) -> Json:
    """The content of the event. ``largest_file``: bytes that the bridge carries at most; 0 for no files.

    What it says of formatting is what every network with formatting has; the rest becomes plain text.
    """
    sizes = [size for size in (largest_file, can.largest_media) if size is not None]
    largest = min(sizes) if can.media else 0
    file: dict[str, Any] = {
        kind: {"mime_types": {"*/*": _FULLY}, "caption": _FULLY, "max_size": largest}
        for kind in _FILES
    }
    file["m.sticker"] = {"mime_types": {"image/*": _PARTLY}, "max_size": largest}
    content: dict[str, Any] = {
        "file": file if largest else {},
        "formatting": dict.fromkeys(_STYLES, _PARTLY) if can.formatting else {},
        "location_message": _PARTLY,
        "poll": _FALLBACK,
        "thread": _FALLBACK,
        "reply": _FULLY if can.replies else _FALLBACK,
        "edit": _FULLY if can.edits else _REJECTED,
        "delete": _FULLY if can.retractions else _REJECTED,
        "reaction": _FULLY if can.reactions else _REJECTED,
        "custom_emoji_reactions": False,
        "read_receipts": can.reads,
        "typing_notifications": can.typing,
    }
    content["id"] = f"org.dm_bridge.{digest_id(json.dumps(content, sort_keys=True))}"
    return content


class RoomFeatures:
    """Tells rooms what can be done there. `run` must run. ``largest_file``: as for `room_features`."""

    def __init__(
        self,
        homeserver: Homeserver,
        store: FeatureStore,
        logins: Logins,
        largest_file: int,
        pause: float = PAUSE,
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self._logins = logins
        self._largest_file = largest_file
        self._pause = pause
        self._waiting: dict[LoginId, None] = {}
        self._news = asyncio.Event()

    def note(self, login: LoginId) -> None:
        """A login has connected, or has a room more: look whether all its rooms know what it can do."""
        self._waiting[login] = None
        self._news.set()

    async def run(self) -> None:
        """Until cancelled, tell rooms."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.tell_waiting()

    async def tell_waiting(self) -> None:
        """Tell the rooms of all logins that have been noted."""
        while self._waiting:
            login = next(iter(self._waiting))
            del self._waiting[login]
            try:
                if await self._tell(login):
                    self._waiting[login] = None
            except BridgeError as error:
                log.info("rooms cannot be told what is possible", reason=str(error))
            except Exception:
                log.exception("rooms cannot be told what is possible")

    async def _tell(self, login: LoginId) -> bool:
        """Tell some rooms of a login; whether there may be more."""
        session = self._logins.session(login)
        if session is None or self._logins.state(login).status is not SessionStatus.CONNECTED:
            return False
        features = room_features(capabilities_of(session), self._largest_file)
        rooms = await self._store.untold(login, features["id"], PAGE)
        for room in rooms:
            await self._put(room, features)
            await asyncio.sleep(self._pause)
        return len(rooms) == PAGE

    async def _put(self, room: Untold, features: Json) -> None:
        try:
            await self._homeserver.set_state(
                room.room, ROOM_FEATURES, "", features, user=room.ghost
            )
        except HomeserverError as error:
            if may_pass(error):
                raise
            log.info("a room cannot be told what is possible", room=room.room, reason=str(error))
        await self._store.told(room.key, room.room, features["id"])
