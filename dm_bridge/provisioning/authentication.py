"""Who asks: by the shared secret, a Matrix access token, or a Matrix OpenID token.

The rule that must never break: without the shared secret, nobody is anybody but the user for whom our own
homeserver says the token is; and nobody is served whom the admin does not permit.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import structlog
from aiohttp import web

from dm_bridge.bridge.audit_log import API, AuditLog
from dm_bridge.direct.document import is_user_id
from dm_bridge.errors import BridgeError
from dm_bridge.ids import UserId
from dm_bridge.provisioning.limits import Limit, address_of
from dm_bridge.provisioning.refusals import Refusal, limited, refusal_of
from dm_bridge.provisioning.settings import ProvisioningSettings
from dm_bridge.store.audit_log import Act
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

REMEMBERED = 60.0
"""Seconds for which a token counts without asking again; so much later a logout on the homeserver is noticed."""
MAX_REMEMBERED = 1000
UNKNOWN_A_MINUTE = 60
"""Tokens that are not known yet, from one address."""
ASKED_AT_ONCE = 16
OPENID = "openid:"


class Tokens(Protocol):
    """`dm_bridge.matrix.identity.Identities`."""

    async def by_access_token(self, token: str) -> UserId | None: ...
    async def by_openid(self, token: str) -> UserId | None: ...


class Authentication:
    """Finds out who asks. ``clock`` never jumps."""

    def __init__(
        self,
        settings: ProvisioningSettings,
        tokens: Tokens,
        clock: Callable[[], float] = time.monotonic,
        audit: AuditLog | None = None,
    ) -> None:
        self._audit = audit or AuditLog()
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[UserId, float]] = OrderedDict()
        self._unknown = Limit(UNKNOWN_A_MINUTE, 60.0, clock)
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)

    async def user_of(self, request: web.Request) -> UserId:
        """Who asks. Raises `Refusal`."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if not token:
            raise Refusal(401, "M_MISSING_TOKEN", phrase("provisioning-no-token"))
        named = request.query.get("user_id", "")
        secret = self._is_secret(token)
        if secret:
            user = _named(named)
        else:
            user = await self._by_token(token, address_of(request))
            if named and named != user:
                raise _unknown_token()
        if not self._settings.may_use(user):
            details = {"reason": phrase("provisioning-not-open-to-them")}
            await self._audit.record_now_and_then(user, Act.REFUSED, user, details, API)
            raise Refusal(403, "M_FORBIDDEN", phrase("provisioning-not-open"))
        if secret:
            await self._audit.record_now_and_then("shared secret", Act.SECRET_USED, user, {}, API)
        return user

    def _is_secret(self, token: str) -> bool:
        secret = self._settings.shared_secret
        given = token.encode("utf-8", "surrogateescape")
        return secret is not None and hmac.compare_digest(given, secret.encode())

    async def _by_token(self, token: str, address: str) -> UserId:
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if (user := self._remembered(key)) is not None:
            return user
        self._unknown.take(address, phrase("provisioning-too-many-tokens"))
        if not self._settings.matrix_auth:
            raise _unknown_token()
        if self._asking.locked():
            raise limited(phrase("provisioning-asking-tokens"), 1.0)
        async with self._asking:
            found = await self._ask(token)
        if found is None:
            log.info("a request with an unknown token was refused", address=address)
            raise _unknown_token()
        self._known[key] = found, self._clock() + REMEMBERED
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def _ask(self, token: str) -> UserId | None:
        try:
            if token.startswith(OPENID):
                found = await self._tokens.by_openid(token.removeprefix(OPENID))
            else:
                found = await self._tokens.by_access_token(token)
        except BridgeError as error:
            log.warning("the homeserver could not say whose token it is", reason=str(error))
            raise refusal_of(error) from error
        return found if found is not None and self._settings.is_local(found) else None

    def _remembered(self, key: bytes) -> UserId | None:
        user, until = self._known.get(key, (None, 0.0))
        if user is not None and until <= self._clock():
            del self._known[key]
            return None
        return user


def _named(user: str) -> UserId:
    if not user:
        raise Refusal(400, "M_MISSING_PARAM", phrase("provisioning-no-user"))
    if not is_user_id(user):
        raise Refusal(400, "M_INVALID_PARAM", phrase("provisioning-odd-user"))
    return UserId(user)


def _unknown_token() -> Refusal:
    return Refusal(401, "M_UNKNOWN_TOKEN", phrase("provisioning-unknown-token"))
