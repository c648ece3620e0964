"""``dm-bridge queue``, on a database with rows in every state."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from click.testing import Result

from dm_bridge.ids import ChatId, ContactId, EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.network.events import RemoteMessage, Text
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.queue import QueueStore
from dm_bridge.testing.processes import free_port
from tests.cli.conftest import Command
from tests.store.stored import OWNER, a_login

SECRET = "the-body-nobody-may-see"
ROOM = RoomId("!room:example.org")
EVIL = ChatId("romeo@example.net\x1b[31m\u202e")


@dataclass
class Queue:
    """A configuration whose database has rows: in:1 parked, in:2 waiting, in:3 delivered; out:1 parked, out:2
    failed, out:3 uncertain, out:4 waiting."""

    command: Command
    config: Path
    login: LoginId
    database: Database

    async def run(self, *arguments: str, text: str | None = None) -> Result:
        words = ["queue", arguments[0], "-c", str(self.config), *arguments[1:]]
        return await asyncio.to_thread(self.command, *words, text=text)

    async def json(self, *arguments: str) -> Any:
        return json.loads((await self.run(*arguments, "--json")).stdout)

    async def states(self) -> dict[str, str]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT 'in:' || seq AS id, state FROM inbox "
                "UNION ALL SELECT 'out:' || seq, state FROM outbox ORDER BY id"
            )
        return {row["id"]: row["state"] for row in rows}


BEFORE = {
    "in:1": "parked",
    "in:2": "waiting",
    "in:3": "delivered",
    "out:1": "parked",
    "out:2": "failed",
    "out:3": "uncertain",
    "out:4": "waiting",
}


@pytest_asyncio.fixture
async def queue(database_url: str, database: Database, command: Command, made: Path) -> Queue:
    config = yaml.safe_load(made.read_text())
    config["database"] = {"url": database_url}
    made.write_text(yaml.safe_dump(config))
    login = await a_login(database)
    inbox, outbox = InboxStore(database), OutboxStore(database)
    await inbox.add([(login, received(number)) for number in (1, 2, 3)])
    outcomes = [
        InboxOutcome(
            RemoteId("id-1"), "parked", reason=f"UnicodeEncodeError('utf-8', '{SECRET}', 0, 1)"
        ),
        InboxOutcome(RemoteId("id-3"), "delivered", EventId("$delivered")),
    ]
    await inbox.finish(PortalKey(login, EVIL), outcomes)
    rows = [pushed(number) for number in (1, 2, 3, 4)]
    await outbox.add(rows)
    await outbox.finish(rows[0], "parked", reason="The homeserver refused it (403).")
    await outbox.finish(rows[1], "failed", reason="The contact's server does not answer.")
    await outbox.finish(rows[2], "uncertain", reason="The connection was lost.")
    await QueueStore(database).note_room(ROOM, "The network is away.")
    queue = Queue(command, made, login, database)
    assert await queue.states() == BEFORE
    return queue


def received(number: int) -> RemoteMessage:
    contact = ContactId("romeo@example.net")
    return RemoteMessage(EVIL, RemoteId(f"id-{number}"), contact, False, Text(SECRET), 1.5, "Romeo")


def pushed(number: int) -> OutboxRow:
    event_id = EventId(f"$event-{number}")
    content = {"msgtype": "m.text", "body": SECRET, "formatted_body": SECRET}
    event = {"event_id": event_id, "type": "m.room.message", "content": content}
    return OutboxRow(event_id, ROOM, UserId(OWNER), event)


async def test_list_tells_what_is_parked_and_what_waits_in_both_directions(queue: Queue) -> None:
    listed = await queue.run("list")
    assert listed.exit_code == 3, listed.output
    assert "To Matrix: 1 waiting (the oldest for " in listed.stdout
    assert "To the networks: 1 waiting (the oldest for " in listed.stdout
    ids = re.findall(r"^(\w+:\d+) +(\w+)", listed.stdout, re.MULTILINE)
    assert ids == [
        ("in:1", "parked"),
        ("out:1", "parked"),
        ("in:2", "waiting"),
        ("out:4", "waiting"),
    ]
    assert "event m.room.message m.text: The homeserver refused it (403)." in listed.stdout
    assert "an error of the bridge itself, UnicodeEncodeError" in listed.stdout
    assert "event m.room.message m.text: The network is away." in listed.stdout
    assert "\x1b" not in listed.stdout
    assert "\u202e" not in listed.stdout
    assert await queue.states() == BEFORE


async def test_list_answers_in_json_and_says_whether_there_is_more(queue: Queue) -> None:
    answer = await queue.json("list")
    assert [(row["id"], row["state"]) for row in answer["rows"]][:1] == [("in:1", "parked")]
    row = answer["rows"][1]
    assert time.time() - row.pop("received_at") < 60
    assert row.pop("age") < 60
    assert row.pop("bytes") > 100
    assert row == {
        "id": "out:1",
        "direction": "to_remote",
        "state": "parked",
        "reason": "The homeserver refused it (403).",
        "chat": None,
        "login": None,
        "room": ROOM,
        "kind": "event m.room.message m.text",
        "put_back_at": None,
    }
    assert answer["more"] is False
    assert [(c["direction"], c["state"], c["rows"]) for c in answer["counts"]] == [
        ("to_matrix", "waiting", 1),
        ("to_matrix", "parked", 1),
        ("to_remote", "waiting", 1),
        ("to_remote", "parked", 1),
    ]
    short = await queue.json("list", "--limit", "2")
    assert [row["id"] for row in short["rows"]] == ["in:1", "out:1"]
    assert short["more"] is True
    chosen = await queue.json("list", "--direction", "out", "--state", "failed")
    assert [row["id"] for row in chosen["rows"]] == ["out:2"]


@pytest.mark.parametrize("row", BEFORE)
async def test_show_tells_all_but_what_people_wrote(queue: Queue, row: str) -> None:
    shown = await queue.run("show", row)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(f"{row}: {BEFORE[row]}\n")
    assert "bytes, not shown" in shown.stdout
    answer = await queue.json("show", row)
    assert answer["content"] is None
    assert answer["before"] == (1 if row == "in:3" else 0)
    if row.startswith("in:"):
        assert answer["owner"] == OWNER
        assert answer["chat"] == EVIL
        assert answer["kind"] == "message"
    else:
        assert answer["sender"] == OWNER
        assert answer["event"] == f"$event-{row[-1]}"
    everything = json.dumps(answer) + shown.output + (await queue.run("list")).output
    everything += json.dumps(await queue.json("list"))
    assert SECRET not in everything
    assert await queue.states() == BEFORE


async def test_show_prints_what_was_written_when_asked_and_nothing_steers_the_terminal(
    queue: Queue,
) -> None:
    shown = await queue.run("show", "in:1", "--content")
    assert shown.exit_code == 0, shown.output
    assert SECRET in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    answer = await queue.json("show", "in:1", "--content")
    assert answer["content"]["content"]["body"] == SECRET
    assert "content_not_shown" not in answer


async def test_what_belongs_to_no_chat_is_not_printed_even_when_asked(queue: Queue) -> None:
    shown = await queue.run("show", "out:1", "--content")
    assert shown.exit_code == 0, shown.output
    assert "it belongs to no chat" in " ".join(shown.stdout.split())
    answer = await queue.json("show", "out:1", "--content")
    assert answer["content"] is None
    assert "password" in answer["content_not_shown"]
    assert SECRET not in shown.output + json.dumps(answer)


async def test_retry_all_puts_back_what_is_parked_and_nothing_else(queue: Queue) -> None:
    done = await queue.run("retry", "--all")
    assert done.exit_code == 0, done.output
    assert "2 put back: in:1, out:1." in done.stdout
    assert done.stderr.startswith("out:1 may have been delivered before")
    assert await queue.states() == {**BEFORE, "in:1": "waiting", "out:1": "waiting"}
    waiting = await InboxStore(queue.database).waiting(PortalKey(queue.login, EVIL), 10)
    assert [row.id for row in waiting] == ["id-1", "id-2"]
    again = await queue.run("retry", "--all")
    assert (again.exit_code, again.stdout) == (0, "Nothing is parked.\n")
    assert (await queue.run("list")).exit_code == 0


async def test_retry_all_of_one_direction_leaves_the_other(queue: Queue) -> None:
    assert (await queue.json("retry", "--all", "--direction", "out"))["retried"] == ["out:1"]
    assert await queue.states() == {**BEFORE, "out:1": "waiting"}


async def test_what_failed_or_is_uncertain_is_put_back_by_its_id_and_warned_of(
    queue: Queue,
) -> None:
    done = await queue.run("retry", "out:3", "out:2")
    assert done.exit_code == 0, done.output
    assert "out:3 may have been delivered before" in done.stderr
    assert "out:2 may" not in done.stderr
    assert await queue.states() == {**BEFORE, "out:2": "waiting", "out:3": "waiting"}


async def test_what_cannot_be_put_back_is_named_with_the_reason(queue: Queue) -> None:
    done = await queue.run("retry", "in:1", "in:2", "in:3", "in:99")
    assert done.exit_code == 1
    assert "1 put back: in:1." in done.stdout
    assert "in:2 was left as it is: it waits already." in done.stderr
    assert "in:3 was left as it is: it is delivered already." in done.stderr
    assert "in:99 was left as it is: there is no such row." in done.stderr
    assert await queue.states() == {**BEFORE, "in:1": "waiting"}


async def test_of_what_failed_the_latest_is_listed_first(queue: Queue) -> None:
    outbox = OutboxStore(queue.database)
    await outbox.add([pushed(5)])
    for number in (4, 5):
        await outbox.finish(pushed(number), "failed", reason="refused")
    listed = await queue.json("list", "--state", "failed", "-n", "2")
    assert [row["id"] for row in listed["rows"]] == ["out:5", "out:4"]
    assert listed["more"] is True


async def test_drop_gives_up_with_the_reason(queue: Queue) -> None:
    done = await queue.run("drop", "in:1", "in:2", "out:2", "in:3", "--reason", "spam", "--yes")
    assert done.exit_code == 1
    assert "3 dropped: in:1, in:2, out:2." in done.stdout
    assert "in:3 was left as it is: it is delivered already." in done.stderr
    assert await queue.states() == {
        **BEFORE,
        "in:1": "dropped",
        "in:2": "dropped",
        "out:2": "dropped",
    }
    assert (await queue.json("show", "in:1"))["reason"] == "dropped by an admin: spam"


async def test_drop_all_asks_first_and_takes_only_what_is_parked(queue: Queue) -> None:
    refused = await queue.run("drop", "--all", text="n\n")
    assert refused.exit_code == 1
    assert "Drop all that is parked (2)? It cannot be undone." in refused.stdout
    assert "Nothing was dropped. --yes asks nothing." in refused.stderr
    one = await queue.run("drop", "--all", "--direction", "in", text="n\n")
    assert "Drop all that is parked (1)?" in one.stdout
    assert await queue.states() == BEFORE
    agreed = await queue.run("drop", "--all", text="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert await queue.states() == {**BEFORE, "in:1": "dropped", "out:1": "dropped"}
    nothing = await queue.run("drop", "--all")
    assert (nothing.exit_code, nothing.stdout) == (0, "Nothing is parked.\n")


async def test_drop_of_named_rows_asks_too_and_without_an_answer_drops_nothing(
    queue: Queue,
) -> None:
    for typed in ("n\n", ""):
        refused = await queue.run("drop", "in:1", "out:2", text=typed)
        assert refused.exit_code == 1
        assert "Drop in:1, out:2? It cannot be undone." in refused.stdout
        assert "Nothing was dropped. --yes asks nothing." in refused.stderr
    assert (await queue.run("drop", "--all", "--json")).exit_code == 2
    assert (await queue.run("drop", "in:1", "--json")).exit_code == 2
    assert await queue.states() == BEFORE
    agreed = await queue.run("drop", "in:1", text="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert (await queue.json("drop", "out:2", "--yes"))["dropped"] == ["out:2"]
    assert await queue.states() == {**BEFORE, "in:1": "dropped", "out:2": "dropped"}


async def test_a_database_that_is_down_is_an_error_that_names_the_setting(
    command: Command, made: Path
) -> None:
    config = yaml.safe_load(made.read_text())
    config["database"] = {"url": f"postgresql://nobody@127.0.0.1:{free_port()}/none"}
    made.write_text(yaml.safe_dump(config))
    for arguments in (("list",), ("show", "in:1"), ("retry", "in:1"), ("drop", "in:1", "--yes")):
        words = ["queue", arguments[0], "-c", str(made), *arguments[1:]]
        result = await asyncio.to_thread(command, *words)
        assert result.exit_code == 1
        assert "database.url" in result.stderr
        assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("drop",),
        ("retry", "in:1", "--all"),
        ("retry", "in:1", "--direction", "in"),
        ("retry", "1"),
        ("show", "in:99999999999999999999"),
        ("show", "in:9999999999999999999"),
        ("show", "$event"),
        ("list", "--limit", "0"),
        ("list", "--state", "delivered"),
        ("drop", "in:1", "--reason", "x" * 201),
        ("drop", "in:1", "--reason", "no\udcfftext"),
    ],
)
async def test_wrong_usage_changes_nothing(queue: Queue, arguments: tuple[str, ...]) -> None:
    assert (await queue.run(*arguments)).exit_code == 2
    assert await queue.states() == BEFORE


async def test_a_row_that_is_not_there_is_an_error_that_says_where_to_look(queue: Queue) -> None:
    shown = await queue.run("show", "out:1000")
    assert shown.exit_code == 1
    assert "There is no out:1000. `dm-bridge queue list` tells what there is." in shown.stderr


async def test_a_bridge_that_never_ran_has_no_queue_and_none_is_made(
    command: Command, made: Path
) -> None:
    listed = await asyncio.to_thread(command, "queue", "list", "-c", str(made))
    assert listed.exit_code == 1
    assert "the bridge has not run with this configuration yet" in listed.stderr
    assert not (made.parent / "data").exists()


@pytest.mark.parametrize("name", ["list", "show", "retry", "drop"])
def test_every_command_has_help_with_an_example(command: Command, name: str) -> None:
    result = command("queue", name, "--help")
    assert result.exit_code == 0
    assert f"dm-bridge queue {name}" in " ".join(result.stdout.split()).replace("dm- ", "dm-")
    assert "Exit codes: 0" in result.stdout
