"""`python -m tests.web.gallery FOLDER`: photographs every component and picture in a browser, for people to look at.

Rule: it renders the shipped templates, stylesheet and pictures; only the data are made up.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

import schedappliance.web
from schedappliance.client.states import LIVE
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.web.appliance.columns import RunRow
from schedappliance.web.pictures.calendar import calendar, month_days
from schedappliance.web.pictures.cells import cells
from schedappliance.web.pictures.durations import durations
from schedappliance.web.pictures.lanes import lanes
from schedappliance.web.pictures.timeline import Span, timeline
from schedappliance.web.rendering.ansi import paint
from schedappliance.web.rendering.formats import GLOBALS
from schedappliance.web.rendering.times import Times
from tests.web import sample

WEB = Path(schedappliance.web.__file__).parent
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'"
SIZES = ((400, 800), (1440, 900), (2560, 1440))
CARETS = """\
error[E301]: unknown program `bakcup`
  --> sched.conf:14:11
   |
14 |   command = "run bakcup"
   |              ^^^^^^^^^^ did you mean `backup`?
"""
OUTPUT = (
    "\x1b[1mimport-prices\x1b[0m 4.2 reads 12 sources\r\n"
    "\x1b[32m✓\x1b[0m north   1,204 prices in \x1b[36m0.8 s\x1b[0m\n"
    "\x1b[32m✓\x1b[0m south     987 prices in \x1b[36m1.1 s\x1b[0m\n"
    "\x1b[33mwarning\x1b[0m: \x1b[4mwest\x1b[0m answered late, \x1b[2mretry 1 of 3\x1b[0m\n"
    "downloading 10 %\rdownloading 60 %\rdownloading 100 %\n"
    "\x1b]0;owned\x07\x1b[2J\x1b[Hnobody clears this screen, <script>alert(1)</script> \u202eesrever\n"
    "\x1b[41;97m FAIL \x1b[0m \x1b[31mwest: connection refused\x1b[0m \x1b[38;5;208mtry again\x1b[0m \x1b[7m inverse \x1b[0m\n"
    + "a long line "
    * 30
)


def times() -> Times:
    return Times(sample.NOW_MS, sample.NOW_MS, Zones(this_machine()).get("Europe/Berlin"), "Europe/Berlin")


def environment() -> Environment:
    loader = ChoiceLoader([FileSystemLoader(WEB / "templates"), FileSystemLoader(Path(__file__).parent)])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals.update(GLOBALS)
    return made


def run_href(run: str) -> str:
    return f"/runs/{run}"


def page() -> str:
    now, columns, jobs = times(), sample.columns(), sample.jobs()
    span = Span(now.now_ms - sample.DAY_MS // 2, now.now_ms, now.now_ms + sample.DAY_MS // 2)
    heads = lanes(jobs, columns, span, href=lambda job: f"/jobs/{job['id']}")
    newest = columns.newest([job["id"] for job in jobs], 100)
    bad = [run for runs in newest.values() for run in runs if run.state not in ("succeeded", *LIVE)]
    bad.sort(key=lambda run: -run.due_ms)
    month = month_days(columns, _planned(), 2026, 11, now)
    import_prices = newest[jobs[2]["id"]]
    return (
        environment()
        .get_template("gallery.html")
        .render(
            times=now,
            troubles=[
                {"text": "1 job is failing: mail-queue since 15:15", "kind": "bad", "href": "/incidents"},
                {
                    "text": "Held since 15:02 by alice: disk change. Nothing new starts until `sched release`.",
                    "kind": "warn",
                },
            ],
            names={job["id"]: job["name"] for job in jobs},
            counts=columns.counts(now.now_ms - sample.DAY_MS),
            running=[(run, columns.usual_ms(run.job)) for run in columns.live()],
            picture=timeline(columns, heads, span, now, run_href),
            due=sorted((job for job in jobs if not job["paused"]), key=lambda job: job["next_run_ms"])[:6],
            failed=[(run, _reason(run)) for run in bad[:7]],
            rows=[(job, cells(newest[job["id"]], run_href, now), _last(newest[job["id"]])) for job in jobs],
            lasted=durations(import_prices, run_href, now, usual_ms=columns.usual_ms(jobs[2]["id"])),
            none_lasted=durations([], run_href, now),
            month=calendar(2026, 11, month, now, lambda day: f"/runs?day={day}"),
            output=paint(OUTPUT, first_line=98).html,
            carets_text=CARETS,
        )
    )


def _planned() -> list[int]:
    until = sample.NOW_MS + 4 * sample.DAY_MS
    return [at for job in sample.jobs() for at in range(job["next_run_ms"], until, job["interval_ms"])]


def _last(runs: list[RunRow]) -> RunRow | None:
    return next((run for run in runs if run.ended_ms is not None), None)


def _reason(run: RunRow) -> str:
    reasons = {"failed": "exit status 3: connection refused by west", "timed_out": "longer than 20 min"}
    return reasons.get(run.state, "an earlier run goes on")


def main(folder: Path) -> None:
    from playwright.sync_api import Route, sync_playwright

    html, css = page(), (WEB / "static" / "style.css").read_text()
    folder.mkdir(parents=True, exist_ok=True)

    def answer(route: Route) -> None:
        if route.request.url.endswith("/style.css"):
            route.fulfill(body=css, content_type="text/css")
        elif route.request.url == "http://gallery.test/":
            route.fulfill(body=html, content_type="text/html", headers={"Content-Security-Policy": POLICY})
        else:
            route.fulfill(status=404)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width, height in SIZES:
                shot = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": height})
                shot.on("console", lambda message: print(message.text))
                shot.route("**/*", answer)
                shot.goto("http://gallery.test/")
                overflow = shot.evaluate("document.documentElement.scrollWidth - innerWidth")
                print(scheme, width, f"overflow {overflow}", f"{len(html)} bytes")
                shot.screenshot(path=folder / f"{scheme}-{width}.png", full_page=True)
                shot.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
