"""A Synapse module that tells the bridge of every change of m.direct, as it happens.

In Synapse's configuration::

    modules:
      - module: dm_bridge.synapse_module.DirectObserver
        config:
          url: http://127.0.0.1:29350
          token_file: /etc/matrix-synapse/dm_bridge_hs_token

It needs Synapse 1.57 or newer, and nothing else: this file may be copied to the homeserver alone.

The rule that must never break: no user's request waits for the bridge, or fails because of it. The
callback puts the change into a bounded queue; a background process sends it. When the bridge is
away, changes are dropped, and the bridge is told afterwards which accounts it has to read again.
And no document leaves the homeserver unless the bridge has said that it keeps the account.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from synapse.http.client import read_body_with_max_size
from synapse.logging.context import make_deferred_yieldable
from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError
from twisted.internet import defer
from twisted.web.http_headers import Headers

logger = logging.getLogger(__name__)

PATH = "/_dm_bridge/v1/direct"
BEAT_SECONDS = 10.0  # also how soon it learns that an account has come to be kept
DEADLINE = 10.0  # seconds for one push
TRIES = 8  # in a row and in vain, a minute in all, before what waits is dropped
NOT_KEPT_SECONDS = 600.0  # that accounts which the bridge does not keep are not sent
MOST_NOT_KEPT = 10_000
MOST_KEPT = 100_000
MOST_WAITING = 1_000  # changes
MOST_WAITING_CHARACTERS = 16 * 1024 * 1024
LARGEST_CONTENT = 1024 * 1024  # characters; of a larger one only the account is sent
BATCH = 100  # changes in one push
LARGEST_ANSWER = 1024 * 1024
ACKNOWLEDGEMENTS = 3  # beats sent at once because the bridge's epoch changed
SILENCE = 60.0  # seconds between two complaints in the log

_Json = dict[str, Any]
_Background = Callable[[str, Callable[[], Awaitable[None]]], object]


@dataclass(frozen=True)
class ObserverConfig:
    """``url``: of the bridge's endpoint. ``token``: the hs_token of the bridge's registration."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"ObserverConfig({self.url!r})"


@dataclass(frozen=True)
class Update:
    """A change. ``content``: JSON text, or None to name the account only. ``at``: monotonic seconds."""

    seq: int
    account: str
    content: str | None
    at: float


@dataclass(frozen=True)
class Notes:
    """``missed``: accounts to read again; ``gap``: all of them; ``dropped``: how many changes."""

    gap: bool
    missed: tuple[str, ...]
    dropped: int


class PushQueue:
    """Changes in the order in which they came, bounded in number and size.

    When it is full, the oldest change of the account that adds one goes first: a newer one follows. What
    goes without a newer one makes its account ``missed``; too many of those make a ``gap``.
    """

    def __init__(
        self, most: int = MOST_WAITING, most_characters: int = MOST_WAITING_CHARACTERS
    ) -> None:
        self._most = most
        self._most_characters = most_characters
        self._updates: OrderedDict[int, Update] = OrderedDict()
        self._of: dict[str, deque[int]] = {}
        self._characters = 0
        self._seq = 0
        self.missed: dict[str, None] = {}
        self.gap = True  # nobody knows what happened before the first push
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._updates)

    def add(self, account: str, content: str | None, now: float) -> None:
        """Add the newest change of ``account``. Of too large a content, nothing is kept."""
        self._seq += 1
        text = content if content is None or len(content) <= LARGEST_CONTENT else None
        self._updates[self._seq] = Update(self._seq, account, text, now)
        self._of.setdefault(account, deque()).append(self._seq)
        self._characters += len(text or "")
        while len(self._updates) > self._most or self._characters > self._most_characters:
            same = self._of.get(account)
            self._drop(same[0] if same and len(same) > 1 else next(iter(self._updates)))

    def miss(self, account: str) -> None:
        """Note a change that nobody will send."""
        self.dropped += 1
        if len(self.missed) < self._most:
            self.missed[account] = None
        else:
            self.gap = True

    def take_notes(self) -> Notes:
        """What has to be said beside the changes; it is ours no longer, unless `put_back`."""
        notes = Notes(self.gap, tuple(self.missed), self.dropped)
        self.gap, self.missed, self.dropped = False, {}, 0
        return notes

    def put_back(self, notes: Notes) -> None:
        """The notes did not arrive."""
        self.gap = self.gap or notes.gap
        self.missed |= dict.fromkeys(notes.missed)
        if len(self.missed) > self._most:
            self.gap, self.missed = True, {}
        self.dropped += notes.dropped

    def batch(self) -> list[Update]:
        """The oldest changes; they stay until `sent`."""
        chosen: list[Update] = []
        room = LARGEST_CONTENT
        for update in self._updates.values():
            room -= len(update.content or "")
            if chosen and (room < 0 or len(chosen) == BATCH):
                break
            chosen.append(update)
        return chosen

    def sent(self, updates: list[Update]) -> None:
        """Forget changes that the bridge has."""
        for update in updates:
            self._remove(update.seq)

    def give_up(self, updates: list[Update] | None = None) -> None:
        """Drop these changes, or all, and note their accounts as missed."""
        for update in list(self._updates.values()) if updates is None else updates:
            if update.seq in self._updates:
                self._drop(update.seq)

    def _drop(self, seq: int) -> None:
        update = self._remove(seq)
        if update is None:
            return
        if update.account in self._of:
            self.dropped += 1
        else:
            self.miss(update.account)

    def _remove(self, seq: int) -> Update | None:
        update = self._updates.pop(seq, None)
        if update is not None:
            self._characters -= len(update.content or "")
            same = self._of[update.account]
            same.remove(seq)
            if not same:
                del self._of[update.account]
        return update


class _Refused(Exception):
    """The bridge does not want this very push: sending it again is in vain."""


class _Failed(Exception):
    """The push did not arrive; another may."""


class DirectObserver:
    """The module. Synapse makes one of it in every process that reads the ``modules`` section."""

    def __init__(self, config: ObserverConfig, api: ModuleApi) -> None:
        self._config = config
        self._api = api
        self._queue = PushQueue()
        self._kept: dict[str, None] = {}
        self._not_kept: dict[str, float] = {}
        self._epoch = ""
        self._run = secrets.token_hex(8)
        self._acknowledged = 0
        self._beat_due = False
        self._pumping = False
        self._failures = 0
        self._resting = False
        self._complained: dict[str, float] = {}
        if not _writes_account_data(api):
            return  # another worker does, and only there the callback is called
        api.register_account_data_callbacks(on_account_data_updated=self._changed)
        api.looping_background_call(
            self._beat, BEAT_SECONDS * 1000, desc="dm_bridge_beat", run_on_all_instances=True
        )
        self._in_background("dm_bridge_first_beat", self._first_beat)

    @staticmethod
    def parse_config(config: _Json) -> ObserverConfig:
        """Check the ``config`` of the module. Raises Synapse's `ConfigError`."""
        if not isinstance(config, dict):
            raise ConfigError("dm_bridge: `config` must be a map with `url` and `token_file`.")
        unknown = sorted(str(key) for key in set(config) - {"url", "token", "token_file"})
        if unknown:
            raise ConfigError(
                f"dm_bridge: unknown key `{unknown[0]}`; known are `url`, `token` and `token_file`."
            )
        return ObserverConfig(_checked_url(config.get("url")), _token(config))

    # -- noticing

    async def _changed(
        self, user_id: str, room_id: str | None, account_data_type: str, content: _Json
    ) -> None:
        """Synapse awaits this inside the user's request."""
        if room_id is not None or account_data_type != "m.direct":
            return
        try:
            self._note(user_id, content)
        except Exception as error:
            self._queue.gap = True
            self._complain("a change of m.direct could not be noted (%s)", type(error).__name__)

    def _note(self, account: str, content: _Json) -> None:
        now = time.monotonic()
        until = self._not_kept.get(account)
        if until is not None:
            if now < until:
                return
            del self._not_kept[account]
        if self._resting:
            self._queue.miss(account)
            return
        known = account in self._kept
        text = json.dumps(content, separators=(",", ":")) if known else None
        self._queue.add(account, text, now)
        self._wake()

    async def _first_beat(self) -> None:
        await self._api.sleep(1)
        self._beat()

    def _beat(self) -> None:
        self._beat_due = True
        self._wake()

    # -- sending

    def _wake(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._in_background("dm_bridge_push", self._pump)

    async def _pump(self) -> None:
        """Send until nothing is left, or the bridge seems to be away."""
        try:
            await self._api.sleep(0)  # not inside the user's request
            while self._queue or self._beat_due:
                self._beat_due = False
                batch = self._queue.batch()
                try:
                    await self._push(batch)
                except _Refused as error:
                    self._queue.give_up(batch)
                    self._complain("the bridge refused a push: %s", error)
                    if not batch:
                        break
                except _Failed as error:
                    self._failures += 1
                    self._complain("the bridge could not be told of changes: %s", error)
                    if self._resting or self._failures >= TRIES:
                        self._queue.give_up()
                        self._resting = True  # the next beat tries again
                        break
                    await self._api.sleep(min(30.0, 0.25 * 2**self._failures) * _jitter())
        except Exception as error:
            self._queue.give_up()
            self._complain("pushing failed for a reason of its own (%s)", type(error).__name__)
        finally:
            self._pumping = False

    async def _push(self, batch: list[Update]) -> None:
        notes = self._queue.take_notes()
        try:
            answer = await self._post(self._body(batch, notes))
        except _Refused:
            self._queue.gap = True
            raise
        except BaseException:
            self._queue.put_back(notes)
            raise
        self._queue.sent(batch)
        if self._resting or self._failures:
            logger.info("dm_bridge: the bridge takes changes of m.direct again")
        self._resting, self._failures = False, 0
        self._learn(answer)

    def _body(self, batch: list[Update], notes: Notes) -> _Json:
        now = time.monotonic()
        return {
            "instance": self._api.worker_name or "master",
            "run": self._run,
            "epoch": self._epoch,
            "gap": notes.gap,
            "missed": notes.missed,
            "dropped": notes.dropped,
            "updates": [
                {
                    "seq": update.seq,
                    "account": update.account,
                    "age": round(now - update.at, 3),
                    "content": update.content,
                }
                for update in batch
            ],
        }

    def _learn(self, answer: _Json) -> None:
        epoch = answer.get("epoch")
        if isinstance(epoch, str) and epoch != self._epoch:
            self._epoch = epoch
            self._not_kept.clear()
            self._acknowledged += 1
            if self._acknowledged <= ACKNOWLEDGEMENTS:
                self._beat_due = True  # so that the bridge knows
        else:
            self._acknowledged = 0
        for account in _names(answer.get("kept")):
            self._kept[account] = None
        until = time.monotonic() + NOT_KEPT_SECONDS
        for account in _names(answer.get("not_kept")):
            self._kept.pop(account, None)
            self._not_kept.pop(account, None)
            self._not_kept[account] = until
        _forget_oldest(self._kept, MOST_KEPT)
        _forget_oldest(self._not_kept, MOST_NOT_KEPT)

    async def _post(self, body: _Json) -> _Json:
        from twisted.internet import reactor  # Synapse chooses it while it starts

        # Within `_request` Synapse's rules for log contexts are followed, so this deferred follows them too.
        begun = time.monotonic()
        request = defer.ensureDeferred(self._request(json.dumps(body).encode()))
        request.addTimeout(DEADLINE, cast(Any, reactor))
        try:
            code, raw = await request
        except Exception as error:
            in_time = time.monotonic() - begun < DEADLINE
            why = type(error).__name__ if in_time else f"within {DEADLINE:.0f} seconds"
            raise _Failed(f"{self._config.url} did not answer ({why})") from None
        if code in (400, 413):
            raise _Refused(f"HTTP {code}")
        if code in (401, 403):
            raise _Failed(f"HTTP {code}; the token must be the hs_token of its registration")
        if code == 404:
            raise _Failed("HTTP 404; is `url` the bridge's address, and the bridge new enough?")
        if code != 200:
            raise _Failed(f"HTTP {code}")
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _Failed("the answer is not the bridge's; is `url` right?")
        return answer

    async def _request(self, body: bytes) -> tuple[int, bytes]:
        headers = Headers(
            {
                b"Authorization": [b"Bearer " + self._config.token.encode()],
                b"Content-Type": [b"application/json"],
            }
        )
        response = await self._api.http_client.request(
            "POST", self._config.url, data=body, headers=headers
        )
        raw = BytesIO()
        await make_deferred_yieldable(read_body_with_max_size(response, raw, LARGEST_ANSWER))
        return response.code, raw.getvalue()

    # -- odds and ends

    def _in_background(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        run = getattr(self._api, "run_as_background_process", None)
        if run is None:  # an older Synapse
            from synapse.module_api import run_as_background_process as run
        cast(_Background, run)(name, work)

    def _complain(self, sentence: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._complained.get(sentence, float("-inf")) >= SILENCE:
            self._complained[sentence] = now
            logger.warning("dm_bridge: " + sentence, *values)


def _writes_account_data(api: ModuleApi) -> bool:
    """Whether this process is the one that writes account data; True when Synapse does not tell."""
    try:
        homeserver = cast(Any, api)._hs
        writers = homeserver.config.worker.writers.account_data
        return homeserver.get_instance_name() in writers
    except AttributeError:
        return True


def _names(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _forget_oldest(accounts: dict[str, Any], most: int) -> None:
    while len(accounts) > most:
        del accounts[next(iter(accounts))]


def _jitter() -> float:
    return random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def _checked_url(url: object) -> str:
    example = "such as http://127.0.0.1:29350"
    if not isinstance(url, str) or not url:
        raise ConfigError(f"dm_bridge: `url` must be the bridge's address, {example}.")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"dm_bridge: `url` is no http or https address, {example}.")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ConfigError(f"dm_bridge: `url` must be an address alone, {example}.")
    return url.rstrip("/") + PATH


def _token(config: _Json) -> str:
    if ("token" in config) == ("token_file" in config):
        raise ConfigError("dm_bridge: give either `token_file` or `token`: the bridge's hs_token.")
    token = config.get("token")
    if "token_file" in config:
        path = config["token_file"]
        if not isinstance(path, str) or not path:
            raise ConfigError("dm_bridge: `token_file` must be the path of a file.")
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(f"dm_bridge: `token_file` cannot be read: {reason}.") from None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise ConfigError("dm_bridge: the token must be the bridge's hs_token, in printable ASCII.")
    return token
