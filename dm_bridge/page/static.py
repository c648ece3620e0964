"""The page's files, as the package brings them; read once, and small.

The rule that must never break: nothing is served that is not one of them, and a browser runs nothing else here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import web

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    type: str
    etag: str


class StaticFiles:
    """Answers requests for the files beside this module, in ``static``."""

    def __init__(self) -> None:
        self._files = {}
        for each in (files(__package__) / "static").iterdir():
            suffix = f".{each.name.rpartition('.')[2]}"
            if suffix in TYPES:
                content = each.read_bytes()
                etag = hashlib.sha256(content).hexdigest()[:32]
                self._files[each.name] = _File(content, TYPES[suffix], etag)

    async def answer(self, request: web.Request) -> web.Response:
        """The file that is named in the path; the page itself if none is."""
        file = self._files.get(request.match_info.get("name") or INDEX)
        if file is None:
            raise web.HTTPNotFound
        known = {tag.value for tag in request.if_none_match or ()}
        response = (
            web.Response(status=304, headers=HEADERS)
            if file.etag in known
            else web.Response(
                body=file.content, content_type=file.type, charset="utf-8", headers=HEADERS
            )
        )
        response.etag = file.etag
        return response
