"""The history of a first login: how many archived messages a second become rooms with messages.

Each round has a new user, whose account on the real XMPP server has an archive. Through the bridge the clock runs
from before the login until their /sync shows the last message; reading the archive is part of it. Against that
every call that cannot be avoided, and none else: register, name, createRoom, join, m.direct of the ghost, what
can be done in the room, the messages with their times, the marker of what has been read; and m.direct of the
user, once. The bare side does it for `IN_FLIGHT` chats at a time, with one request in flight for each; and for one
user as well, because a homeserver is slower the more rooms its user has. Which side is first changes by rounds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from statistics import median

from benchmarks.media import Memory, Usage
from benchmarks.people import PEOPLE
from benchmarks.processor import Processor
from benchmarks.report import Figures, Row
from benchmarks.tally import Disorder, Tally, body
from benchmarks.world import PASSWORD, PATIENCE, World, fresh
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.prosody_archive import Archived

EACH = 20
FEATURES = "com.beeper.room_features"
IN_FLIGHT = 16
SLOWEST = 5.0
"""Messages a second below which it is given up."""
MOST_MEMORY = 32.0


class Histories:
    """``conversations`` in each archive, of `EACH` messages.

    ``memory``: what each import cost the bridge. ``speed``: of the processor, in seconds for the same work.
    """

    def __init__(self, world: World, conversations: int) -> None:
        self._world = world
        self._conversations = conversations
        self.memory: list[Memory] = []
        self.speed: list[Figures] = []

    async def rounds(self, rounds: int) -> AsyncIterator[Figures]:
        """Messages per second."""
        async with Processor() as processor:
            for number in range(rounds):
                sides = [self._bare, self._through_bridge]
                measured: dict[str, tuple[float, float]] = {}
                for side in sides if number % 2 == 0 else sides[::-1]:
                    begin = time.monotonic()
                    rate = await side(f"h-{number}-{len(measured)}")
                    measured[side.__name__] = rate, processor.since(begin)
                both = zip(measured["_bare"], measured["_through_bridge"], strict=True)
                rates, speeds = (Figures(*pair) for pair in both)
                self.speed.append(speeds)
                yield rates

    async def _bare(self, run: str) -> float:
        chats = self._conversations
        world, ghosts = self._world, fresh("old", chats)
        account = await world.stack.synapse.register_user(run, PASSWORD)
        features = await world.alice.state_content(world.rooms["juliet"], FEATURES) or {}
        async with MatrixUser(
            world.stack.synapse.url, account.user_id, account.access_token
        ) as user:
            tally = Tally(user)
            tally.expect(run, dict.fromkeys(ghosts, EACH))
            start, rooms = await world.bare.bring_chats(
                run,
                ghosts,
                EACH,
                room_body={**world.room_body, "invite": [user.user_id]},
                content=world.message_content,
                user=user.user_id,
                token=account.access_token,
                in_flight=IN_FLIGHT,
                state={FEATURES: features},
            )
            await user.set_m_direct({world.bare.user(ghost): [rooms[ghost]] for ghost in rooms})
            marked = time.monotonic()
            end = await tally.finished(run, 0, PATIENCE)
            return chats * EACH / (max(end, marked) - start)

    async def _through_bridge(self, run: str) -> float:
        stack, contacts = self._world.stack, fresh("past", self._conversations)
        jid = await stack.prosody.add_user(run, PASSWORD)
        assert isinstance(stack.prosody, Prosody)
        stack.prosody.write_archive(jid, archive(run, contacts))
        async with stack.matrix_user(run) as user:
            management = await stack.open_bot_chat(user)
            tally = Tally(user)
            tally.expect(run, dict.fromkeys(contacts, EACH))
            usage, start = Usage(stack.bridge.pid), time.monotonic()
            await stack.log_in(user, management, jid, PASSWORD)
            messages = self._conversations * EACH
            end = await tally.finished(run, 0, PATIENCE + messages / SLOWEST)
            self.memory.append(usage.end())
            await user.wait_for(lambda s: (s.body or "").startswith("I have brought over"))
            await _quiet(user, len(contacts))
            return messages / (end - start)

    def speed_row(self, rates: Sequence[Figures]) -> Row:
        """What the ratio would be, had the processor been equally fast for both sides."""
        equal = [
            Figures(rate.bare * speed.bare, rate.bridge * speed.bridge)
            for rate, speed in zip(rates, self.speed, strict=True)
        ]
        return Row(
            "the processor meanwhile, for the same work",
            f"{median(each.bare for each in self.speed) * 1000:.1f} ms",
            f"{median(each.bridge for each in self.speed) * 1000:.1f} ms",
            f"× {median(each.bridge / each.bare for each in equal):.2f} if it were equal",
        )

    def memory_row(self) -> Row:
        """How much more memory the bridge had meanwhile."""
        most = max(each.most - each.before for each in self.memory)
        before = max(each.before for each in self.memory)
        return Row(
            "memory meanwhile",
            "",
            f"{before:.0f} MB before",
            f"+ {most:.1f} MB",
            f"at most {MOST_MEMORY:.0f} MB",
            most <= MOST_MEMORY,
        )


def archive(run: str, contacts: list[str]) -> list[Archived]:
    """The last messages of each, by turns."""
    begin = int(time.time()) - len(contacts) * EACH - 1000
    return [
        Archived(
            f"{contact}@{PEOPLE}", body(run, contact, n), False, begin + n * len(contacts) + at
        )
        for n in range(EACH)
        for at, contact in enumerate(contacts)
    ]


async def _quiet(user: MatrixUser, chats: int) -> None:
    """Raise `Disorder` where the user was notified, or a chat is no direct chat."""
    document = await user.m_direct() or {}
    marked = sum(PEOPLE in ghost for ghost in document)
    if marked != chats:
        raise Disorder(f"m.direct has {marked} of {chats} chats")
    if (await user.request("GET", "v3/notifications"))["notifications"]:
        raise Disorder("the user was notified of what is old")
