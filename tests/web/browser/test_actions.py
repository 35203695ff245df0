"""Every action of the page, by its buttons."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import expect

from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually
from tests.support.web_page import WebPage
from tests.web.browser.conftest import Tab

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def test_a_job_is_run_paused_and_resumed(daemon: Daemon, tab: Tab) -> None:
    page = tab("/jobs")
    greeting = page.locator("tr", has_text="greeting")
    assert greeting.get_by_role("button", name="Pause").get_attribute("title") == "sched pause greeting"
    greeting.get_by_role("button", name="Pause").click()
    greeting.get_by_role("button", name="Resume").click()
    greeting.get_by_role("button", name="Run").click()
    page.get_by_role("status").get_by_role("link", name="example.com-000000001/1").click()
    expect(page.locator("#state")).to_have_text("succeeded")
    page.get_by_role("button", name="Run again").click()
    eventually(lambda: len(daemon.runs()) == 2, "the second run")


def test_many_jobs_are_paused_at_once(daemon: Daemon, tab: Tab) -> None:
    page = tab("/jobs")
    for name in ("greeting", "broken"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    page.get_by_role("group", name="Chosen jobs").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status").filter(has_text="2 commands carried out.")).to_be_visible()
    assert {job["name"] for job in daemon.data("sched list") if job["paused"]} == {"greeting", "broken"}


def test_a_job_is_added_and_deleted(daemon: Daemon, tab: Tab) -> None:
    page = tab("/jobs")
    page.get_by_role("link", name="Add a job").click()
    line = page.get_by_label("Command")
    line.press_sequentially("sched evry 1h run hello")
    expect(page.locator("#verdict")).to_contain_text("E110")
    line.fill("sched every 1h run hello")
    expect(page.locator("#verdict")).to_contain_text("The appliance accepts this line.")
    page.get_by_role("button", name="Add the job").click()
    page.get_by_role("status").get_by_role("link").click()
    expect(page.locator("#facts")).to_contain_text("every 1 h")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_role("status").filter(has_text="sched delete")).to_be_visible()
    assert "run hello" not in [job["command"] for job in daemon.data("sched list") if job["origin"] != "stanza"]


def test_the_appliance_is_held_and_released(tab: Tab) -> None:
    page = tab("/")
    page.get_by_role("link", name="Hold").click()
    page.get_by_label("Reason").fill("for a test")
    page.get_by_role("button", name="Hold").click()
    expect(page.locator("#trouble")).to_contain_text("for a test. Nothing new starts.")
    page.get_by_role("button", name="Release").click()
    expect(page.locator("#trouble")).not_to_contain_text("Nothing new starts")


def test_an_incident_is_acknowledged(daemon: Daemon, tab: Tab) -> None:
    daemon.run("sched run broken")
    page = tab("/incidents")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#rows")).to_contain_text(" by ")
    assert daemon.data("sched incidents")["incidents"][0]["acked_ms"]


def test_a_failed_drop_is_tried_again(daemon: Daemon, tab: Tab) -> None:
    (daemon.var / "spool" / "new" / "wrong.cmd").write_text("rnu hello\n")
    eventually(lambda: "failed" in str(daemon.data("spool list")), "the drop")
    page = tab("/spool")
    page.get_by_role("link", name="wrong.cmd").click()
    expect(page.locator(".carets")).to_contain_text("E110")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status").filter(has_text="spool retry")).to_be_visible()


def test_files_are_compared_and_reloaded(daemon: Daemon, tab: Tab) -> None:
    text = daemon.conf.read_text()
    daemon.conf.write_text(text.replace("every = 1h", "every = 2h"))
    eventually(lambda: daemon.data("config status")["generation"] == 2, "the reload")
    page = tab("/files")
    page.get_by_role("link", name="Compare generation 1").click()
    expect(page.locator("#difference")).to_contain_text("every = 2h")
    daemon.say("config set Message_Expiration 5")
    expect(page.locator("#overrides")).to_contain_text("Message_Expiration")
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("#overrides")).to_contain_text("No override")
    daemon.conf.write_text(text + "job {\n")
    expect(page.locator("#trouble")).to_contain_text("rejected")


def test_runs_are_filtered_in_pages_and_downloaded(daemon: Daemon, tab: Tab) -> None:
    for _ in range(60):
        daemon.say("run hello")
    daemon.run("sched run broken")
    page = tab("/runs")
    expect(page.locator("#rows tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#rows tbody tr").first).to_be_visible()
    page.get_by_role("link", name="Newer").click()
    page.get_by_text("More filters").click()
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 2 and lines[0].startswith("run,name,command") and ",failed,exit status 3," in lines[1]


@contextmanager
def other_site(target: str) -> Iterator[str]:
    """A site whose page sends a form to the target by itself."""
    html = f'<form method=post action="{target}/do"><input name=line value="sched pause greeting"></form>'

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"{html}<script>document.forms[0].submit()</script>".encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()


def test_another_site_cannot_act(daemon: Daemon, page: WebPage, tab: Tab) -> None:
    with other_site(page.url) as address:
        visitor = tab("/jobs")
        with visitor.expect_response(lambda answer: answer.url.endswith("/do")) as answer:
            visitor.goto(address, wait_until="commit")
        assert answer.value.status == 403
    assert daemon.data("sched show greeting")["state"] == "waiting"
