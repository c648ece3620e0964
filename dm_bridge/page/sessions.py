"""Who is signed in on the page: links that the bot gives, and cookies.

A link's token stands behind the ``#`` of its address, which browsers send to nobody. It is shown to the bridge
first to learn whose it is, and used up only when the person has confirmed that they are that user: so neither
does a preview use it up, nor does anybody land in an account that a stranger sent them.

The rule that must never break: nobody is anybody here but the user whom the bot gave the link to; and a request
that another site made counts for nothing, whatever cookie comes with it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from urllib.parse import unquote

import structlog
from aiohttp import web

from dm_bridge.ids import UserId
from dm_bridge.page.settings import PageSettings
from dm_bridge.provisioning.limits import Limit, address_of
from dm_bridge.provisioning.refusals import Refusal
from dm_bridge.store.page import PageSession, PageStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

HEADER = "X-DM-Bridge"
"""Every request of the page has it; other sites could send it only if the bridge allowed that, and it does not.

Once somebody is signed in, it names them, percent-encoded: a tab gets nothing of who signs in in another one.
"""
TOKEN_BYTES = 32
TRIES_A_MINUTE = 30
"""Links and cookies that are not known, from one address."""


class Sessions:
    """Makes links and sessions, and knows whose they are. ``entered``: is told who has signed in."""

    def __init__(
        self, store: PageStore, settings: PageSettings, entered: Callable[[UserId], None]
    ) -> None:
        self._store = store
        self._settings = settings
        self._entered = entered
        self._unknown = Limit(TRIES_A_MINUTE, 60.0)

    @property
    def minutes(self) -> int:
        """How long a link works."""
        return max(1, round(self._settings.link_seconds / 60))

    # -- for the bot

    async def link(self, user: UserId) -> str:
        """A new link for ``user``, which works once and for a while."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        await self._store.add_link(_hash(token), user, self._settings.link_seconds)
        return f"{self._settings.url}#enter={token}"

    async def end_all(self, user: UserId) -> int:
        """Sign ``user`` out everywhere; how many sessions there were."""
        return await self._store.end_all(user)

    # -- for the page; all raise `Refusal`

    async def whose(self, request: web.Request, token: str) -> UserId:
        """For whom a link is."""
        self._check_site(request)
        user = await self._store.link_user(_hash(token))
        if user is None:
            raise self._used(request)
        return self._permitted(user)

    async def enter(self, request: web.Request, token: str) -> tuple[PageSession, str]:
        """Use a link up: the session, and the value of its cookie."""
        user = await self.whose(request, token)
        cookie = secrets.token_urlsafe(TOKEN_BYTES)
        session = await self._store.use_link(
            _hash(token), _hash(cookie), self._settings.session_seconds
        )
        if session is None:
            raise self._used(request)
        log.info("a user has signed in on the page", user=user, address=address_of(request))
        self._entered(user)
        return session, cookie

    async def session_of(self, request: web.Request) -> PageSession:
        """Whose session a request belongs to."""
        self._check_site(request)
        cookie = request.cookies.get(self.cookie, "")
        session = await self._store.session(_hash(cookie)) if cookie else None
        if session is None:
            if cookie:
                self._unknown.take(address_of(request), phrase("page-too-many-attempts"))
            raise Refusal(401, "M_UNKNOWN_TOKEN", phrase("page-not-signed-in"))
        asked = unquote(request.headers[HEADER])
        if asked.startswith("@") and asked != session.user:
            raise Refusal(
                401,
                "M_UNKNOWN_TOKEN",
                phrase("page-somebody-else"),
            )
        self._permitted(session.user)
        return session

    async def user_of(self, request: web.Request) -> UserId:
        """Who asks."""
        return (await self.session_of(request)).user

    async def leave(self, request: web.Request) -> None:
        """End the session that a request belongs to."""
        await self.session_of(request)
        await self._store.end(_hash(request.cookies[self.cookie]))

    # -- cookies

    @property
    def cookie(self) -> str:
        """The cookie's name, of this page alone.

        With ``__Host-``, browsers take it over TLS only, and from this very host (RFC 6265bis, section 4.1.3).
        """
        page = hashlib.sha256(self._settings.url.encode()).hexdigest()[:8]
        return f"{'__Host-' if self._settings.encrypted else ''}dm_bridge_{page}"

    def set_cookie(self, response: web.Response, value: str) -> None:
        """Sign a browser in; scripts cannot read it, and requests of other sites do not carry it."""
        response.set_cookie(
            self.cookie,
            value,
            max_age=int(self._settings.session_seconds),
            path="/",
            secure=self._settings.encrypted,
            httponly=True,
            samesite="Strict",
        )

    def delete_cookie(self, response: web.Response) -> None:
        response.del_cookie(
            self.cookie,
            path="/",
            secure=self._settings.encrypted,
            httponly=True,
            samesite="Strict",
        )

    def _check_site(self, request: web.Request) -> None:
        """The page itself asks: its header, and what browsers say of where a request comes from.

        Fetch Metadata (W3C), and the Origin header (RFC 6454, section 7); old browsers send neither.
        """
        origin = request.headers.get("Origin", self._settings.origin).lower()
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if HEADER not in request.headers or site != "same-origin":
            raise Refusal(403, "M_FORBIDDEN", phrase("page-only-itself"))
        if origin != self._settings.origin:
            raise Refusal(
                403,
                "M_FORBIDDEN",
                phrase("page-other-address", url=self._settings.url),
            )

    def _permitted(self, user: UserId) -> UserId:
        if not self._settings.may_use(user):
            raise Refusal(403, "M_FORBIDDEN", phrase("page-not-open"))
        return user

    def _used(self, request: web.Request) -> Refusal:
        self._unknown.take(address_of(request), phrase("page-too-many-attempts"))
        return Refusal(
            403,
            "M_UNKNOWN_TOKEN",
            phrase("page-link-used", bot=self._settings.bot),
        )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
