"""What answers calls in a process that has their user."""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.bridge.commands.direct import DirectView
from dm_bridge.bridge.commands.people_work import People
from dm_bridge.bridge.commands.resolving import Resolving
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.second_tries import SecondTries
from dm_bridge.provisioning.account import AccountCalls, SpacesOf
from dm_bridge.provisioning.admin import AdminCalls, Queues, Vitals
from dm_bridge.provisioning.choosing import Choosing
from dm_bridge.provisioning.deliveries import DeliveryCalls
from dm_bridge.provisioning.direct import DirectCalls
from dm_bridge.provisioning.login_calls import LoginCalls
from dm_bridge.provisioning.logins import LoginProcesses
from dm_bridge.provisioning.people import PeopleCalls
from dm_bridge.provisioning.settings import ProvisioningSettings
from dm_bridge.provisioning.watching import Stamp, Watching
from dm_bridge.store.overview import OverviewStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.rooms import RoomStore


@dataclass(frozen=True, slots=True)
class Services:
    """What answers calls about what."""

    account: AccountCalls
    logins: LoginCalls
    people: PeopleCalls
    direct: DirectCalls
    deliveries: DeliveryCalls
    watching: Watching
    admin: AdminCalls


def services_of(
    settings: ProvisioningSettings,
    logins: Logins,
    portals: Portals,
    processes: LoginProcesses,
    rooms: RoomStore,
    people: PeopleStore,
    view: DirectView,
    tries: SecondTries,
    stamp: Stamp,
    overview: OverviewStore,
    queues: Queues,
    vitals: Vitals,
    spaces: SpacesOf,
) -> Services:
    """Made of the parts that the bot's commands use."""
    choosing = Choosing(logins)
    resolving = Resolving(logins, portals.store, settings.ghosts)
    account = AccountCalls(settings, logins, choosing, rooms, spaces)
    direct = DirectCalls(view, people)
    deliveries = DeliveryCalls(tries, people)
    return Services(
        account,
        LoginCalls(logins, choosing, processes),
        PeopleCalls(choosing, resolving, People(portals), people, portals.store, settings.ghosts),
        direct,
        deliveries,
        Watching(vitals.name, logins, account, direct, deliveries, stamp, vitals.holds),
        AdminCalls(settings.administers, logins, overview, queues, vitals),
    )
