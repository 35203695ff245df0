"""How soon the page shows its first view, to a viewer who has nothing yet.

Rule: the daemon has nothing to do meanwhile, so the figures are those of the page and of the browser.
"""

from __future__ import annotations

import gzip
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.appliances import PATIENCE_SECONDS, is_root
from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Report
from benchmarks.viewers import Page, page_of
from benchmarks.viewing import JOBS, RUNS_OF_JOB, appliance

TITLE = "first views of the page"
SCREENS = {"Now": "/", "Jobs": "/jobs"}
# What Chromium needs by itself, even for a text of a few bytes.
LEAST = {"a line of text": "/healthz"}
MOST_BYTES, MOST_MS = 100_000, 300.0
# The other parts of a screen: the stylesheet, the script and the icon.
_PARTS = re.compile(r'(?:href|src)="(/static/[^"]+)"')
# The first paint may follow the load.
_TIMES = """() => new Promise((done) => new PerformanceObserver((list, observer) => {
  const paint = list.getEntriesByName("first-contentful-paint")[0];
  if (!paint) return;
  observer.disconnect();
  done([paint.startTime, performance.getEntriesByType("navigation")[0].loadEventEnd]);
}).observe({ type: "paint", buffered: true }))"""


def measure(scale: Scale, page: Page, report: Report) -> None:
    """What a viewer receives, and how long it takes."""
    rounds = scale.pick(15, 7, 1)
    for screen, path in SCREENS.items():
        name, took, spent, sizes = f"first view of {screen}", list[float](), list[float](), list[int]()
        for _ in range(rounds):
            began, before = perf_counter(), page.spent_ms()
            sent, body = page.get(path)
            sizes.append(sent + sum(page.get(address)[0] for address in _PARTS.findall(gzip.decompress(body).decode())))
            took.append((perf_counter() - began) * 1000)
            spent.append(page.spent_ms() - before)
        report.add({f"{OURS}, {name}": took, f"{OURS}, {name}, processor time of the page": spent}, "ms")
        report.check_most(f"{name}, as it is sent", max(sizes), MOST_BYTES, "bytes")
        report.check_most(f"{name}, until its last byte", median(took), MOST_MS, "ms")
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        report.absent.append("Chromium: it or playwright is not installed")
        return
    for screen, times in _in_chromium(chromium, page, rounds).items():
        for what, values in times.items():
            name = f"first view of {screen} in Chromium, {what}"
            report.add({f"{OURS}, {name}": values}, "ms")
            if screen in SCREENS:
                report.check_most(name, median(values), MOST_MS, "ms")


def _in_chromium(path: str, page: Page, rounds: int) -> dict[str, dict[str, list[float]]]:
    """For each screen, the milliseconds until something is painted and until all is loaded. Each view has an empty cache."""
    from playwright.sync_api import sync_playwright

    addresses = LEAST | SCREENS
    times: dict[str, dict[str, list[float]]] = {screen: {"first paint": [], "load": []} for screen in addresses}
    name, _, value = page.cookie.partition("=")
    # Chromium's sandbox does not work as root.
    arguments = ["--no-sandbox"] if is_root() else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments, timeout=PATIENCE_SECONDS * 1000)
        for _ in range(rounds + 1):
            for screen, address in addresses.items():
                context = browser.new_context()
                context.add_cookies([{"name": name, "value": value, "url": page.url}])
                tab = context.new_page()
                tab.goto(page.url + address)
                paint, load = tab.evaluate(_TIMES)
                times[screen]["first paint"].append(paint)
                times[screen]["load"].append(load)
                context.close()
        browser.close()
    # The browser itself is cold at its first view.
    return {screen: {what: values[1:] for what, values in of_one.items()} for screen, of_one in times.items()}


def run(scale: Scale, folder: Path) -> Report:
    report = Report(TITLE, f"{JOBS:,} jobs with {RUNS_OF_JOB} runs each, an empty cache for each view")
    with appliance(folder, [], scale.pick(JOBS, JOBS, 20)) as (place, _, _), page_of(place) as page:
        measure(scale, page, report)
    report.drawn = tuple(row.name for row in report.rows if " in Chromium, " in row.name)
    return report
