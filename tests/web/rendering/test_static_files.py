"""The stylesheet, the script and the icon: browsers keep what has not changed."""

from __future__ import annotations

import asyncio
import gzip
from importlib import resources

import pytest
from starlette.requests import Request
from starlette.responses import Response

from schedappliance.web.rendering.static_files import ICON, TYPES, StaticFiles
from schedappliance.web.rendering.templates import environment

FOLDER = resources.files("schedappliance.web").joinpath("static")


def _answer(path: str, encodings: str = "") -> Response:
    path, _, query = path.partition("?")
    name = {"name": path.removeprefix("/static/")} if path.startswith("/static/") else {}
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode()}
    scope["headers"] = [(b"accept-encoding", encodings.encode())] if encodings else []
    return asyncio.run(StaticFiles().answer(Request({**scope, "path_params": name})))


@pytest.mark.parametrize("name", TYPES)
def test_a_browser_keeps_a_file_whose_address_names_its_content(name: str) -> None:
    answer = _answer(StaticFiles().address(name))
    assert bytes(answer.body) == FOLDER.joinpath(name).read_bytes()
    assert answer.headers["content-type"].startswith(TYPES[name])
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", TYPES)
def test_a_browser_gets_a_file_compressed_if_it_can_read_that(name: str) -> None:
    answer = _answer(StaticFiles().address(name), "gzip, deflate, br")
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(bytes(answer.body)) == FOLDER.joinpath(name).read_bytes()
    assert "content-encoding" not in _answer(StaticFiles().address(name), "br").headers


@pytest.mark.parametrize("path", ["/static/style.css", "/static/style.css?0123456789ab", "/favicon.ico"])
def test_a_browser_asks_again_for_any_other_address(path: str) -> None:
    answer = _answer(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


def test_the_icon_is_what_a_browser_asks_for_by_itself() -> None:
    assert bytes(_answer("/favicon.ico").body) == FOLDER.joinpath(ICON).read_bytes()


@pytest.mark.parametrize("name", ["other.css", "../guard.py", ""])
def test_nothing_else_is_a_file(name: str) -> None:
    assert _answer(f"/static/{name}").status_code == 404


def test_each_file_is_in_the_table() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(TYPES)


def test_templates_name_the_version_of_each_file() -> None:
    templates = environment()
    assert templates.loader is not None
    for name in templates.list_templates(["html"]):
        source = templates.loader.get_source(templates, name)[0]
        assert '"/static/' not in source
        assert ("<head>" in source) == (name == "base.html"), "all pages have one head"
