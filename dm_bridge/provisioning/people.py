"""Whom a user knows, finds, and begins a chat with."""

from __future__ import annotations

from collections.abc import Sequence

from dm_bridge.bridge.commands.people_work import People, in_time
from dm_bridge.bridge.commands.resolving import By, Meant, Resolving, title
from dm_bridge.bridge.names import clean_name
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId, GhostNamespace, RoomId
from dm_bridge.network.api import Contact, capabilities_of
from dm_bridge.network.people import Lists, readable
from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.provisioning.choosing import Choosing
from dm_bridge.provisioning.refusals import Refusal, not_supported
from dm_bridge.provisioning.wire import Contacts, FoundUsers, Person, SearchUsers
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.texts import phrase

MOST_FOUND = 100


class PeopleCalls:
    """Answers calls about people."""

    def __init__(
        self,
        choosing: Choosing,
        resolving: Resolving,
        people: People,
        store: PeopleStore,
        portals: PortalStore,
        ghosts: GhostNamespace,
    ) -> None:
        self._choosing = choosing
        self._resolving = resolving
        self._people = people
        self._store = store
        self._portals = portals
        self._ghosts = ghosts

    async def contacts(self, call: Call) -> Contacts:
        by = self._choosing.by(call)
        session = by.session
        if not (capabilities_of(session).contacts and isinstance(session, Lists)):
            raise not_supported(phrase("provisioning-no-contact-list"))
        contacts = await in_time(session.contacts())
        return Contacts(contacts=await self._told(by, contacts))

    async def search(self, call: Call) -> FoundUsers:
        query = call.read(SearchUsers).query
        by = self._choosing.by(call)
        can = capabilities_of(by.session)
        if not (can.contacts or can.search):
            raise not_supported(phrase("provisioning-no-search"))
        if not query.strip():
            return FoundUsers(results=[])
        found = await self._people.search(by, query)
        if found.failed and not found.contacts:
            raise NetworkError(found.problem)
        return FoundUsers(results=await self._told(by, found.contacts[:MOST_FOUND]))

    async def resolve(self, call: Call) -> Person:
        meant = await self._meant(call)
        contact = await meant.session.contact(meant.contact)
        return (await self._told(_by(meant), [contact]))[0]

    async def create(self, call: Call) -> Answer:
        meant = await self._meant(call)
        if await self._people.is_blocked(meant):
            raise Refusal(403, "M_FORBIDDEN", phrase("provisioning-blocked"))
        before = await self._portals.get(self._people.key(meant))
        portal, contact = await self._people.open(meant)
        person = (await self._told(_by(meant), [contact]))[0]
        new = before is None or before.room is None
        person = person.model_copy(update={"dm_room_mxid": portal.room})
        return Answer.of(person, 201 if new else 200)

    async def _meant(self, call: Call) -> Meant:
        by = self._choosing.by(call)
        return await self._resolving.addressed(call.user, by, call.path["identifier"])

    async def _told(self, by: By, contacts: Sequence[Contact]) -> list[Person]:
        rooms: dict[ContactId, RoomId | None]
        if len(contacts) == 1:
            key = self._people.key(Meant(by.login, by.session, by.network, contacts[0].id))
            portal = await self._portals.get(key)
            rooms = {} if portal is None else {portal.contact: portal.room}
        else:
            rooms = {row.contact: row.room for row in await self._portals.of_login(by.login.id)}
        ghosts = await self._store.ghosts(by.network.name, [each.id for each in contacts])
        told = []
        for each in contacts:
            ghost = ghosts.get(each.id)
            known = clean_name(ghost.name) if ghost is not None else None
            read = readable(by.network, each.id)
            told.append(
                Person(
                    id=each.id,
                    name=title(each) or known or read,
                    avatar_url=ghost.avatar_url if ghost is not None else None,
                    identifiers=[by.network.contact_uri(each.id)],
                    mxid=self._ghosts.user_id(by.network.name, each.id),
                    dm_room_mxid=rooms.get(each.id),
                )
            )
        return told


def _by(meant: Meant) -> By:
    return By(meant.login, meant.session, meant.network)
