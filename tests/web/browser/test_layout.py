"""What changes on a page moves nothing else, so that nobody presses a button that was somewhere else a moment ago."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.support.daemon import Daemon
from tests.support.waiting import eventually
from tests.web.browser.conftest import Tab

OBSERVE = """() => {
  window.moved = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) for (const { node } of entry.sources) {
      if (node && node.matches && node.matches("main > *, .grid > *, .tiles, .lane")) window.moved.push(node.outerHTML);
    }
  }).observe({ type: "layout-shift" });
}"""
# Shifts are reported after the frame in which they happen.
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def moved(page: Page) -> list[str]:
    page.evaluate(FRAMES)
    return list(page.evaluate("window.moved"))


@pytest.mark.parametrize("width", [400, 1280])
def test_runs_that_begin_and_end_move_no_panel(daemon: Daemon, tab: Tab, width: int) -> None:
    page = tab("/", viewport={"width": width, "height": 1400})
    page.locator("#running", has_text="Nothing runs").wait_for()
    page.evaluate(OBSERVE)
    run = daemon.say("sched run talker").strip()
    page.locator("#running tr", has_text="talker").wait_for()
    assert moved(page) == []
    daemon.say(f"sched stop {run}")
    page.locator("#running", has_text="Nothing runs").wait_for()
    assert moved(page) == []


def test_a_panel_that_moves_is_noticed(daemon: Daemon, tab: Tab) -> None:  # noqa: ARG001
    page = tab("/", viewport={"width": 1280, "height": 1400})
    page.evaluate(OBSERVE)
    page.evaluate("document.querySelector('main').prepend(document.createElement('hr'), 'something new')")
    assert eventually(lambda: moved(page))
