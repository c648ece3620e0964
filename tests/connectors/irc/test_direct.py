"""IRC through the whole bridge, on a real server: what histories of nicks make of the user's `m.direct`."""

from __future__ import annotations

from dm_bridge.ids import ContactId, RoomId
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.whole_bridge import MatrixUser, WholeBridge

from .support import network_for, user


async def test_two_who_swap_nicks_swap_keys_and_keep_their_rooms(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, channels=("#swap",), methods=["none"])
    async with (
        WholeBridge(network) as bridge,
        user(ngircd, "anna28") as anna,
        user(ngircd, "beth28") as beth,
    ):
        alice = bridge.user("alice")
        await alice.log_in({"nick": "romeo28"})
        await bridge.connected()

        async def chat(nick: str) -> RoomId:
            return await alice.chat_with(ContactId(f"{nick}@net"))

        for somebody in (anna, beth):
            await somebody.join("#swap")
            somebody.say("romeo28", f"{somebody.nick} writes")
        with_anna, with_beth = await chat("anna28"), await chat("beth28")
        for somebody, nick in ((anna, "x28"), (beth, "anna28"), (anna, "beth28")):
            await somebody.change_nick(nick)
        anna.say("romeo28", "I was anna")
        beth.say("romeo28", "I was beth")
        for room, text in ((with_anna, "I was anna"), (with_beth, "I was beth")):
            await bridge.until(lambda r=room, t=text: t in texts(alice, r), text)  # type: ignore[misc]
        expected = {
            bridge.ghost(ContactId("anna28@net")): [with_beth],
            bridge.ghost(ContactId("beth28@net")): [with_anna],
        }
        await bridge.until(lambda: alice.direct == expected, f"`m.direct` is {expected}")


def texts(who: MatrixUser, room: RoomId) -> list[str]:
    return [text for _, text in who.sees(room)]
