"""The page's files, as the package brings them, and its words in the bridge's language; read once, and small.

The rule that must never break: nothing is served that is not one of them, and a browser runs nothing else here.
"""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass
from importlib.resources import files

import orjson
from aiohttp import web

from dm_bridge.page.words import direction, spoken
from dm_bridge.texts import phrase

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
WORDS = "words.js"
"""Made of the messages; the other files are beside this module."""
_NAME = re.compile(rb'"(page-[\w-]+)"')
_PLACE = re.compile(r"\{\{([\w-]+)\}\}")
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
        contents = {
            each.name: each.read_bytes() for each in (files(__package__) / "static").iterdir()
        }
        scripts = b"".join(text for name, text in contents.items() if name.endswith(".js"))
        words = spoken({name.decode() for name in _NAME.findall(scripts)})
        contents[WORDS] = b"export default " + orjson.dumps(words) + b";\n"
        contents[INDEX] = _filled(contents[INDEX], words[0]["language"])
        self._files = {}
        for name, content in contents.items():
            suffix = f".{name.rpartition('.')[2]}"
            if suffix in TYPES:
                etag = hashlib.sha256(content).hexdigest()[:32]
                self._files[name] = _File(content, TYPES[suffix], etag)

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


def _filled(index: bytes, language: str) -> bytes:
    """The page with its words, which stand in it as ``{{name of a message}}``."""
    about = {"language": language, "direction": direction(language)}

    def put(place: re.Match[str]) -> str:
        name = place[1]
        return html.escape(about[name] if name in about else phrase(name))

    return _PLACE.sub(put, index.decode()).encode()
