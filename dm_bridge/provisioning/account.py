"""What the bridge is, and which logins a user has."""

from __future__ import annotations

from dm_bridge.bridge.audit_log import API
from dm_bridge.bridge.logins import Logins
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.people import readable
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.choosing import Choosing
from dm_bridge.provisioning.settings import ProvisioningSettings
from dm_bridge.provisioning.wire import (
    BridgeName,
    Capabilities,
    LoginFlow,
    LoginFlows,
    LoginIds,
    LoginState,
    NetworkInfo,
    Nothing,
    Profile,
    ResolveIdentifierCapabilities,
    Whoami,
    WhoamiLogin,
)
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.rooms import RoomStore
from dm_bridge.texts import phrase

_TROUBLE = (
    SessionStatus.TRANSIENT_DISCONNECT,
    SessionStatus.BAD_CREDENTIALS,
    SessionStatus.LOGGED_OUT,
    SessionStatus.UNKNOWN_ERROR,
)


class AccountCalls:
    """Answers calls about it."""

    def __init__(
        self, settings: ProvisioningSettings, logins: Logins, choosing: Choosing, rooms: RoomStore
    ) -> None:
        self._settings = settings
        self._logins = logins
        self._choosing = choosing
        self._rooms = rooms

    async def whoami(self, call: Call) -> Whoami:
        rooms = await self._rooms.management_rooms(call.user)
        return Whoami(
            network=self._name(),
            login_flows=self._flows(),
            homeserver=self._settings.domain,
            bridge_bot=self._settings.bot,
            management_room=next(iter(rooms), None),
            logins=[self._login(row) for row in self._logins.of(call.user)],
            networks=[NetworkInfo(id=each.name, name=each.title) for each in self._logins.networks],
        )

    async def capabilities(self, call: Call) -> Capabilities:
        asked = self._choosing.asked(call)
        rows = self._logins.of(call.user) if asked is None else [asked]
        can = [capabilities_of(by.session) for by in self._choosing.usable(rows)]
        return Capabilities(
            resolve_identifier=ResolveIdentifierCapabilities(
                contact_list=any(each.contacts for each in can),
                search=any(each.search or each.contacts for each in can),
            )
        )

    async def login_flows(self, call: Call) -> LoginFlows:
        return LoginFlows(flows=self._flows())

    async def logins(self, call: Call) -> LoginIds:
        return LoginIds(login_ids=[row.id for row in self._logins.of(call.user)])

    async def logout(self, call: Call) -> Nothing:
        login = call.path["loginID"]
        rows = (
            self._logins.of(call.user)
            if login == "all"
            else [self._choosing.named(call.user, login)]
        )
        for row in rows:
            await self._logins.logout(row.id, door=API)
        return Nothing()

    def _flows(self) -> list[LoginFlow]:
        return [
            LoginFlow(
                id=each.name,
                name=each.title,
                description=phrase("provisioning-flow", network=each.title),
            )
            for each in self._logins.networks
        ]

    def _name(self) -> BridgeName:
        networks = self._logins.networks
        if len(networks) == 1:
            return BridgeName(displayname=networks[0].title, network_id=networks[0].name)
        title = ", ".join(each.title for each in networks) or "dm_bridge"
        return BridgeName(displayname=title, network_id="dm_bridge")

    def _login(self, row: LoginRow) -> WhoamiLogin:
        state, since = self._logins.state(row.id), int(self._logins.since(row.id))
        network = self._logins.network_of(row)
        event = state.status.value
        code = f"{row.network}-{event.lower().replace('_', '-')}"
        return WhoamiLogin(
            state_event=event,
            state_ts=since,
            state=LoginState(
                state_event=state.status,
                timestamp=since,
                error=code if state.status in _TROUBLE else None,
                message=state.reason or None,
            ),
            id=row.id,
            name=row.name,
            profile=Profile(
                username=readable(network, row.remote) if network is not None else row.remote,
                name=row.name,
            ),
            network=row.network,
        )
