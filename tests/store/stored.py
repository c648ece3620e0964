"""Values that the store tests share."""

from __future__ import annotations

from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, PortalKey, RemoteId, UserId
from dm_bridge.network.events import RemoteMessage, Text
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginStore

OWNER = UserId("@juliet:example.org")
XMPP = NetworkName("xmpp")
ROMEO = ContactId("romeo@example.net")
GHOST = UserId("@xmpp_romeo=40example.net:example.org")


async def a_login(database: Database, remote: str = "juliet@example.com") -> LoginId:
    return await LoginStore(database).reserve(OWNER, XMPP, ContactId(remote), remote)


async def run_out(database: Database, account: UserId = OWNER) -> None:
    """Let the time be over for which somebody may write for an account."""
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE direct_account SET lease_until = now() - interval '1 second' WHERE account = $1",
            account,
        )


def key_of(login: LoginId, chat: str = "romeo@example.net") -> PortalKey:
    return PortalKey(login, ChatId(chat))


def message(
    number: object, chat: str = "romeo@example.net", body: str = "But soft"
) -> RemoteMessage:
    return RemoteMessage(
        ChatId(chat), RemoteId(f"id-{number}"), ContactId(chat), False, Text(body), 1.5, "Romeo"
    )
