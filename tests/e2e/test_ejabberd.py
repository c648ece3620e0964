"""What people do in a private chat, on ejabberd: the same conversations as on Prosody, one of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from dm_bridge.testing.ejabberd import Ejabberd
from dm_bridge.testing.stack import Stack
from tests.e2e import (
    test_attention,
    test_main_path,
    test_media,
    test_missed,
    test_people,
    test_revisions,
)
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import pair, within


@pytest_asyncio.fixture(scope="module")
async def stack(workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge of our own, for ejabberd."""
    directory = workplace("ejabberd")
    directory.mkdir(parents=True)
    server = await Ejabberd.start(directory, largest_file=100_000_000)
    stack = await Stack.start(
        directory / "stack",
        prosody=server,
        domain="ejabberd.localhost",
        config={"media": {"private_hosts": [server.host]}},
    )
    yield stack
    await stack.stop()
    await server.stop()


test_text_goes_both_ways_in_order = test_main_path.test_text_goes_both_ways_in_order
test_the_users_other_device = (
    test_main_path.test_what_the_user_writes_with_another_client_appears_as_the_user
)
test_a_contact_edits_and_retracts = test_revisions.test_a_contact_edits_and_retracts
test_a_contact_reacts_and_answers = test_revisions.test_a_contact_reacts_and_answers
test_a_user_edits_reacts_answers_and_redacts = (
    test_revisions.test_a_user_edits_reacts_answers_and_redacts
)
test_a_picture_of_a_contact_is_a_picture = test_media.test_a_picture_of_a_contact_is_a_picture
test_a_picture_of_a_user_is_uploaded_edited_and_taken_back = (
    test_media.test_a_picture_of_a_user_is_uploaded_edited_and_taken_back
)
test_a_contact_is_seen_typing = (
    test_attention.test_a_contact_is_seen_typing_until_they_stop_or_write
)
test_reads_on_all_devices = (
    test_attention.test_what_the_user_reads_on_one_device_is_read_on_the_others
)
test_who_is_blocked = test_people.test_who_is_blocked_does_not_come_through_until_that_is_taken_back


async def test_what_was_written_while_the_bridge_was_dead_comes_once_and_in_order(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await stack.bridge.kill()
        expected = await test_missed.exchange(p, "dead", 5)
        await stack.bridge.run()
        await test_missed.last_word(p, "dead end")
        assert await test_missed.shown(p, room, "dead") == [*expected, (p.ghost, "dead end")]


async def test_a_name_that_only_the_vcard_has_is_seen_when_the_contact_writes(stack: Stack) -> None:
    async with pair(stack) as p:
        await p.juliet.publish_vcard("Juliet C.")
        await p.first_chat()
        await within(20, lambda: test_people.is_called(p, "Juliet C."))
        await p.juliet.publish_vcard("Juliet M.")
        await stack.bridge.stop()
        await stack.bridge.run()  # it has not read the vCard in the last hour
        p.juliet.send(p.romeo, "I am married")
        await p.alice.wait_for_text("I am married")
        await within(20, lambda: test_people.is_called(p, "Juliet M."))
