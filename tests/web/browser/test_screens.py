"""Every screen: for each width and scheme, without JavaScript, and for those who do not see it."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS
from tests.web.browser.conftest import HOSTILE, LONG_LINE, Tab

expect.set_options(timeout=PATIENCE_SECONDS * 1000)
SCREENS = (
    *("/", "/?span=14d", "/jobs", "/jobs?show=off", "/jobs?find=nothing+matches", "/jobs/new?line=sched+evry"),
    *(
        "/jobs/broken",
        "/jobs/talker",
        "/jobs/weekday?month=2027-03",
        "/runs",
        "/runs?state=failed",
        "/runs?text=nothing+matches",
    ),
    *(
        "/runs/example.com-000000002/1",
        "/month",
        "/month?month=2027-02",
        "/incidents",
        "/preview",
        "/files",
        "/spool",
        "/about",
    ),
    *("/confirm?line=sched+stop+x&next=/runs", "/confirm?line=sched+hold&next=/"),
)
# Of the rules that are kept, axe describes at most one element: half of the time.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}


def prepare(daemon: Daemon) -> None:
    """One run of each kind: the screens have rows."""
    for line in ("sched run greeting", f'sched run "{HOSTILE}"', "sched every 1h run hello"):
        daemon.say(line)
    daemon.run("sched run broken")
    daemon.say(f"sched stop {daemon.data('sched run talker')['run']}")
    daemon.say("sched pause weekday")
    (daemon.var / "spool" / "new" / "wrong.cmd").write_text("rnu hello\n")


def overflow(page: Page) -> str | None:
    """The elements that reach beyond the right edge, if the page can be scrolled to them, and what is cut in days and tables."""
    if page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"):
        inside = (
            "[...document.querySelectorAll('.day, .table-box')].find(e => e.scrollWidth > e.clientWidth)?.outerHTML"
        )
        return page.evaluate(inside)  # type: ignore[no-any-return]
    script = """() => [...document.querySelectorAll('main *, header *')]
        .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(e => e.outerHTML.slice(0, 80)).slice(0, 5).join('\\n')"""
    return str(page.evaluate(script))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark"), (3840, "dark")])
def test_every_screen_fits_and_can_be_read(daemon: Daemon, tab: Tab, width: int, scheme: str) -> None:
    prepare(daemon)
    page = tab("/", viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong = {}
    for path in SCREENS:
        answer = page.goto(path)
        assert answer is not None and answer.status == 200, path
        assert page.locator("h1").count() == 1, path
        # The rules find the same on a wide screen as on a usual one, and take most of the time.
        violations = Axe().run(page, options=RULES).response["violations"] if width < 3840 else []
        texts = [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in violations]
        if problem := [*texts, *filter(None, [overflow(page)])]:
            wrong[path] = problem
    assert wrong == {}


@pytest.mark.parametrize("width", [641, 768, 1001, 1201])
def test_no_table_is_cut_between_a_phone_and_a_desk(daemon: Daemon, tab: Tab, width: int) -> None:
    prepare(daemon)
    daemon.say("sched run talker")
    page = tab("/", viewport={"width": width, "height": 900})
    cut = {}
    for path in ("/", "/jobs", "/jobs/broken", "/runs", "/incidents", "/preview", "/files", "/spool", "/about"):
        page.goto(path)
        if problem := overflow(page):
            cut[path] = problem[:200]
    assert cut == {}


@pytest.mark.parametrize("width", [400, 1280, 3840])
def test_the_marks_of_the_timeline_are_at_their_time(daemon: Daemon, tab: Tab, width: int) -> None:
    daemon.run("sched run broken")
    page = tab("/", viewport={"width": width, "height": 900})
    script = """marks => marks.map(mark => {
        const at = mark.getBoundingClientRect(), plot = mark.closest("svg").getBoundingClientRect();
        const share = parseFloat(mark.getAttribute("x")) / 100;
        return Math.abs((at.left + at.right) / 2 - plot.left - share * plot.width);
    })"""
    distances = page.locator(".lane-plot use").evaluate_all(script)
    assert distances and max(distances) < 4


def test_a_phone_shows_many_rows_at_once(daemon: Daemon, tab: Tab) -> None:
    """A card has a line for its name and its state, and one or two for what else is read at a glance."""
    daemon.run("sched run broken")
    page = tab("/", viewport={"width": 400, "height": 900})
    for path, row, most in (("/jobs", "greeting", 132), ("/runs", "broken", 96), ("/", "broken", 96)):
        page.goto(path)
        box = page.locator("tr:visible", has_text=row).first.bounding_box()
        assert box is not None and box["height"] <= most, path


def test_a_job_that_fails_says_so_beside_its_name(daemon: Daemon, tab: Tab) -> None:
    daemon.run("sched run broken")
    expect(tab("/jobs/broken").locator("#state")).to_contain_text("failing")


def test_every_screen_works_without_javascript(daemon: Daemon, tab: Tab) -> None:
    prepare(daemon)
    page = tab("/", java_script_enabled=False)
    for path in SCREENS:
        page.goto(path)
        assert page.locator("main").inner_text().strip(), path
    page.goto("/jobs")
    row = page.locator("tr", has_text="greeting")
    row.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status").filter(has_text="sched pause")).to_be_visible()
    expect(row.get_by_role("button", name="Resume")).to_be_visible()
    page.locator(".zone select").select_option("utc")
    page.locator(".zone button").click()
    expect(page.locator(".zone select")).to_have_value("utc")
    page.goto("/runs/example.com-000000002/1")
    assert "+00:00" in page.locator("#facts").inner_text()


def test_the_first_screen_is_small(daemon: Daemon, tab: Tab) -> None:
    prepare(daemon)
    page = tab("/jobs")
    script = "performance.getEntries().filter(e => e.transferSize).reduce((sum, e) => sum + e.transferSize, 0)"
    assert 0 < page.evaluate(script) < 100_000


def test_what_others_have_written_is_only_text(daemon: Daemon, tab: Tab) -> None:
    run = daemon.run(f'sched run "{HOSTILE}"')["run"]
    page = tab("/jobs")
    page.get_by_role("link", name="<script>alert(1)</script>\\u{202e}gnp").click()
    assert page.locator("h1").inner_text() == "<script>alert(1)</script>\\u{202e}gnp"
    page.goto(f"/runs/{run}")
    lines = page.locator("#output li")
    assert lines.nth(0).inner_text() == "<script>alert(1)</script>"
    assert lines.nth(1).inner_text() == "red" and lines.nth(1).locator(".fg1").count() == 1
    assert lines.nth(2).inner_text() == "\\u{202e} evil"
    assert len(lines.nth(3).inner_text()) == LONG_LINE
    assert page.locator("main script").count() == 0
    assert overflow(page) is None
