"""The stylesheet, the script and the icon.

Rule: they are read and compressed once, when the page starts. Their addresses change with their content, so browsers keep
them for good.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from importlib import resources

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

TYPES = {"app.js": "text/javascript", "icon.svg": "image/svg+xml", "style.css": "text/css"}
ICON = "icon.svg"
YEAR_SECONDS = 365 * 86_400


class StaticFiles:
    def __init__(self) -> None:
        folder = resources.files("schedappliance.web").joinpath("static")
        self._contents = {name: folder.joinpath(name).read_bytes() for name in TYPES}
        self._compressed = {name: gzip.compress(content) for name, content in self._contents.items()}
        self._versions = {name: sha256(content).hexdigest()[:12] for name, content in self._contents.items()}

    def address(self, name: str) -> str:
        return f"/static/{name}?{self._versions[name]}"

    async def answer(self, request: Request) -> Response:
        """A file by its name. Where browsers ask for an icon by themselves, there is no name."""
        name = request.path_params.get("name", ICON)
        if name not in self._contents:
            return PlainTextResponse("There is no such file.\n", 404)
        # Without the version, or with that of an older page, the address does not stand for this content.
        is_current = request.url.query == self._versions[name]
        caching = f"max-age={YEAR_SECONDS}, immutable" if is_current else "no-cache"
        headers = {"Cache-Control": caching, "Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self._contents[name], media_type=TYPES[name], headers=headers)
        headers["Content-Encoding"] = "gzip"
        return Response(self._compressed[name], media_type=TYPES[name], headers=headers)
