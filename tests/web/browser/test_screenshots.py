"""The pictures in docs/page.md are those that the page of a real daemon gives."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from tests.web.screenshots import FOLDER, SHOTS, appliance, take

SIZES = {name: (width, height) for name, (_, width, height, _) in SHOTS.items()}
PNG = b"\x89PNG\r\n\x1a\n"


def sizes_in(folder: Path) -> dict[str, tuple[int, int]]:
    """The width and the height of each picture."""
    heads = {path.stem: path.read_bytes()[:24] for path in folder.glob("*.png")}
    assert all(head.startswith(PNG) for head in heads.values())
    return {name: struct.unpack(">II", head[16:]) for name, head in heads.items()}


def test_each_screen_can_be_photographed(browser: Browser, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name, appliance(Path(name)) as page:
        take(browser, page.url, tmp_path)
    assert sizes_in(tmp_path) == SIZES


def test_the_document_shows_each_picture() -> None:
    assert sizes_in(FOLDER) == SIZES
    text = (FOLDER.parent / "page.md").read_text()
    assert all(f"](page/{name}.png)" in text for name in SHOTS)
