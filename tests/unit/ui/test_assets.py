"""The UI's files: a fixed set, each under an address that changes with its content."""

import re
from importlib.resources import files

import httpx
import pytest
from starlette.applications import Starlette

from spane_otel.server.rawpath import RawPathRoute
from spane_otel.server.ui.assets import ASSETS, VERSION, asset_url, serve_asset

ROUTE = RawPathRoute("/assets/{version}/{name}", serve_asset)


def client() -> httpx.AsyncClient:
    app = Starlette(routes=[ROUTE])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


@pytest.mark.parametrize("name", sorted(ASSETS))
async def test_an_asset_is_served_for_ever_with_its_type(name: str) -> None:
    response = await client().get(asset_url(name))
    assert response.status_code == 200
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
    assert response.content == ASSETS[name]


@pytest.mark.parametrize("path", ["main.jsx", "..%2F..%2Fpages.py", "%2e%2e", "/etc/passwd", "%00", "assets.py"])
async def test_nothing_else_can_be_asked_for(path: str) -> None:
    assert (await client().get(f"/assets/{VERSION}/{path}")).status_code == 404


async def test_an_old_version_is_gone() -> None:
    assert (await client().get("/assets/0000000000000000/main.js")).status_code == 404


def test_modules_import_only_each_other() -> None:
    for name, content in ASSETS.items():
        if name.endswith(".js"):
            for imported in re.findall(r'^import .*? from "(.+?)";$', content.decode(), re.MULTILINE):
                assert imported.startswith("./"), name
                assert imported.removeprefix("./") in ASSETS


def test_nothing_remote_is_loaded() -> None:
    templates = files("spane_otel.server.ui").joinpath("templates")
    pages = [entry.read_text() for entry in templates.iterdir()] + [content.decode() for content in ASSETS.values()]
    for text in pages:
        urls = re.findall(r"https?://[^\s\"'`)]+", text)
        assert [url for url in urls if not url.startswith("http://www.w3.org/")] == []


def test_no_template_carries_style_or_script() -> None:
    """Everything comes from files, so that the policy of the pages needs no exception."""
    templates = files("spane_otel.server.ui").joinpath("templates")
    for entry in templates.iterdir():
        text = entry.read_text()
        assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:", text), entry.name
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), entry.name
