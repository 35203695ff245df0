"""A browser with a page of a real daemon. Rule: no message of the browser's console, and none about the CSP, goes unseen."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.support.chromium import chromium
from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS
from tests.support.web_page import WebPage

STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
program "hello" {{ argv = ( "/bin/echo" "hello" ) }}
program "fail" {{ argv = ( "/bin/sh" "-c" "echo about to fail >&2; exit 3" ) }}
program "notice" {{ argv = ( "/bin/true" ) timeout = 1m }}
program "talk" {{
  argv = ( "/bin/sh" "-c" "echo first; until [ -e go ]; do sleep 0.1; done; echo second; exec sleep 1000" )
  cwd = "{root}"
  kill_after = 1
}}
program "hostile" {{
  argv = ( "/bin/sh" "-c" "cat ../hostile; head -c {long} /dev/zero | tr '\\0' x" )
  cwd = "{root}/etc"
  output_limit = 4m
}}
program "retry" {{
  argv = ( "/bin/sh" "-c" "[ -e second ] && echo two && exec sleep 99; echo one; until [ -e go ]; do sleep 0.1; done; >second; exit 1" )
  cwd = "{root}"
  retries = 1
  retry_delay = 1
  kill_after = 1
}}
notify "ops" {{ command = "run notice" when = ( "failed" "recovered" ) }}
job "greeting" {{ every = 1d command = "run hello" }}
job "broken" {{ every = 1d command = "run fail" }}
job "talker" {{ every = 1d command = "run talk" }}
job "weekday" {{ cron = "30 2 * * 1-5" zone = "Europe/Berlin" command = "run hello" }}
job "off" {{ every = 1h command = "run hello" enabled = false }}
job "<script>alert(1)</script>\u202egnp" {{ every = 1d command = "run hostile" }}
"""
HOSTILE_OUTPUT = "<script>alert(1)</script>\n\x1b[31mred\x1b[0m\x1b[2J\n\u202e evil\n"
# How long the last line of the hostile output is.
LONG_LINE = 1_000_000
HOSTILE = "<script>alert(1)</script>\u202egnp"
# What a browser says on its console where a test has killed the page or the appliance, or has acted from another site.
FAILED = "Failed to load resource:"
EXPECTED = (
    f"{FAILED} net::ERR_",
    *(f"{FAILED} the server responded with a status of {status}" for status in (403, 503)),
)

Tab = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon that runs, in a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "hostile").write_text(HOSTILE_OUTPUT)
        made = Daemon(root, STANZAS.format(root=root, long=LONG_LINE)).start()
        yield made
        made.end()


@pytest.fixture
def page(daemon: Daemon) -> Iterator[WebPage]:
    made = WebPage(daemon).start()
    yield made
    made.end()


@pytest.fixture
def tab(browser: Browser, page: WebPage) -> Iterator[Tab]:
    """Opens tabs. At the end, none of them has said anything on its console."""
    contexts: list[BrowserContext] = []
    messages: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if not message.text.startswith(EXPECTED):
            messages.append(f"{message.type}: {message.text}")

    def open_tab(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=page.url, **options)
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        contexts.append(context)
        made = context.new_page()
        made.on("console", note)
        made.on("pageerror", lambda error: messages.append(f"error: {error}"))
        made.on("dialog", lambda dialog: messages.append(f"dialog: {dialog.message}"))
        made.goto(path)
        return made

    yield open_tab
    for context in contexts:
        context.close()
    assert messages == []
