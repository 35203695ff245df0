"""The browser of the tests of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.waiting import PATIENCE_SECONDS


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Starts Chromium with these options. While it is open, no other event loop can run in this process.

    Without its own windows, which `chromium` keeps even when it shows none, a page takes a fifth of the processor time.
    """
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    # Chromium's sandbox does not work as root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        args, timeout_ms = [*sandbox, *options], PATIENCE_SECONDS * 1000
        browser = playwright.chromium.launch(executable_path=path, args=args, timeout=timeout_ms)
        yield browser
        browser.close()
