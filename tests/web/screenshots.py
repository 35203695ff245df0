"""`python -m tests.web.screenshots`: photographs the page of a real daemon with a past, for docs/page.md.

Rule: the daemon, the page and the browser are real. Only the past is written into the store.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

from playwright.sync_api import Browser, sync_playwright

from schedappliance.clock import SystemClock
from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually
from tests.support.web_page import WebPage
from tests.web.sample import DAY_MS, HOUR_MS, MINUTE_MS, Habit

FOLDER = Path(__file__).parents[2] / "docs" / "page"
# The names of the pictures: the path of the screen, the width and height, and the scheme.
SHOTS = {
    "now": ("/", 1280, 1180, "light"),
    "now-dark": ("/", 1280, 1180, "dark"),
    "jobs": ("/jobs", 1280, 760, "light"),
    "job": ("/jobs/import-prices", 1280, 1400, "light"),
    "runs": ("/runs", 1280, 760, "dark"),
    "month": ("/month", 1280, 1110, "light"),
    "phone": ("/", 400, 860, "light"),
}
OUTPUT = (
    r"import-prices 4.2 reads 3 sources\n\033[32mok\033[0m      north  1,204 prices in \033[36m0.8 s\033[0m\n"
    r"\033[33mlate\033[0m    south    987 prices in \033[36m41 s\033[0m\n"
    r"\033[31mfailed\033[0m  west   connection refused, retry 1 of 3\n"
)
PROGRAMS = f"""\
sched {{ backing_store = "../var/sched.db" zone = "Europe/Berlin" }}
program "work" {{ argv = ( "/bin/sleep" "1000" ) kill_after = 1 }}
program "prices" {{ argv = ( "/usr/bin/printf" "{OUTPUT.replace(chr(92), chr(92) * 2)}" ) }}
program "send" {{ argv = ( "/bin/sh" "-c" "echo cannot reach the mail server >&2; exit 3" ) }}
program "tell" {{ argv = ( "/bin/true" ) }}
notify "ops" {{ command = "run tell" when = ( "failed" "recovered" ) }}
"""
# The schedule and the program of each job, and how it has behaved.
JOBS = {
    "mail-queue": ("every = 5m", "send", Habit(None, 5 * MINUTE_MS, 8_000, trouble=(("failed", 0.012),))),
    "import-prices": (
        "every = 15m",
        "prices",
        Habit(None, 15 * MINUTE_MS, 12 * MINUTE_MS, trouble=(("timed_out", 0.05), ("skipped", 0.03))),
    ),
    "backup-database": (
        'cron = "20 */6 * * *"',
        "work",
        Habit(None, 6 * HOUR_MS, 42 * MINUTE_MS, shift_ms=20 * MINUTE_MS),
    ),
    "nightly-report": (
        'cron = "30 2 * * *"',
        "work",
        Habit(None, DAY_MS, 95 * MINUTE_MS, trouble=(("failed", 0.2),), shift_ms=90 * MINUTE_MS),
    ),
    "rotate-logs": ('cron = "@hourly"', "work", Habit(None, HOUR_MS, 2_000)),
    "sync-mirror": (
        'cron = "10 */2 * * *"',
        "work",
        Habit(
            None,
            2 * HOUR_MS,
            33 * MINUTE_MS,
            trouble=(("cancelled", 0.1), ("interrupted", 0.05)),
            shift_ms=70 * MINUTE_MS,
        ),
    ),
    "renew-certificates": (
        'cron = "17 3,15 * * *"',
        "work",
        Habit(None, 12 * HOUR_MS, 20_000, shift_ms=137 * MINUTE_MS),
    ),
    "check-disks": ("every = 10m", "work", Habit(None, 10 * MINUTE_MS, 1_500, trouble=(("missed", 0.015),))),
    "reindex-search": (
        'cron = "0 */4 * * *"',
        "work",
        Habit(None, 4 * HOUR_MS, 150 * MINUTE_MS, trouble=(("failed", 0.06),), shift_ms=3 * HOUR_MS),
    ),
    "warm-cache": ("every = 30m", "work", Habit(None, 30 * MINUTE_MS, 70_000)),
}
REASONS = {
    "failed": "exit status 1",
    "timed_out": "timed out after 20 minutes",
    "skipped": "an earlier run goes on",
    "cancelled": "stopped by alice",
    "interrupted": "the machine was restarted",
    "missed": "no appliance ran",
}
COMMANDS = (
    *("sched run mail-queue", "sched run import-prices", "sched run sync-mirror", "sched run reindex-search"),
    *("sched pause warm-cache", "sched in 3h run send"),
)
# How long the runs that go on have run.
ELAPSED_MS = {"sync-mirror": 21 * MINUTE_MS, "reindex-search": 133 * MINUTE_MS}
DAYS = 14


def stanzas() -> str:
    jobs = [f'job "{name}" {{ {schedule} command = "run {program}" }}' for name, (schedule, program, _) in JOBS.items()]
    return PROGRAMS + "\n".join(jobs) + "\n"


@contextmanager
def appliance(root: Path) -> Iterator[WebPage]:
    """The page of a daemon with a past of some days, two running programs, a failing job and a paused one."""
    daemon = Daemon(root, stanzas()).start()
    daemon.end()
    now_ms = SystemClock().moment().wall
    with sqlite3.connect(daemon.var / "sched.db") as store:
        _write_past(store, now_ms)
    store.close()
    daemon.start()
    try:
        for command in COMMANDS:
            daemon.say(command)
        with sqlite3.connect(daemon.var / "sched.db") as store:
            for name, elapsed in ELAPSED_MS.items():
                eventually(partial(_age, store, name, elapsed), f"the start of {name}")
        store.close()
        page = WebPage(daemon).start()
        try:
            yield page
        finally:
            page.end()
    finally:
        daemon.end()


def _write_past(store: sqlite3.Connection, now_ms: int) -> None:
    dice = Random(7)
    numbers = dict(store.execute("SELECT declared, number FROM jobs WHERE declared IS NOT NULL"))
    rows = []
    for name, (_, program, habit) in JOBS.items():
        first = now_ms - DAYS * DAY_MS
        due = first - (first - habit.shift_ms) % habit.every_ms
        occurrence = 0
        # The jobs that go on have no later run.
        while due < now_ms - ELAPSED_MS.get(name, 0) - habit.takes_ms:
            occurrence += 1
            state = next((one for one, chance in habit.trouble if dice.random() < chance), "succeeded")
            ended = due + 200 + int(habit.takes_ms * dice.lognormvariate(0, 0.2))
            rows.append((due, numbers[name], occurrence, state, program, due + 200, ended))
            due += habit.every_ms
        store.execute("UPDATE jobs SET occurrence = ? WHERE number = ?", (occurrence, numbers[name]))
    for due, number, occurrence, state, program, started, ended in sorted(rows):
        has_started = state not in ("skipped", "missed")
        store.execute(
            "INSERT INTO runs (job, occurrence, due_ms, state, reason, command, uid, user, origin, attempts, claimed_ms,"
            " ended_ms) VALUES (?, ?, ?, ?, ?, ?, 0, 'root', 'stanza', ?, ?, ?)",
            (
                number,
                occurrence,
                due,
                state,
                REASONS.get(state),
                f"run {program}",
                has_started,
                due,
                ended if has_started else due,
            ),
        )
        if has_started:
            store.execute(
                "INSERT INTO attempts (job, occurrence, attempt, program, state, reason, boot_id, started_ms,"
                " started_boot_ms, ended_ms, took_ms, exit_status) VALUES (?, ?, 1, ?, ?, ?, 'earlier', ?, 0, ?, ?, ?)",
                (
                    number,
                    occurrence,
                    program,
                    state,
                    REASONS.get(state),
                    started,
                    ended,
                    ended - started,
                    0 if state == "succeeded" else 1,
                ),
            )


def _age(store: sqlite3.Connection, name: str, elapsed_ms: int) -> bool:
    """Makes the program of a job as old as that. Whether it has started."""
    aged = store.execute(
        "UPDATE attempts SET started_ms = started_ms - ?1, started_boot_ms = started_boot_ms - ?1 WHERE state = 'started'"
        " AND job = (SELECT number FROM jobs WHERE declared = ?2)",
        (elapsed_ms, name),
    )
    store.commit()
    return aged.rowcount == 1


def take(browser: Browser, url: str, folder: Path) -> None:
    """Photographs each screen."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (path, width, height, scheme) in SHOTS.items():
        options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "base_url": url}
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        tab = context.new_page()
        tab.goto(path)
        tab.screenshot(path=folder / f"{name}.png")
        context.close()


def main(folder: Path) -> None:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory(prefix="example-", dir="/tmp") as name,
        appliance(Path(name)) as page,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        take(browser, page.url, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
