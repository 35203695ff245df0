"""Runs and jobs of a month that never was, for the gallery, the tests and the benchmark of the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from schedappliance.web.appliance.columns import RunColumns

# 2026-11-29 14:20:03.250 UTC, a Sunday.
NOW_MS = 1_795_962_003_250
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NODE = "example.com"


@dataclass(frozen=True)
class Habit:
    """A job: how often it is due, how long it takes, and how it fails. `trouble`: states and how likely each is."""

    name: str | None
    every_ms: int
    takes_ms: int
    command: str = ""
    trouble: tuple[tuple[str, float], ...] = ()
    paused: bool = False
    shift_ms: int = 0
    is_running: bool = False
    only_last: str = ""


HABITS = (
    Habit("mail-queue", 5 * MINUTE_MS, 8_000, trouble=(("failed", 0.01),), only_last="failed"),
    Habit(
        "backup-database",
        6 * HOUR_MS,
        42 * MINUTE_MS,
        trouble=(("failed", 0.1),),
        shift_ms=20 * MINUTE_MS,
        is_running=True,
    ),
    Habit("import-prices", 15 * MINUTE_MS, 13 * MINUTE_MS, trouble=(("timed_out", 0.05), ("skipped", 0.04))),
    Habit("nightly-report", DAY_MS, 95 * MINUTE_MS, trouble=(("failed", 0.15),), shift_ms=12 * HOUR_MS),
    Habit("rotate-logs", HOUR_MS, 2_000),
    Habit("sync-mirror", 2 * HOUR_MS, 33 * MINUTE_MS, trouble=(("cancelled", 0.12), ("interrupted", 0.06))),
    Habit("renew-certificates", 12 * HOUR_MS, 20_000, shift_ms=3 * HOUR_MS),
    Habit("check-disks", 10 * MINUTE_MS, 1_500, trouble=(("missed", 0.02),)),
    Habit("warm-cache", 30 * MINUTE_MS, 70_000, paused=True),
    Habit("reindex-search", 4 * HOUR_MS, 160 * MINUTE_MS, shift_ms=HOUR_MS, trouble=(("failed", 0.1),)),
    Habit("invoices-of-the-month-for-all-customers", 8 * HOUR_MS, 6 * MINUTE_MS, trouble=(("replaced", 0.2),)),
    Habit("<script>alert(1)</script> \u202egnp.exe", 3 * HOUR_MS, 4 * MINUTE_MS),
    Habit("تقرير-يومي", 6 * HOUR_MS, 12 * MINUTE_MS, shift_ms=2 * HOUR_MS),
)


def jobs() -> list[dict[str, Any]]:
    """The rows of `json sched list`."""
    return [_job(number, habit) for number, habit in enumerate(HABITS, 1)]


def _job(number: int, habit: Habit) -> dict[str, Any]:
    next_ms = NOW_MS - (NOW_MS - habit.shift_ms) % habit.every_ms + habit.every_ms
    return {
        "id": f"{NODE}-{number:09d}",
        "name": habit.name,
        "next_run_ms": next_ms,
        "recurrent": True,
        "interval_ms": habit.every_ms,
        "calendar": None,
        "zone": None,
        "command": f"run {habit.name}",
        "user": "alice",
        "origin": "stanza file",
        "paused": habit.paused,
    }


def runs(days: int = 30) -> Iterator[dict[str, Any]]:
    """The rows of `json sched history`, the oldest first."""
    dice = Random(7)
    rows = [row for number, habit in enumerate(HABITS, 1) for row in _runs(number, habit, days, dice)]
    rows.sort(key=lambda row: (row["due_ms"], row["id"]))
    for sequence, row in enumerate(rows, 1):
        yield row | {"sequence": sequence}


def _runs(number: int, habit: Habit, days: int, dice: Random) -> Iterator[dict[str, Any]]:
    first = NOW_MS - days * DAY_MS
    due = first - (first - habit.shift_ms) % habit.every_ms + habit.every_ms
    last = NOW_MS - (NOW_MS - habit.shift_ms) % habit.every_ms
    occurrence = 0
    while due <= last:
        occurrence += 1
        state = next((name for name, chance in habit.trouble if dice.random() < chance), "succeeded")
        if habit.paused and due > NOW_MS - 3 * HOUR_MS:
            break
        if due == last and habit.only_last:
            state = habit.only_last
        started: int | None = due + dice.randint(20, 900)
        took = int(habit.takes_ms * dice.lognormvariate(0, 0.25))
        ended: int | None = due + took
        if state in ("missed", "skipped"):
            started, ended = None, due
        elif ended is not None and ended > NOW_MS:
            state, ended = "started", None
        yield {
            "run": f"{NODE}-{number:09d}/{occurrence}",
            "id": f"{NODE}-{number:09d}",
            "name": habit.name,
            "state": state,
            "due_ms": due,
            "started_ms": started,
            "ended_ms": ended,
            "took_ms": None if ended is None or started is None else ended - started,
            "began_ms": started if state == "started" else None,
        }
        due += habit.every_ms


def columns(days: int = 30) -> RunColumns:
    result = RunColumns()
    result.fill(runs(days))
    return result
