"""The page over HTTP: its files, signing in and out, and the provisioning API as the person who is signed in.

The rule that must never break: pages of other sites have no part in it: there is no CORS here, and no frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from dm_bridge.page.sessions import Sessions
from dm_bridge.page.settings import PageSettings
from dm_bridge.page.static import StaticFiles
from dm_bridge.provisioning import Provisioning
from dm_bridge.provisioning.answering import Handler, answered, body_of, response
from dm_bridge.provisioning.calls import Answer, Run
from dm_bridge.provisioning.refusals import bad_json
from dm_bridge.provisioning.wire import Nothing
from dm_bridge.store.page import PageSession
from dm_bridge.texts import phrase

PREFIX = "/page"
"""Where it is on the bridge's listener; a proxy brings it to `PageSettings.url`."""


class Token(BaseModel):
    token: str = Field(max_length=100)


class About(BaseModel):
    """What everybody may know: whom to write to."""

    bot: str


class Whose(BaseModel):
    user_id: str


class Signed(BaseModel):
    """``expires_at``: milliseconds since the epoch. ``networks``: their names and titles."""

    user_id: str
    admin: bool
    expires_at: int
    bot: str
    networks: dict[str, str]


class Page:
    """See the module. ``run``: answers a call, wherever its user is. ``networks``: name and title of each."""

    def __init__(
        self,
        settings: PageSettings,
        sessions: Sessions,
        run: Run,
        networks: Sequence[tuple[str, str]],
        counted: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._networks = dict(networks)
        self._static = StaticFiles()
        self._calls = Provisioning(sessions.user_of, run, counted, cors={})

    def add_routes(self, app: web.Application) -> None:
        """Add all paths below `PREFIX`."""
        api = web.Application(middlewares=[_answer])
        api.router.add_get("/about", self._about)
        api.router.add_post("/enter/who", self._who)
        api.router.add_post("/enter", self._enter)
        api.router.add_get("/session", self._session)
        api.router.add_post("/leave", self._leave)
        page = web.Application()
        self._calls.add_routes(page, "/api")
        page.add_subapp("/api", api)
        page.router.add_get("/", self._static.answer)
        page.router.add_get("/{name}", self._static.answer)
        app.router.add_get(PREFIX, self._with_slash)
        app.add_subapp(PREFIX, page)

    async def _with_slash(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(self._settings.url)

    async def _about(self, request: web.Request) -> web.Response:
        return response(Answer.of(About(bot=self._settings.bot)))

    async def _who(self, request: web.Request) -> web.Response:
        user = await self._sessions.whose(request, await _token(request))
        return response(Answer.of(Whose(user_id=user)))

    async def _enter(self, request: web.Request) -> web.Response:
        session, cookie = await self._sessions.enter(request, await _token(request))
        answer = response(Answer.of(self._signed(session)))
        self._sessions.set_cookie(answer, cookie)
        return answer

    async def _session(self, request: web.Request) -> web.Response:
        return response(Answer.of(self._signed(await self._sessions.session_of(request))))

    async def _leave(self, request: web.Request) -> web.Response:
        await self._sessions.leave(request)
        answer = response(Answer.of(Nothing()))
        self._sessions.delete_cookie(answer)
        return answer

    def _signed(self, session: PageSession) -> Signed:
        return Signed(
            user_id=session.user,
            admin=self._settings.may_administer(session.user),
            expires_at=int(session.expires_at.timestamp() * 1000),
            bot=self._settings.bot,
            networks=self._networks,
        )


async def _token(request: web.Request) -> str:
    try:
        return Token.model_validate_json(await body_of(request)).token
    except ValidationError:
        raise bad_json(phrase("page-no-token")) from None


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await answered(request, handler)
