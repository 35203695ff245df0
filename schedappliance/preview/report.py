"""The rows of a preview as a table or as JSON. Each row is formatted when it arrives, and no row is kept.

Rule: a table shows all instants in one zone, and beside them the local time of a calendar that is in another zone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from schedappliance.clock import local_text, time_data
from schedappliance.diagnostics import counted
from schedappliance.engine.records import job_id, run_id
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.texts import end_notes
from schedappliance.preview.rows import Mark, Row
from schedappliance.store.jobs import Census
from schedappliance.visible import json_text

TIME_WIDTH = len("2026-11-22T18:01:00+01:00")
# The column of marks becomes as wide as the widest mark until then, within these limits.
MARK_WIDTH, WIDEST_MARK = 20, 45
WIDEST_NAME = 40
RUNS = (Mark.RUN, Mark.CATCH_UP, Mark.QUEUED, Mark.REPLACES, Mark.WAITS)


@dataclass(slots=True)
class Counts:
    """The totals of the rows. `further_ms`: when the first row beyond the limit comes. `first`: the first rows of runs."""

    rows: int = 0
    further_ms: int | None = None
    first: Counter[Mark] = field(default_factory=Counter)
    caught_up: int = 0
    missed: int = 0
    failed: int = 0
    timed_out: int = 0

    def add(self, row: Row) -> None:
        self.rows += 1
        self.caught_up += row.catch_up and row.mark in RUNS
        self.missed += row.missed.count if row.missed else 0
        self.failed += row.mark is Mark.FAILED
        self.timed_out += row.mark is Mark.TIMED_OUT
        if row.is_first:
            self.first[row.mark] += 1

    @property
    def runs(self) -> int:
        return sum(self.first[mark] for mark in RUNS)


class Table:
    """For people: a header, and one line for each row."""

    def __init__(self, node: str, names: Iterable[str], zone: Zone) -> None:
        self._node, self._zone = node, zone
        widest = max([len(job_id(node, 1)), *map(len, names)])
        self._name_width = min(widest, WIDEST_NAME)
        self._mark_width = MARK_WIDTH

    def header(self) -> str:
        return self._line("DUE TIME", "JOB", "MARK", "COMMAND")

    def row(self, row: Row) -> str:
        name = "" if row.key is None else row.declared or job_id(self._node, row.key.job)
        return self._line(_text(row.due_ms, self._zone), name, mark_text(row, self._zone), row.command)

    def _line(self, due: str, name: str, mark: str, command: str) -> str:
        if len(mark) <= WIDEST_MARK:
            self._mark_width = max(self._mark_width, len(mark))
        return f"{due:<{TIME_WIDTH}}  {name:<{self._name_width}}  {mark:<{self._mark_width}}  {command}".rstrip() + "\n"

    def footer(self) -> str:
        return ""


def mark_text(row: Row, zone: Zone) -> str:
    """The mark of a row, as a table in a zone shows it."""
    return ", ".join(_words(row, zone))


# The decisions that need no instant and no reason.
_PLAIN = {
    Mark.RUN: "run",
    Mark.CATCH_UP: "",
    Mark.SKIPPED: "overlap: skipped",
    Mark.QUEUED: "overlap: queued",
    Mark.REPLACES: "overlap: replaces",
    Mark.WAITS: "waits for a place",
}


def _words(row: Row, zone: Zone) -> Iterator[str]:
    if row.catch_up and row.mark in RUNS:
        yield "catch-up"
    if decision := _PLAIN[row.mark] if row.mark in _PLAIN else _decision(row, zone):
        yield decision
    if row.missed and row.mark is not Mark.MISSED:
        yield f"{row.missed.count} missed"
    yield from _notes(row)
    if row.is_first and row.about and _text(row.due_ms, row.about.zone) != _text(row.due_ms, zone):
        yield f"{_near(row, row.due_ms, zone, row.about.zone)} in {row.about.zone.name or 'local time'}"
    if row.attempt is not None and row.attempt > 1:
        yield f"attempt {row.attempt}"


def _decision(row: Row, zone: Zone) -> str:
    at, why = _near(row, row.at_ms, zone), " ".join((row.reason or "").split())
    return {
        Mark.MISSED: f"missed {row.missed.count if row.missed else 1}: {why}",
        Mark.FAILED: f"failed: {why}",
        Mark.STARTS: f"starts at {at}",
        Mark.RETRIED: f"retried at {_near(row, row.again_ms or 0, zone)}: {why}",
        Mark.TIMED_OUT: f"timed out at {at}",
        Mark.REPLACED: f"replaced at {at}",
        Mark.CANCELLED: f"cancelled at {at}: {why}",
        Mark.INTERRUPTED: f"interrupted at {at}: {why}",
        Mark.STOPS: why,
    }[row.mark]


def _notes(row: Row) -> Iterator[str]:
    """What is special about the due time, in the first row of a run."""
    if row.is_first and row.about:
        if row.about.change:
            yield "clock change"
        yield from end_notes(row.about)


def _near(row: Row, milliseconds: int, zone: Zone, other: Zone | None = None) -> str:
    """An instant shown beside the due time, in another zone if one is given: without the date if both are on the same day."""
    shown = _text(milliseconds, other or zone)
    date, _, time = shown.partition("T")
    return time if date == _text(row.due_ms, zone).partition("T")[0] else shown


# Many rows have the same instants.
_text = lru_cache(maxsize=64)(local_text)


def as_data(row: Row, node: str) -> dict[str, Any]:
    """For programs."""
    return {
        **time_data("due", row.due_ms),
        **time_data("at", row.at_ms),
        "id": job_id(node, row.key.job) if row.key else None,
        "run": run_id(node, row.key) if row.key else None,
        "declared": row.declared,
        "command": row.command or None,
        "mark": row.mark.value,
        "reason": row.reason,
        "catch_up": row.catch_up,
        "missed": row.missed.count if row.missed else None,
        "missed_since_ms": row.missed.since_ms if row.missed else None,
        "attempt": row.attempt,
        "again_ms": row.again_ms,
        "note": "; ".join(_notes(row)) or None,
    }


class JsonArray:
    """For programs: an array, one row on each line."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._has_rows = False

    def header(self) -> str:
        return "["

    def row(self, row: Row) -> str:
        separator, self._has_rows = (",\n" if self._has_rows else "\n"), True
        return separator + json_text(as_data(row, self._node))

    def footer(self) -> str:
        return "\n]\n" if self._has_rows else "]\n"


def further_rows(at: str) -> str:
    return f"further rows follow from {at} on; a larger limit shows them"


def summary(counts: Counts, period: str, census: Census | None) -> str:
    """One line: the numbers of runs by their marks, and the jobs that do not run. Counts of 0 are left out.

    `census` None: the rows are those of a part of the jobs.
    """
    happens = {
        "caught up": counts.caught_up,
        "missed": counts.missed,
        "skipped": counts.first[Mark.SKIPPED],
        "queued": counts.first[Mark.QUEUED],
        "replacing others": counts.first[Mark.REPLACES],
        "timed out": counts.timed_out,
        "failed": counts.failed,
    }
    runs = ", ".join([counted(counts.runs, "run"), *_some(happens)])
    if census is None:
        return f"{period}: {runs}"
    idle = {"paused": census.paused, "off or done": census.off, "due later": census.later}
    jobs = ", ".join([counted(census.total, "job"), *_some(idle)])
    return f"{period}: {runs}; {jobs}"


def _some(counts: Mapping[str, int]) -> list[str]:
    return [f"{count:,} {what}" for what, count in counts.items() if count]
