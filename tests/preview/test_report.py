"""Rows as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from schedappliance.engine.records import RunKey
from schedappliance.engine.schedule import Missed
from schedappliance.model.calendars.calendar import DueTime
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.preview.report import Counts, JsonArray, Table, as_data, mark_text, summary
from schedappliance.preview.rows import Mark, Row
from schedappliance.store.jobs import Census
from tests.support.core import NODE, SECOND, START_MS

DAY = 86_400 * SECOND
ZONES = Zones(this_machine())
UTC_ZONE = ZONES.get("UTC")
RUN = Row(Mark.RUN, START_MS, START_MS, RunKey(7, 3), None, "run p", is_first=True)
LATER = START_MS + 5 * SECOND
MARKS = [
    (RUN, "run"),
    (RUN._replace(mark=Mark.CATCH_UP, catch_up=True), "catch-up"),
    (RUN._replace(mark=Mark.CATCH_UP, catch_up=True, missed=Missed(4, 0, 0)), "catch-up, 4 missed"),
    (RUN._replace(mark=Mark.WAITS, catch_up=True, missed=Missed(4, 0, 0)), "catch-up, waits for a place, 4 missed"),
    (RUN._replace(mark=Mark.MISSED, missed=Missed(12, 0, 0), reason="a reason"), "missed 12: a reason"),
    (RUN._replace(mark=Mark.SKIPPED), "overlap: skipped"),
    (RUN._replace(mark=Mark.QUEUED), "overlap: queued"),
    (RUN._replace(mark=Mark.REPLACES), "overlap: replaces"),
    (RUN._replace(mark=Mark.FAILED, reason="one line\nand  another"), "failed: one line and another"),
    (RUN._replace(mark=Mark.STARTS, at_ms=LATER, attempt=1), "starts at 22:13:25+00:00"),
    (RUN._replace(mark=Mark.STARTS, at_ms=LATER, attempt=2), "starts at 22:13:25+00:00, attempt 2"),
    (RUN._replace(mark=Mark.STARTS, at_ms=START_MS + DAY, attempt=1), "starts at 2023-11-15T22:13:20+00:00"),
    (RUN._replace(mark=Mark.RETRIED, again_ms=LATER, reason="why"), "retried at 22:13:25+00:00: why"),
    (RUN._replace(mark=Mark.TIMED_OUT, at_ms=LATER), "timed out at 22:13:25+00:00"),
    (RUN._replace(mark=Mark.REPLACED, at_ms=LATER), "replaced at 22:13:25+00:00"),
    (RUN._replace(mark=Mark.CANCELLED, at_ms=LATER, reason="why"), "cancelled at 22:13:25+00:00: why"),
    (RUN._replace(mark=Mark.INTERRUPTED, at_ms=LATER, reason="why"), "interrupted at 22:13:25+00:00: why"),
    (RUN._replace(mark=Mark.STOPS, reason="the end"), "the end"),
]


def test_every_mark_has_a_text() -> None:
    assert {row.mark for row, _ in MARKS} == set(Mark)


@pytest.mark.parametrize(("row", "text"), MARKS, ids=[text for _, text in MARKS])
def test_the_text_of_a_mark(row: Row, text: str) -> None:
    assert mark_text(row, UTC_ZONE) == text


def test_the_columns_of_a_table_are_aligned() -> None:
    table = Table(NODE, ["a-name-that-is-longer-than-any-id-of-a-job", "b"], UTC_ZONE)
    rows = [RUN, RUN._replace(declared="b"), RUN._replace(mark=Mark.FAILED, reason="long " * 10)]
    lines = [table.header(), *(table.row(row) for row in rows)]
    assert [line.index("  run p") for line in lines[1:3]] == [lines[0].index("  COMMAND")] * 2
    assert lines[1].startswith("2023-11-14T22:13:20+00:00  example.com-000000007  ")
    assert all(line == line.rstrip() + "\n" for line in lines)


def test_the_rows_after_a_wide_mark_are_aligned_with_it() -> None:
    table = Table(NODE, [], UTC_ZONE)
    new_york = RUN._replace(about=DueTime(START_MS, ZONES.get("America/New_York"), 0, None, 0, 0, None))
    lines = [table.row(row) for row in (RUN, new_york, RUN, new_york)]
    columns = [line.index("  run p") for line in lines]
    assert "run, 17:13:20-05:00 in America/New_York  run p" in lines[1]
    assert columns[0] < columns[1] and len(set(columns[1:])) == 1


def test_json_is_an_array_with_one_row_on_each_line() -> None:
    array = JsonArray(NODE)
    rows = [row for row, _ in MARKS]
    text = array.header() + "".join(array.row(row) for row in rows) + array.footer()
    data = json.loads(text)
    assert len(text.splitlines()) == len(rows) + 2
    assert [row["mark"] for row in data] == [row.mark.value for row in rows]
    assert data[2] == {
        "due_ms": START_MS,
        "due": "2023-11-14T22:13:20Z",
        "at_ms": START_MS,
        "at": "2023-11-14T22:13:20Z",
        "id": "example.com-000000007",
        "run": "example.com-000000007/3",
        "declared": None,
        "command": "run p",
        "mark": "catch-up",
        "reason": None,
        "catch_up": True,
        "missed": 4,
        "missed_since_ms": 0,
        "attempt": None,
        "again_ms": None,
        "note": None,
    }


def test_json_without_rows_is_an_empty_array() -> None:
    array = JsonArray(NODE)
    assert array.header() + array.footer() == "[]\n"


def test_the_summary_leaves_out_counts_of_zero() -> None:
    counts = Counts()
    for row, _ in MARKS:
        counts.add(row)
    text = summary(counts, "a period", Census(1200, 2, 3, 4))
    assert text == (
        "a period: 6 runs, 3 caught up, 20 missed, 1 skipped, 1 queued, "
        "1 replacing others, 1 timed out, 1 failed; 1,200 jobs, 2 paused, 3 off or done, 4 due later"
    )
    assert summary(Counts(), "a period", Census(1, 0, 0, 0)) == "a period: 0 runs; 1 job"
    assert summary(Counts(), "a period", None) == "a period: 0 runs"


def test_the_due_times_of_all_jobs_are_in_one_zone() -> None:
    """The local time of a calendar stands beside the mark if its zone has another offset; on another day, with its date."""
    berlin, london, tokyo = map(ZONES.get, ("Europe/Berlin", "Europe/London", "Asia/Tokyo"))
    about = DueTime(START_MS, london, 0, None, 0, 0, None)
    rows = [RUN, *(RUN._replace(about=replace(about, zone=zone)) for zone in (berlin, london, tokyo))]
    lines = [Table(NODE, [], berlin).row(row) for row in rows]
    assert {line.split()[0] for line in lines} == {"2023-11-14T23:13:20+01:00"}
    assert [mark_text(row, berlin) for row in rows] == [
        "run",
        "run",
        "run, 22:13:20+00:00 in Europe/London",
        "run, 2023-11-15T07:13:20+09:00 in Asia/Tokyo",
    ]


def test_a_due_time_after_the_last_date_of_a_list_has_a_note() -> None:
    """In the first row of its run."""
    about = DueTime(START_MS, UTC_ZONE, 0, "skipped", 0, 0, None, (("holidays", 19_000),))
    row, note = RUN._replace(about=about), "after the last date of `holidays`, 2022-01-08"
    assert mark_text(row, UTC_ZONE) == f"run, clock change, {note}"
    assert as_data(row, NODE)["note"] == f"clock change; {note}"
    assert as_data(row._replace(is_first=False), NODE)["note"] is None
