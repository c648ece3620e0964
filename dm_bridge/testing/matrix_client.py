"""A Matrix user for tests and the demo: what a person's client does, on bare HTTP.

It shares no code with the bridge, so that neither hides the other's mistakes.

The rule that must never break: what it records is what the homeserver sent, in order, stamped when
it arrived; it invents, merges and drops nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import quote

import aiohttp

from dm_bridge.errors import HomeserverError

Json = dict[str, Any]
Kind = Literal["timeline", "state", "invite", "leave", "ephemeral", "account_data", "presence"]

_REQUEST_SECONDS = 60.0
_POLL_MILLISECONDS = 30_000
_SYNC_FILTER = json.dumps({"room": {"timeline": {"limit": 1000}}})


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as it came down /sync.

    ``kind``: the section it came in: ``invite`` for stripped state, ``leave`` for the timeline of a room
    that was left; ``account_data`` with an empty ``room_id`` is global. ``at``: `time.monotonic`
    at arrival.
    """

    kind: Kind
    room_id: str
    event: Json
    at: float

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event.get("type", ""))

    @property
    def sender(self) -> str:
        """The event's sender, or an empty string where it has none."""
        return str(self.event.get("sender", ""))

    @property
    def content(self) -> Json:
        """The event's content."""
        content = self.event.get("content")
        return content if isinstance(content, dict) else {}

    @property
    def body(self) -> str | None:
        """The text of a message event, or None."""
        body = self.content.get("body")
        return body if self.type == "m.room.message" and isinstance(body, str) else None


class MatrixUser:
    """One logged-in user, syncing while open: ``async with MatrixUser(...) as alice``."""

    def __init__(self, url: str, user_id: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.user_id = user_id
        self.seen: list[Seen] = []
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._sync: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._failed = False
        self._transactions = itertools.count()
        self._transaction_prefix = f"{time.time_ns():x}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def token(self) -> str:
        """The user's access token."""
        return self._token

    @property
    def syncing(self) -> bool:
        """Whether it follows what happens; not any more after the homeserver did not answer."""
        return self._sync is not None and not self._failed

    async def open(self) -> None:
        """Start syncing; returns after the first answer, so that nothing later is missed."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        try:
            await self._begin_sync()
        except BaseException:
            await self.close()
            raise

    async def sync_again(self) -> None:
        """Go on after the homeserver did not answer; requests that are under way are not disturbed."""
        await self._end_sync()
        await self._begin_sync()

    async def _begin_sync(self) -> None:
        since = await self._sync_once(None)
        self._failed = False
        self._sync = asyncio.create_task(self._sync_forever(since), name=f"sync {self.user_id}")

    async def _end_sync(self) -> None:
        if self._sync is not None:
            self._sync.cancel()
            with contextlib.suppress(asyncio.CancelledError, HomeserverError):
                await self._sync
            self._sync = None

    async def close(self) -> None:
        """Stop syncing."""
        await self._end_sync()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """One call; ``path`` starts after ``/_matrix/client/``. Raises `HomeserverError`."""
        answer = await self._call(method, path, body, query)
        if not isinstance(answer, dict):
            raise HomeserverError(f"{method} {path}: the answer is not an object")
        return answer

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError(f"{self.user_id} is not open")
        return self._session

    async def _call(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> Any:
        try:
            async with self._open_session.request(
                method, f"{self.url}/_matrix/client/{path}", json=body, params=query
            ) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise HomeserverError(f"{method} {path}: {error!r}", certain=False) from error
        if response.status != 200:
            raise HomeserverError(
                f"{method} {path}: {response.status} {answer.get('error')}",
                status=response.status,
                errcode=str(answer.get("errcode", "")),
            )
        return answer

    async def create_room(
        self, *, invite: Sequence[str] = (), is_direct: bool = False, **extra: object
    ) -> str:
        """Create a private room as a client's "start chat" does; returns its id."""
        body = {"invite": list(invite), "is_direct": is_direct, "preset": "trusted_private_chat"}
        return str((await self.request("POST", "v3/createRoom", {**body, **extra}))["room_id"])

    async def invite(self, room_id: str, user_id: str) -> None:
        """Invite; this endpoint never sets ``is_direct``."""
        await self.request("POST", f"v3/rooms/{quote(room_id)}/invite", {"user_id": user_id})

    async def join(self, room_id: str) -> None:
        """Accept an invite, or enter a public room."""
        await self.request("POST", f"v3/rooms/{quote(room_id)}/join", {})

    async def leave(self, room_id: str) -> None:
        """Leave, or decline an invite."""
        await self.request("POST", f"v3/rooms/{quote(room_id)}/leave", {})

    async def send_event(self, room_id: str, event_type: str, content: Mapping[str, object]) -> str:
        """Send one event; returns its id."""
        transaction = f"{self._transaction_prefix}.{next(self._transactions)}"
        path = f"v3/rooms/{quote(room_id)}/send/{quote(event_type)}/{transaction}"
        return str((await self.request("PUT", path, content))["event_id"])

    async def send_text(self, room_id: str, text: str, **extra: object) -> str:
        """Send an ``m.text`` message; ``extra`` goes into its content."""
        content = {"msgtype": "m.text", "body": text, **extra}
        return await self.send_event(room_id, "m.room.message", content)

    async def send_state(
        self, room_id: str, event_type: str, content: Mapping[str, object], state_key: str = ""
    ) -> str:
        """Send one state event; returns its id."""
        path = f"v3/rooms/{quote(room_id)}/state/{quote(event_type)}/{quote(state_key)}"
        return str((await self.request("PUT", path, content))["event_id"])

    async def upload(self, content: bytes, mimetype: str, name: str) -> str:
        """Put a file into the repository; its ``mxc://`` address."""
        async with self._open_session.post(
            f"{self.url}/_matrix/media/v3/upload",
            params={"filename": name},
            data=content,
            headers={"Content-Type": mimetype},
        ) as response:
            answer = await response.json()
            if response.status != 200:
                raise HomeserverError(f"upload: {response.status}", status=response.status)
            return str(answer["content_uri"])

    async def download(self, mxc: str) -> tuple[bytes, str]:
        """A file of the repository, with authentication, and its type."""
        path = mxc.removeprefix("mxc://")
        async with self._open_session.get(
            f"{self.url}/_matrix/client/v1/media/download/{path}"
        ) as response:
            content = await response.read()
            if response.status != 200:
                raise HomeserverError(f"download: {response.status}", status=response.status)
            return content, response.content_type

    async def redact(self, room_id: str, event_id: str) -> str:
        """Redact an event; returns the redaction's id."""
        transaction = f"{self._transaction_prefix}.{next(self._transactions)}"
        path = f"v3/rooms/{quote(room_id)}/redact/{quote(event_id)}/{transaction}"
        return str((await self.request("PUT", path, {}))["event_id"])

    async def event(self, room_id: str, event_id: str) -> Json:
        """One event, as it is now."""
        return await self.request("GET", f"v3/rooms/{quote(room_id)}/event/{quote(event_id)}")

    async def state(self, room_id: str) -> list[Json]:
        """All current state events."""
        return list(await self._call("GET", f"v3/rooms/{quote(room_id)}/state"))

    async def state_content(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> Json | None:
        """The content of one state event, or None where there is none."""
        for event in await self.state(room_id):
            if event["type"] == event_type and event["state_key"] == state_key:
                return dict(event["content"])
        return None

    async def messages(self, room_id: str, *, limit: int = 1000) -> list[Json]:
        """The latest events of the room's timeline, oldest first."""
        query = {"dir": "b", "limit": str(limit)}
        answer = await self.request("GET", f"v3/rooms/{quote(room_id)}/messages", query=query)
        return list(reversed(answer["chunk"]))

    async def account_data(self, event_type: str) -> Json | None:
        """A global account data document, or None where there is none."""
        path = f"v3/user/{quote(self.user_id)}/account_data/{quote(event_type)}"
        try:
            return await self.request("GET", path)
        except HomeserverError as error:
            if error.status == 404:
                return None
            raise

    async def m_direct(self) -> Json | None:
        """The ``m.direct`` document, or None where there is none."""
        return await self.account_data("m.direct")

    async def set_m_direct(self, document: Mapping[str, object]) -> None:
        """Replace the ``m.direct`` document."""
        await self.request("PUT", f"v3/user/{quote(self.user_id)}/account_data/m.direct", document)

    async def joined_rooms(self) -> list[str]:
        """The rooms this user is in."""
        return list((await self.request("GET", "v3/joined_rooms"))["joined_rooms"])

    def mark(self) -> int:
        """A position in `seen`; give it to `wait_for` to look only at what comes after it."""
        return len(self.seen)

    async def wait_for(
        self, predicate: Callable[[Seen], bool], timeout: float = 60.0, *, after: int = 0
    ) -> Seen:
        """The first event, seen already or still to come, that ``predicate`` accepts.

        Raises TimeoutError, naming what came instead, after ``timeout`` seconds, and
        `HomeserverError` at once when syncing has failed.
        """
        position = after
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while position < len(self.seen):
                        seen = self.seen[position]
                        position += 1
                        if predicate(seen):
                            return seen
                    if self._sync is None or self._failed:
                        raise HomeserverError(f"{self.user_id} has stopped syncing")
                    await self._arrived.wait()
        except TimeoutError:
            came = ", ".join(f"{seen.kind} {seen.type}" for seen in self.seen[after:][-12:])
            raise TimeoutError(
                f"{self.user_id} waited {timeout:.0f} s in vain; the last events were: {came or 'none'}"
            ) from None

    async def wait_for_text(
        self, text: str, timeout: float = 60.0, *, sender: str | None = None, after: int = 0
    ) -> Seen:
        """The first message whose body is ``text``."""
        return await self.wait_for(
            lambda seen: seen.body == text and sender in (None, seen.sender), timeout, after=after
        )

    async def _sync_forever(self, since: str) -> None:
        try:
            while True:
                since = await self._sync_once(since)
        finally:
            self._failed = True
            self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def _sync_once(self, since: str | None) -> str:
        query = {"filter": _SYNC_FILTER, "timeout": "0", "set_presence": "offline"}
        if since is not None:
            query |= {"since": since, "timeout": str(_POLL_MILLISECONDS)}
        answer = await self.request("GET", "v3/sync", query=query)
        now = time.monotonic()
        self.seen.extend(_events(answer, now))
        self._wake()
        return str(answer["next_batch"])


def _events(answer: Json, now: float) -> Iterator[Seen]:
    def section(kind: Kind, room_id: str, holder: Json, name: str) -> Iterable[Seen]:
        return (Seen(kind, room_id, event, now) for event in holder.get(name, {}).get("events", []))

    yield from section("account_data", "", answer, "account_data")
    yield from section("presence", "", answer, "presence")
    rooms = answer.get("rooms", {})
    for room_id, room in rooms.get("invite", {}).items():
        yield from section("invite", room_id, room, "invite_state")
    for room_id, room in rooms.get("join", {}).items():
        yield from section("state", room_id, room, "state")
        yield from section("timeline", room_id, room, "timeline")
        yield from section("ephemeral", room_id, room, "ephemeral")
        yield from section("account_data", room_id, room, "account_data")
    for room_id, room in rooms.get("leave", {}).items():
        yield from section("leave", room_id, room, "timeline")
