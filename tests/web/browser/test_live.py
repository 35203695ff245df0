"""What changes while somebody looks: the page follows the appliance, and says when it cannot."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually
from tests.support.web_page import WebPage
from tests.web.browser.conftest import Tab

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def expect_tile(page: Page, name: str, value: str) -> None:
    expect(page.locator(".tile", has_text=name).locator("strong")).to_have_text(value)


def test_the_page_follows_what_happens(daemon: Daemon, tab: Tab) -> None:
    page = tab("/")
    page.evaluate("window.isOld = true")
    daemon.say("sched run talker")
    expect(page.locator("#running")).to_contain_text("talker")
    expect(page.locator(".timeline")).to_contain_text("talker")
    daemon.run("sched run broken")
    expect(page.locator("#failed")).to_contain_text("exit status 3")
    expect(page.locator("#trouble")).to_contain_text("broken has failed and not recovered")
    # The run of the alert may go on for a moment.
    expect_tile(page, "Running", "1")
    expect_tile(page, "Failed", "1")
    assert page.evaluate("window.isOld"), "the page was not loaded again"


def test_the_focus_and_a_choice_stay_where_they_are(daemon: Daemon, tab: Tab) -> None:
    page = tab("/jobs")
    page.get_by_role("checkbox", name="Choose greeting").check()
    page.get_by_role("link", name="greeting").focus()
    page.mouse.move(0, 0)
    daemon.say("sched run broken")
    expect(page.locator("tr", has_text="broken")).to_contain_text("failed")
    daemon.say("sched in 1h run hello")
    expect(page.locator("#rows tbody tr").first).to_contain_text("run hello")
    chosen = page.get_by_role("checkbox", checked=True)
    expect(chosen).to_have_accessible_name("Choose greeting")
    assert page.evaluate("document.activeElement.textContent") == "greeting"


def test_no_row_moves_away_from_the_pointer(daemon: Daemon, tab: Tab) -> None:
    page = tab("/jobs")
    rows = page.locator("#rows tbody tr")
    count, first = rows.count(), rows.first.get_attribute("id")
    rows.first.get_by_role("button", name="Pause").hover()
    daemon.say("sched in 1m run hello")
    expect(page.locator("#filters")).to_contain_text(f"all{count + 1}")
    assert rows.first.get_attribute("id") == first and rows.count() == count
    page.mouse.move(0, 0)
    expect(rows).to_have_count(count + 1)
    expect(rows.first).to_contain_text("run hello")


def test_what_came_while_a_row_could_not_move_is_shown_then(daemon: Daemon, tab: Tab) -> None:
    """The second change does not tell again what the first one has told."""
    page = tab("/jobs")
    page.evaluate("document.querySelectorAll('tr[id]').forEach((row) => { row.isOld = true; })")
    rows = page.locator("#rows tbody tr")
    count = rows.count()
    page.locator("tr", has_text="weekday").get_by_role("button", name="Pause").hover()
    daemon.say("sched pause greeting")
    expect(page.locator("#filters")).to_contain_text("paused1")
    daemon.say("sched in 1m run hello")
    expect(page.locator("#filters")).to_contain_text(f"all{count + 1}")
    assert rows.count() == count and page.get_by_role("button", name="Resume").count() == 1, "that of the chosen jobs"
    page.mouse.move(0, 0)
    expect(rows.first).to_contain_text("run hello")
    expect(page.locator("tr", has_text="greeting")).to_contain_text("Resume")
    assert page.locator("tr[data-same]").count() == 0 and rows.count() == count + 1
    assert page.evaluate("[...document.querySelectorAll('tr[id]')].filter((row) => row.isOld).length") == count


def test_the_output_of_a_run_follows_and_the_run_can_be_stopped(daemon: Daemon, tab: Tab) -> None:
    run = daemon.data("sched run talker")["run"]
    page = tab(f"/runs/{run}")
    expect(page.locator("#output li")).to_have_text(["first"])
    (daemon.root / "go").touch()
    expect(page.locator("#output li")).to_have_text(["first", "second"])
    page.get_by_role("link", name="Stop").click()
    expect(page.locator(".command")).to_have_text(f"sched stop {run}")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#state")).to_have_text("cancelled")
    expect(page.locator("#output li")).to_have_text(["first", "second"])


def test_the_output_of_a_later_attempt_follows(daemon: Daemon, tab: Tab) -> None:
    page = tab(f"/runs/{daemon.data('run retry')['run']}")
    expect(page.locator("#output li")).to_have_text(["one"])
    (daemon.root / "go").touch()
    expect(page.locator("#output li")).to_have_text(["two"])
    expect(page.get_by_role("link", name="Attempt 2")).to_have_attribute("aria-current", "page")


def test_a_file_of_the_spool_is_followed_until_it_is_judged(daemon: Daemon, tab: Tab) -> None:
    with (daemon.var / "spool" / "new" / "slow.cmd").open("w") as file:
        file.write("run hello\n")
        file.flush()
        eventually(lambda: daemon.data("spool list"), "a file that waits")
        page = tab("/spool?file=slow.cmd")
        expect(page.locator("#chosen")).to_contain_text("is being written")
        page.evaluate("window.isOld = true")
        expect(page.locator("#chosen .badge")).to_have_text("waiting")
        file.write("rnu hello\n")
    expect(page.locator("#chosen .badge")).to_have_text("failed")
    expect(page.locator("#chosen")).to_contain_text("E110")
    assert page.evaluate("window.isOld"), "the page was not loaded again"


def test_the_page_says_since_when_the_appliance_does_not_answer(daemon: Daemon, tab: Tab) -> None:
    page = tab("/jobs")
    expect(page.locator("#rows")).to_contain_text("greeting")
    daemon.kill()
    expect(page.locator("#trouble")).to_contain_text("The appliance has not answered since 20")
    other = tab("/runs")
    expect(other.locator("h1")).to_have_text("The appliance does not answer")
    daemon.start()
    expect(page.locator("#trouble")).not_to_contain_text("has not answered")
    expect(other.locator("h1")).to_have_text("Runs")
    daemon.say("sched pause greeting")
    expect(page.locator("tr", has_text="greeting")).to_contain_text("Resume")


def test_nothing_is_lost_while_the_appliance_stands_still(daemon: Daemon, tab: Tab) -> None:
    page, typing = tab("/jobs"), tab("/jobs/new")
    typing.locator("#line").fill("sched every 1h run hello")
    expect(typing.get_by_role("button", name="Add")).to_be_enabled()
    with daemon.frozen():
        for one in (page, typing):
            expect(one.locator("#trouble")).to_contain_text("The appliance has not answered since 20")
    for one in (page, typing):
        expect(one.locator("#trouble")).not_to_contain_text("has not answered")
    expect(typing.locator("#line")).to_have_value("sched every 1h run hello")
    daemon.say("sched pause greeting")
    expect(page.locator("tr", has_text="greeting")).to_contain_text("Resume")


def test_a_screen_that_was_lost_while_nobody_looked_comes_back(daemon: Daemon, page: WebPage, tab: Tab) -> None:
    daemon.kill()
    looking = tab("/runs")
    expect(looking.locator("h1")).to_have_text("The appliance does not answer")
    page.kill()
    expect(looking.locator("#lost")).to_be_visible()
    daemon.start()
    page.start()
    expect(looking.locator("h1")).to_have_text("Runs")


def test_a_page_that_was_killed_during_an_action_comes_back(daemon: Daemon, page: WebPage, tab: Tab) -> None:
    looking, acting = tab("/jobs"), tab("/jobs")
    with daemon.frozen():
        acting.locator("tr", has_text="greeting").get_by_role("button", name="Pause").click(no_wait_after=True)
        page.kill()
    expect(looking.locator("#lost")).to_be_visible()
    page.start()
    expect(looking.locator("#lost")).to_be_hidden()
    state = daemon.data("sched show greeting")["state"]
    expect(looking.locator("tr", has_text="greeting")).to_contain_text("Resume" if state == "paused" else "Pause")
