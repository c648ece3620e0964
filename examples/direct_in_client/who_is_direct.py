"""Lists the direct chats of an account, and with whom each is: the m.direct engine in a client, no bridge.

    python3 who_is_direct.py https://matrix.example.org syt_access_token

What m.direct says is taken with a grain of salt: rooms that were left, spaces, bots, upgraded rooms and
malformed values are in many people's lists. Nothing is written.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from dm_bridge.direct import DirectDocument, Membership, examine, facts_of_sync, repaired
from dm_bridge.ids import UserId

FILTER = {"room": {"timeline": {"limit": 0}, "ephemeral": {"types": []}, "include_leave": True}}


def direct_chats(sync: dict[str, Any], account: UserId) -> list[tuple[str, str]]:
    """(person, room) for every direct chat that ``account`` has joined, by a first /sync."""
    events = sync.get("account_data", {}).get("events", [])
    written = [event["content"] for event in events if event["type"] == "m.direct"]
    document = DirectDocument.parse(written[-1] if written else {})
    if not isinstance(document, DirectDocument):
        raise SystemExit(f"m.direct cannot be used: {document.reason.sentence}.")
    rooms = facts_of_sync(sync, account)
    certain = [finding for finding in examine(document, rooms, account).findings if finding.sure]
    return sorted(
        (person, room)
        for person, room in repaired(document, certain).entries()
        if room in rooms and rooms[room].membership is Membership.JOIN
    )


def main(homeserver: str, token: str) -> None:
    """Ask the homeserver, and print one chat a line."""

    def get(path: str) -> Any:
        request = Request(  # noqa: S310 - the user's own homeserver
            f"{homeserver}/_matrix/client/v3/{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    account = UserId(get("account/whoami")["user_id"])
    sync = get("sync?" + urlencode({"filter": json.dumps(FILTER), "set_presence": "offline"}))
    for person, room in direct_chats(sync, account):
        print(person, room)


if __name__ == "__main__":
    main(*sys.argv[1:])
