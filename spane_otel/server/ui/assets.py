"""The UI's files, served from memory under an address that changes with their content."""

import hashlib
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


def _read_assets() -> dict[str, bytes]:
    folder = files("spane_otel.server.ui").joinpath("static")
    return {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda each: each.name)
        if entry.name.rpartition(".")[2] in MEDIA_TYPES
    }


ASSETS: Final = _read_assets()
"""What is served, by name: nothing else in the file system can be asked for."""

VERSION: Final = hashlib.blake2b(
    b"\0".join(name.encode() + b"\0" + content for name, content in ASSETS.items()), digest_size=8
).hexdigest()
"""One hash for all files, so that modules import each other by relative address and never mix versions."""


def asset_url(name: str) -> str:
    """Return the address of a file.

    Raises:
        KeyError: there is no such file.

    """
    if name not in ASSETS:
        raise KeyError(name)
    return f"/assets/{VERSION}/{name}"


async def serve_asset(request: Request) -> Response:
    """Answer with a file; an address of another version is gone, so that an old page never runs a new module."""
    content = ASSETS.get(request.path_params["name"])
    if content is None or request.path_params["version"] != VERSION:
        return Response("no such file\n", 404, media_type="text/plain")
    media_type = MEDIA_TYPES[request.path_params["name"].rpartition(".")[2]]
    return Response(content, headers=FOREVER, media_type=media_type)
