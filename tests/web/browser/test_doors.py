"""The doors of the page in a real browser: its cookie, and what pages of other sites and of other ports achieve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.support.chromium import chromium
from tests.support.doors import Page, page
from tests.support.waiting import PATIENCE_SECONDS

# The name of another site. It leads to this machine, as in an attack by DNS rebinding.
EVIL = "evil.example"
FORM = """<!doctype html><form method="post" action="{target}"><input name="command" value="shutdown"></form>
<script>document.forms[0].submit()</script>"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(f"--host-resolver-rules=MAP {EVIL} 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Page]:
    with page(tmp_path, "mode: 0660") as made:
        yield made


@pytest.fixture
def context(browser: Browser, running: Page) -> Iterator[BrowserContext]:
    """A browser that has opened the link."""
    made = browser.new_context()
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    tab = made.new_page()
    tab.goto(f"http://{running.place}/enter?key={running.key}")
    tab.wait_for_url(f"http://{running.place}/")
    assert '"way": "link"' in tab.inner_text("body")
    yield made
    made.close()


@contextmanager
def _attacker(html: str) -> Iterator[int]:
    """A server with this page; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_the_browser_keeps_the_cookie_of_the_loopback_address(context: BrowserContext, running: Page) -> None:
    (cookie,) = context.cookies()
    assert cookie["name"].startswith("schedappliance-") and cookie["httpOnly"] and not cookie["secure"]
    assert cookie["sameSite"] == "Strict"
    tab = context.new_page()
    tab.goto(f"http://{running.place}/again")
    assert '"way": "link"' in tab.inner_text("body")
    assert tab.evaluate("document.cookie") == ""


def test_another_browser_is_not_let_in(context: BrowserContext, browser: Browser, running: Page) -> None:
    assert context.cookies()
    with browser.new_context() as other:
        tab = other.new_page()
        for path in ("/", f"/enter?key={running.key}"):
            answer = tab.goto(f"http://{running.place}{path}")
            assert answer and answer.status == 401


def test_a_new_link_is_printed_where_the_page_was_started(
    context: BrowserContext, browser: Browser, running: Page
) -> None:
    assert context.cookies(), "the first link is used"
    with browser.new_context() as other:
        other.set_default_timeout(PATIENCE_SECONDS * 1000)
        tab = other.new_page()
        tab.goto(f"http://{running.place}/jobs")
        tab.get_by_role("button", name="Print a new link").click()
        tab.get_by_role("heading", name="A new link").wait_for()
        assert running.process.stdout
        key = running.process.stdout.readline().partition("key=")[2].split()[0]
        tab.goto(f"http://{running.place}/enter?key={key}")
        tab.wait_for_url(f"http://{running.place}/")


@pytest.mark.parametrize(("host", "status"), [(EVIL, 401), ("127.0.0.1", 403)])
def test_a_form_of_another_page_does_nothing(context: BrowserContext, running: Page, host: str, status: int) -> None:
    """From another site, the browser does not send the cookie. From another port it does, and says so."""
    with _attacker(FORM.format(target=f"http://{running.place}/do")) as port:
        tab = context.new_page()
        with tab.expect_response(f"http://{running.place}/do") as answer:
            tab.goto(f"http://{host}:{port}/")
        assert answer.value.status == status


def test_a_name_of_another_site_that_leads_here_is_refused(context: BrowserContext, running: Page) -> None:
    tab = context.new_page()
    for path in ("/", "/static/app.js", "/api/v1/jobs"):
        answer = tab.goto(f"http://{EVIL}:{running.place.rpartition(':')[2]}{path}")
        assert answer and answer.status == 421


def test_the_page_cannot_be_framed_or_read_by_another_port(context: BrowserContext, running: Page) -> None:
    script = f"""<!doctype html><iframe src="http://{running.place}/"></iframe><script>
    fetch("http://{running.place}/", {{credentials: "include", mode: "no-cors"}})
      .then(() => document.title = "read", () => document.title = "refused")</script>"""
    with _attacker(script) as port:
        tab = context.new_page()
        with tab.expect_response(lambda answer: answer.status == 403 and answer.frame != tab.main_frame):
            tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_function("document.title != ''")
        assert tab.title() == "refused", "the answer is for the page alone (Cross-Origin-Resource-Policy)"
