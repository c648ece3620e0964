"""The module inside a real Synapse: it tells everything, delays nothing, and fails softly."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from mautrix.api import Path as ApiPath

from tests.observed import Observed, observed_synapse, until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Twisted warns of itself
    from synapse.module_api.errors import ConfigError

    from dm_bridge import synapse_module
    from dm_bridge.synapse_module import DirectObserver, PushQueue


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """Shared: make users with names of your own, and leave the receiver running."""
    async with observed_synapse(tmp_path_factory.mktemp("observed")) as observed:
        await until(lambda: observed.receiver.pushes)
        yield observed


# -- on a real Synapse


async def test_every_version_is_pushed_in_order_as_it_was_written(server: Observed) -> None:
    user = await server.introduced("order")
    texts = [
        json.dumps({"@a:b": [f"!room{number}"], "n": number, "odd": [None, {"x": 1.5}]})
        for number in range(60)
    ]
    for text in texts:
        await server.put(user, text)
    await until(lambda: len(server.receiver.contents(user)) == 60)
    assert [json.loads(content or b"") for content in server.receiver.contents(user)] == [
        json.loads(text) for text in texts
    ]


async def test_a_push_arrives_within_a_fraction_of_a_second(server: Observed) -> None:
    user = await server.introduced("quick")
    loop = asyncio.get_running_loop()
    delays = []
    for number in range(10):
        await server.put(user, json.dumps({"@a:b": [f"!{number}"]}))
        begin = loop.time()
        await until(lambda: len(server.receiver.contents(user)) == number + 1)  # noqa: B023 - called in this turn
        delays.append(loop.time() - begin)
    assert sorted(delays)[5] < 0.25


async def test_strange_contents_are_pushed_like_any_other(server: Observed) -> None:
    user = await server.introduced("strange")
    texts = [
        '{"@a:b": "junk", "": 5}',
        '{"\\ud800": ["\\udfff"]}',
        '{"é": 123456789012345678901234}',
    ]
    for text in [*texts, "{}"]:
        await server.put(user, text)
    await until(lambda: len(server.receiver.contents(user)) == 4)
    pushed = [json.loads(content or b"") for content in server.receiver.contents(user)]
    assert pushed == [json.loads(text) for text in [*texts, "{}"]]


async def test_of_a_huge_document_only_the_account_is_pushed(server: Observed) -> None:
    user = await server.introduced("huge")
    entries = {f"@u{number}:example.org": [f"!{number:030}"] for number in range(20_000)}
    await server.put(user, json.dumps(entries))
    await until(lambda: server.receiver.contents(user) == [None])
    await server.put(user, "{}")
    await until(lambda: server.receiver.contents(user) == [None, b"{}"])


async def test_other_account_data_is_nobodys_business(server: Observed) -> None:
    user = await server.introduced("private")
    ignored = ApiPath.v3.user[user].account_data["m.ignored_user_list"]
    await server.homeserver.request("PUT", ignored, user=user, body={"ignored_users": {}})
    await server.put(user, '{"after": []}')
    await until(lambda: server.receiver.contents(user))
    assert server.receiver.contents(user) == [b'{"after":[]}']


async def test_the_module_is_heard_though_nothing_changes(server: Observed) -> None:
    before = len(server.receiver.pushes)
    await until(lambda: len(server.receiver.pushes) >= before + 3)
    assert all(push.epoch == server.receiver.epoch for push in server.receiver.pushes[-2:])


async def test_accounts_that_are_not_kept_are_sent_again_once_the_epoch_changes(
    server: Observed,
) -> None:
    receiver = server.receiver
    other, user = await server.introduced("friend"), await server.user("stranger")
    receiver.kept = {other}
    try:
        await server.put(user, '{"n": [1]}')
        await until(lambda: len(receiver.contents(user)) == 1)
        await asyncio.sleep(0.1)
        await server.put(user, '{"n": [2]}')
        await server.put(other, '{"n": [3]}')
        await until(lambda: receiver.contents(other))
        assert receiver.contents(user) == [None], "its document is nobody's business"

        receiver.kept, receiver.epoch = None, "second"
        await until(lambda: receiver.pushes[-1].epoch == "second")
        await server.put(user, '{"n": [4]}')
        await until(lambda: receiver.contents(user) == [None, None])
        so_far = len(receiver.pushes)
        await until(lambda: len(receiver.pushes) > so_far)
        await server.put(user, '{"n": [5]}')
        await until(lambda: receiver.contents(user) == [None, None, b'{"n":[5]}'])
    finally:
        receiver.kept = None


async def test_a_bridge_that_hangs_delays_no_user_and_gets_everything_in_the_end(
    server: Observed,
) -> None:
    user = await server.introduced("patient")
    calm = sorted([await server.put(user, json.dumps({"calm": [n]})) for n in range(15)])[7]
    server.receiver.pause = 0.7  # shorter than the module's deadline here
    hung = sorted([await server.put(user, json.dumps({"hung": [n]})) for n in range(15)])[7]
    server.receiver.pause = 0.0
    assert hung < calm + 0.1
    await until(lambda: len(server.receiver.contents(user)) >= 30)
    assert server.receiver.contents(user)[-1] == b'{"hung":[14]}'


async def test_a_bridge_that_never_answers_is_given_up_within_the_deadline(tmp_path: Path) -> None:
    async with observed_synapse(tmp_path) as server:
        receiver = server.receiver
        user = await server.user("never")
        await until(lambda: receiver.pushes)
        receiver.pause = 3600.0
        assert await server.put(user, '{"n": [1]}') < 1
        await until(lambda: server.log_lines())
        await asyncio.sleep(4)  # it has given up
        receiver.pause = 0.0
        receiver.pushes.clear()
        await until(lambda: any(user in push.missed for push in receiver.pushes))
        text = server.synapse.log.read_text(encoding="utf-8")
        assert "did not answer (within 1 seconds)" in text
        assert "Traceback" not in text
        assert "logging context" not in text.lower()


async def test_while_the_bridge_is_away_users_notice_nothing_and_it_is_told_whom_to_read(
    tmp_path: Path,
) -> None:
    async with observed_synapse(tmp_path) as server:
        receiver = server.receiver
        await until(lambda: receiver.pushes)
        assert receiver.pushes[0].gap, "what was before the first push, nobody knows"
        user, late = await server.introduced("away"), await server.user("late")
        assert not receiver.pushes[-1].gap
        await receiver.stop()
        receiver.pushes.clear()
        seconds = [await server.put(user, json.dumps({"n": [n]})) for n in range(30)]
        assert statistics.median(seconds) < 1, "no write waits for who is not there"
        await until(lambda: server.log_lines())
        await asyncio.sleep(4)  # it has given up
        await server.put(late, '{"rest": []}')
        assert len(server.log_lines()) == 1, "one complaint, then silence"
        await receiver.start()
        await until(lambda: receiver.pushes)
        first = receiver.pushes[0]
        assert set(first.missed) == {user, late}
        assert (first.updates, first.dropped) == ((), 31)
        await server.put(user, '{"after": []}')
        await until(lambda: receiver.contents(user) == [b'{"after":[]}'])
        assert not receiver.pushes[-1].missed


async def test_a_wrong_token_costs_one_line_in_the_log_and_nothing_else(tmp_path: Path) -> None:
    async with observed_synapse(tmp_path, token="wrong-token") as server:
        user = await server.user("wrong")
        seconds = [await server.put(user, json.dumps({"n": [n]})) for n in range(5)]
        assert statistics.median(seconds) < 1
        await until(lambda: server.log_lines())
        await asyncio.sleep(3)
        assert server.receiver.pushes == []
        (line,) = server.log_lines()
        assert "hs_token" in line
        text = server.synapse.log.read_text(encoding="utf-8")
        assert "wrong-token" not in text
        assert "Traceback" not in text


# -- the file by itself


def test_it_is_loaded_from_a_copy_without_the_rest_of_the_bridge(tmp_path: Path) -> None:
    shutil.copy(synapse_module.__file__, tmp_path / "observer.py")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import observer; "
        "loaded = [name for name in sys.modules if name.split('.')[0] == 'dm_bridge']; "
        "assert not loaded, loaded; "
        "print(observer.DirectObserver.parse_config({'url': 'http://h:1/', 'token': 'x'}).url)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "http://h:1/_dm_bridge/v1/direct\n"


def test_loading_it_loads_nothing_else_of_the_bridge() -> None:
    script = (
        "import sys; import dm_bridge.synapse_module; "
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'dm_bridge'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['dm_bridge', 'dm_bridge.synapse_module']\n"


# -- its configuration


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({}, "`url` must be the bridge's address"),
        ({"url": 5, "token": "x"}, "`url` must be"),
        ({"url": "localhost:29350", "token": "x"}, "no http or https address"),
        ({"url": "ftp://localhost", "token": "x"}, "no http or https address"),
        ({"url": "http://", "token": "x"}, "no http or https address"),
        ({"url": "http://host:port", "token": "x"}, "no http or https address"),
        ({"url": "http://[::1", "token": "x"}, "no http or https address"),
        ({"url": "http://h/?token=x", "token": "x"}, "an address alone"),
        ({"url": "http://me:pw@h", "token": "x"}, "an address alone"),
        ({"url": "http://h"}, "either `token_file` or `token`"),
        ({"url": "http://h", "token": "x", "token_file": "y"}, "either `token_file` or `token`"),
        ({"url": "http://h", "token": ""}, "printable ASCII"),
        ({"url": "http://h", "token": "a\nb"}, "printable ASCII"),
        ({"url": "http://h", "token": 5}, "printable ASCII"),
        ({"url": "http://h", "token_file": ""}, "the path of a file"),
        ({"url": "http://h", "token_file": "/does/not/exist"}, "cannot be read: No such file"),
        ({"url": "http://h", "token": "x", "tokens": 1}, "unknown key `tokens`"),
        ([], "must be a map"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_reason(config: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        DirectObserver.parse_config(config)


def test_the_token_comes_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret\n", encoding="utf-8")
    config = DirectObserver.parse_config(
        {"url": "https://bridge.example", "token_file": str(tmp_path / "token")}
    )
    assert config.token == "a-secret"
    assert "a-secret" not in repr(config)


# -- its queue


def contents(queue: PushQueue) -> list[tuple[str, str | None]]:
    return [(update.account, update.content) for update in queue.batch()]


def drained(queue: PushQueue) -> PushQueue:
    queue.take_notes()  # as the first push does
    return queue


def test_a_full_queue_drops_the_oldest_of_the_account_that_adds() -> None:
    queue = drained(PushQueue(most=3))
    for account, content in [("a", "1"), ("b", "2"), ("b", "3"), ("b", "4")]:
        queue.add(account, content, 0)
    assert contents(queue) == [("a", "1"), ("b", "3"), ("b", "4")]
    notes = queue.take_notes()
    assert (notes.missed, notes.dropped, notes.gap) == ((), 1, False)


def test_an_account_whose_last_change_was_dropped_is_missed() -> None:
    queue = drained(PushQueue(most=2))
    for account in "abc":
        queue.add(account, "x", 0)
    assert contents(queue) == [("b", "x"), ("c", "x")]
    assert queue.take_notes().missed == ("a",)


def test_the_queue_is_bounded_in_size_too() -> None:
    queue = drained(PushQueue(most_characters=100))
    for number in range(50):
        queue.add("a", f"{number:030}", 0)
    assert [content for _, content in contents(queue)] == [f"{n:030}" for n in (47, 48, 49)]


def test_too_many_missed_accounts_make_a_gap() -> None:
    queue = drained(PushQueue(most=10))
    for number in range(25):
        queue.add(f"a{number}", "x", 0)
    assert queue.take_notes().gap


def test_notes_that_did_not_arrive_are_said_again_with_newer_ones() -> None:
    queue = drained(PushQueue(most=2))
    for account in "abc":
        queue.add(account, "x", 0)
    notes = queue.take_notes()
    queue.add("d", "x", 0)
    queue.put_back(notes)
    again = queue.take_notes()
    assert (set(again.missed), again.dropped, again.gap) == ({"a", "b"}, 2, False)


def test_what_is_sent_leaves_the_queue_and_what_came_meanwhile_stays() -> None:
    queue = PushQueue()
    for number in range(150):
        queue.add("a", str(number), 0)
    batch = queue.batch()
    assert len(batch) == synapse_module.BATCH
    queue.add("b", "x", 0)
    queue.sent(batch)
    assert len(queue) == 51
    assert contents(queue)[0] == ("a", "100")
    assert contents(queue)[-1] == ("b", "x")
    assert [update.seq for update in queue.batch()] == list(range(101, 152))
