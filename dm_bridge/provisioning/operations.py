"""All that can be asked for: method, path, parameters, bodies and answers. Routes and the OpenAPI document follow.

The rule that must never break: what is not listed here is not served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from dm_bridge.provisioning import wire, wire_admin, wire_watch
from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.provisioning.services import Services

PREFIX = "/_matrix/provision"
VERSION = "/v3"


Work = Callable[[Services, Call], Awaitable[BaseModel | Answer]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """``schema``: JSON Schema of its value."""

    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Operation:
    """``path``: below `PREFIX`. ``body``: of the request, if it has one. ``answers``: by status.

    ``errors``: codes that it alone answers, by status, for the documentation. ``waits``: whether it waits for
    something to happen; then it has a budget of its own.
    """

    name: str
    method: str
    path: str
    tag: str
    summary: str
    work: Work
    answers: dict[int, type[BaseModel]]
    body: type[BaseModel] | None = None
    query: dict[str, Parameter] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    waits: bool = False


LOGIN = {"login_id": Parameter("one of the user's logins; by default the oldest that is connected")}
AGAIN = {
    "login_id": Parameter(
        "a login to make anew; if the user logs in to another account, this one is logged out"
    )
}
TXN = {"txn_id": Parameter("of the step; makes it safe to ask again")}
LIMIT = {
    "limit": Parameter(
        "how many changes at most, up to 200", {"type": "integer", "minimum": 1, "default": 20}
    )
}
SEEN = {"seen": Parameter("`digest` of the snapshot that the client has")}
PAGE = {
    "after": Parameter("`next` of the page before"),
    "limit": Parameter(
        "how many at most, up to 200", {"type": "integer", "minimum": 1, "default": 50}
    ),
}
FILTER = {
    "search": Parameter("a part of the user id, or of the address on the network"),
    "broken": Parameter(
        "only logins that the network refuses", {"type": "string", "enum": ["true", "false"]}
    ),
}
PATHS = {
    "flowID": Parameter("the id of a login flow"),
    "loginProcessID": Parameter("`login_id` of the step"),
    "stepID": Parameter("`step_id` of the step"),
    "loginID": Parameter("one of the user's logins, or `all`"),
    "identifier": Parameter("an address on the network, or a ghost's user id"),
    "roomID": Parameter("the room of one of the user's chats"),
    "deliveryID": Parameter("the id of something that has not arrived"),
}
_NO_LOGIN = {400: "`FI.MAU.NOT_LOGGED_IN`: the user has no login that is connected"}
_UNUSABLE = {
    **_NO_LOGIN,
    404: "`M_NOT_FOUND`: no such login of this user; `M_UNRECOGNIZED`: this network has no such thing",
}
_ADMINS = {403: "`M_FORBIDDEN`: the user is no admin of the bridge"}
_ENDED = {
    400: "`M_BAD_STATE`: that is not the step which waits; `M_BAD_JSON`, `M_NOT_JSON`: the body makes no sense; "
    "`M_INVALID_PARAM`: a value makes no sense, and the login has ended",
    403: "`M_FORBIDDEN`: the network refuses the login, which has ended",
    410: "the login has been cancelled, has timed out, or was finished (`FI.MAU.BRIDGE.LOGIN_…`)",
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "whoami",
        "GET",
        "/v3/whoami",
        "account",
        "The bridge, and the user's logins.",
        lambda s, call: s.account.whoami(call),
        {200: wire.Whoami},
    ),
    Operation(
        "capabilities",
        "GET",
        "/v3/capabilities",
        "account",
        "What can be done about people.",
        lambda s, call: s.account.capabilities(call),
        {200: wire.Capabilities},
        query=LOGIN,
    ),
    Operation(
        "getLoginFlows",
        "GET",
        "/v3/login/flows",
        "account",
        "The ways to log in.",
        lambda s, call: s.account.login_flows(call),
        {200: wire.LoginFlows},
    ),
    Operation(
        "startLogin",
        "POST",
        "/v3/login/start/{flowID}",
        "account",
        "Begin a login; answers with its first step.",
        lambda s, call: s.logins.start(call),
        {200: wire.LoginStep},
        query=AGAIN,
        errors={404: "`M_NOT_FOUND`: no such flow, or no such login of this user"},
    ),
    Operation(
        "submitLoginStep",
        "POST",
        "/v3/login/step/{loginProcessID}/{stepID}/user_input",
        "account",
        "Answer a step; answers with the next one, or with `complete`.",
        lambda s, call: s.logins.submit(call),
        {200: wire.LoginStep},
        body=wire.StepValues,
        query=TXN,
        errors=_ENDED,
    ),
    Operation(
        "waitForLoginStep",
        "POST",
        "/v3/login/step/{loginProcessID}/{stepID}/display_and_wait",
        "account",
        "Wait until the user has done elsewhere what is shown; for half a minute, then ask again.",
        lambda s, call: s.logins.wait(call),
        {200: wire.LoginStep},
        query=TXN,
        errors=_ENDED,
    ),
    Operation(
        "cancelLogin",
        "POST",
        "/v3/login/cancel/{loginProcessID}",
        "account",
        "Give a login up.",
        lambda s, call: s.logins.cancel(call),
        {200: wire.Nothing},
    ),
    Operation(
        "getLoginIDs",
        "GET",
        "/v3/logins",
        "account",
        "The ids of the user's logins.",
        lambda s, call: s.account.logins(call),
        {200: wire.LoginIds},
    ),
    Operation(
        "logout",
        "POST",
        "/v3/logout/{loginID}",
        "account",
        "Log out, and forget the password; the rooms stay.",
        lambda s, call: s.account.logout(call),
        {200: wire.Nothing},
    ),
    Operation(
        "getContacts",
        "GET",
        "/v3/contacts",
        "people",
        "The contact list.",
        lambda s, call: s.people.contacts(call),
        {200: wire.Contacts},
        query=LOGIN,
        errors=_UNUSABLE,
    ),
    Operation(
        "searchUsers",
        "POST",
        "/v3/search_users",
        "people",
        "Look for people in the contact list, and in a directory of the network.",
        lambda s, call: s.people.search(call),
        {200: wire.FoundUsers},
        body=wire.SearchUsers,
        query=LOGIN,
        errors=_UNUSABLE,
    ),
    Operation(
        "resolveIdentifier",
        "GET",
        "/v3/resolve_identifier/{identifier}",
        "people",
        "Whom an address means; whether there is such a person, the network may not tell.",
        lambda s, call: s.people.resolve(call),
        {200: wire.Person},
        query=LOGIN,
        errors=_UNUSABLE,
    ),
    Operation(
        "createDM",
        "POST",
        "/v3/create_dm/{identifier}",
        "people",
        "Open the chat with somebody; 201 when there was none.",
        lambda s, call: s.people.create(call),
        {200: wire.Person, 201: wire.Person},
        query=LOGIN,
        errors=_UNUSABLE | {403: "`M_FORBIDDEN`: the user has blocked this contact"},
    ),
    Operation(
        "getDirect",
        "GET",
        "/v3/direct/chats",
        "direct",
        "How the user's direct chats are.",
        lambda s, call: s.direct.status(call),
        {200: wire.DirectInfo},
    ),
    Operation(
        "getDirectHistory",
        "GET",
        "/v3/direct/history",
        "direct",
        "What became of the user's m.direct, in words, and what stood there before and after.",
        lambda s, call: s.direct.history(call),
        {200: wire.DirectHistory},
        query=LIMIT,
    ),
    Operation(
        "markDirect",
        "POST",
        "/v3/direct/mark/{roomID}",
        "direct",
        "The user decides that a chat is a direct one.",
        lambda s, call: s.direct.mark(call),
        {200: wire.DirectInfo},
    ),
    Operation(
        "unmarkDirect",
        "POST",
        "/v3/direct/unmark/{roomID}",
        "direct",
        "The user decides that a chat is none; the bridge leaves it so.",
        lambda s, call: s.direct.unmark(call),
        {200: wire.DirectInfo},
    ),
    Operation(
        "repairDirect",
        "POST",
        "/v3/direct/repair",
        "direct",
        "Look now, and put right what is wrong.",
        lambda s, call: s.direct.repair(call),
        {200: wire.DirectRepaired},
    ),
    Operation(
        "getDeliveries",
        "GET",
        "/v3/deliveries",
        "deliveries",
        "What of the user's messages has not arrived, and why.",
        lambda s, call: s.deliveries.list(call),
        {200: wire_watch.Deliveries},
    ),
    Operation(
        "retryDelivery",
        "POST",
        "/v3/deliveries/{deliveryID}/retry",
        "deliveries",
        "Try something again, in its old place.",
        lambda s, call: s.deliveries.retry(call),
        {200: wire_watch.DeliveriesRetried},
        errors=_NO_LOGIN,
    ),
    Operation(
        "retryDeliveries",
        "POST",
        "/v3/deliveries/retry",
        "deliveries",
        "Try everything again that can be.",
        lambda s, call: s.deliveries.retry_all(call),
        {200: wire_watch.DeliveriesRetried},
        errors=_NO_LOGIN,
    ),
    Operation(
        "watch",
        "GET",
        "/v3/watch",
        "account",
        "Everything of the user's: at once if it is not what the client has seen, else when something changes, or "
        "after 25 seconds.",
        lambda s, call: s.watching.watch(call),
        {200: wire_watch.Snapshot},
        query=SEEN,
        waits=True,
    ),
    Operation(
        "getAdminOverview",
        "GET",
        "/v3/admin/overview",
        "admin",
        "How the bridge is: its parts, its queues and its processes.",
        lambda s, call: s.admin.overview(call),
        {200: wire_admin.AdminOverview},
        errors=_ADMINS,
    ),
    Operation(
        "getAdminLogins",
        "GET",
        "/v3/admin/logins",
        "admin",
        "All logins, page by page.",
        lambda s, call: s.admin.logins(call),
        {200: wire_admin.AdminLogins},
        query=PAGE | FILTER,
        errors=_ADMINS,
    ),
    Operation(
        "getAdminAccounts",
        "GET",
        "/v3/admin/accounts",
        "admin",
        "How the m.direct of each user is observed, page by page.",
        lambda s, call: s.admin.accounts(call),
        {200: wire_admin.AdminAccounts},
        query=PAGE,
        errors=_ADMINS,
    ),
    Operation(
        "getAdminParked",
        "GET",
        "/v3/admin/parked",
        "admin",
        "What is parked in the queues, and why.",
        lambda s, call: s.admin.parked(call),
        {200: wire_admin.AdminParked},
        errors=_ADMINS,
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
