"""The pictures show what the runs are: right places, shapes and words; nothing of others is markup or style."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schedappliance.client.states import LIVE
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.web.appliance.columns import STATES, RunColumns, RunRow
from schedappliance.web.pictures.axes import ticks
from schedappliance.web.pictures.calendar import Day, calendar, month_days, month_edges, month_name, month_span
from schedappliance.web.pictures.cells import cells
from schedappliance.web.pictures.durations import durations
from schedappliance.web.pictures.lanes import COLUMNS, Lane, Span, lanes, tracks
from schedappliance.web.pictures.timeline import timeline
from schedappliance.web.rendering.times import Times

# 2026-11-29 12:00:00 UTC. A column of the span below lasts a second.
NOON = 1_795_953_600_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SPAN = Span(NOON - COLUMNS * 500, NOON, NOON + COLUMNS * 500)
JOB = "example.com-000000001"
HOSTILE = '"><script>alert(1)</script>\u202e\x00&'
RUN_STATES = [state for state in STATES if state not in ("planned", "overlap")]


def at_noon(zone: str = "UTC") -> Times:
    return Times(NOON, NOON, Zones(this_machine()).get(zone), zone)


def run_row(
    sequence: int, begin: int, end: int | None, state: str = "succeeded", job: str = JOB, due: int | None = None
) -> dict[str, Any]:
    """A run from one column of SPAN to another. Without an end it never started, or goes on."""
    has_started = end is not None or state == "started"
    return {
        "run": f"{job}/{sequence}",
        "sequence": sequence,
        "state": state,
        "due_ms": SPAN.since_ms + 1000 * (begin if due is None else due),
        "started_ms": SPAN.since_ms + 1000 * begin if has_started else None,
        "ended_ms": None if state in LIVE or end is None else SPAN.since_ms + 1000 * end,
        "took_ms": None if state in LIVE or end is None else 1000 * (end - begin),
    }


def columns_of(*rows: dict[str, Any]) -> RunColumns:
    columns = RunColumns()
    columns.fill(rows)
    return columns


def drawn(*rows: dict[str, Any], planned: Sequence[int] = ()) -> dict[int, str]:
    """What the columns of a lane show."""
    due = [SPAN.since_ms + 1000 * column for column in planned]
    (track,) = tracks(columns_of(*rows), [Lane("a", JOB, planned_ms=due)], SPAN)
    return {column: STATES[cell - 1] for column, cell in enumerate(track.cells) if cell}


def well_formed(picture: str) -> ElementTree.Element:
    """The elements of a picture, none of which has a style or a script."""
    root = ElementTree.fromstring(f"<body>{picture}</body>")
    for element in root.iter():
        assert element.tag != "script" and not {"style", "onclick", "onload"} & set(element.keys())
    return root


def words_of(root: ElementTree.Element) -> str:
    return " ".join(root.itertext())


def test_a_run_takes_the_columns_of_its_time() -> None:
    assert drawn(run_row(1, 10, 12)) == dict.fromkeys((10, 11, 12), "succeeded")
    assert drawn(run_row(1, 10, 10)) == {10: "succeeded"}


def test_a_failure_takes_two_columns_at_least() -> None:
    assert drawn(run_row(1, 10, 10, "failed")) == dict.fromkeys((10, 11), "failed")
    assert drawn(run_row(1, COLUMNS - 1, COLUMNS - 1, "failed")) == {COLUMNS - 1: "failed"}


def test_the_most_important_state_of_a_column_is_shown() -> None:
    rows = [run_row(1, 10, 10, "failed"), run_row(2, 10, 14), run_row(3, 11, None, "missed")]
    assert drawn(*rows, planned=[10, 20]) == {
        **dict.fromkeys((10, 11), "failed"),
        **dict.fromkeys((12, 13, 14), "succeeded"),
        20: "planned",
    }


def test_a_run_that_begins_before_another_has_ended_overlaps() -> None:
    assert drawn(run_row(1, 10, 14), run_row(2, 13, 16))[13] == "overlap"
    assert "overlap" not in drawn(run_row(1, 10, 14), run_row(2, 14, 16)).values()


def test_a_run_that_waited_and_began_after_a_later_one_does_not_overlap_it() -> None:
    assert "overlap" not in drawn(run_row(1, 20, 24, due=10), run_row(2, 12, 14)).values()


def test_a_live_run_goes_on_until_now() -> None:
    states = drawn(run_row(1, 355, None, "started"))
    assert states == dict.fromkeys(range(355, 361), "started")


def test_what_lies_outside_the_span_is_cut_or_left_out() -> None:
    assert drawn(run_row(1, -20, -10), run_row(2, COLUMNS + 5, COLUMNS + 9)) == {}
    assert drawn(run_row(1, -20, 1)) == dict.fromkeys((0, 1), "succeeded")
    assert drawn(run_row(1, -20, -20, "failed"), run_row(2, 0, 0)) == {0: "succeeded"}


runs = st.lists(
    st.builds(
        run_row,
        st.integers(1, 50),
        st.integers(-30, COLUMNS + 30),
        st.one_of(st.none(), st.integers(-30, COLUMNS + 30)),
        st.sampled_from(RUN_STATES),
        st.sampled_from([JOB, "example.com-000000002"]),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(runs, st.text(max_size=20))
@example([run_row(1, 0, 721)], "")
def test_any_runs_and_names_give_a_well_formed_timeline(rows: list[dict[str, Any]], name: str) -> None:
    heads = [Lane(name, JOB, f"/jobs/{JOB}", True, [NOON + MINUTE], 5_000), Lane("others", None)]
    root = well_formed(timeline(columns_of(*rows), heads, SPAN, at_noon(), lambda run: f"/runs/{run}"))
    for element in root.iter():
        for key in ("x", "width", "x1"):
            value = element.get(key, "0%")
            assert not value.endswith("%") or -0.01 <= float(value[:-1]) <= 100.01


def test_the_timeline_says_in_words_what_it_shows() -> None:
    rows = [run_row(1, 1, 2), run_row(2, 3, 4, "failed"), run_row(3, 350, None, "started")]
    picture = timeline(columns_of(*rows), [Lane(HOSTILE, JOB, "/jobs/1", True, [NOON + MINUTE])], SPAN, at_noon(), str)
    root = well_formed(picture)
    assert "<script" not in picture and "\u202e" not in picture and "\\u{202e}" in picture
    (lane,) = [element for element in root.iter("svg") if element.get("class") == "lane-plot"]
    assert (lane.get("aria-label") or "").endswith(": 3 runs, 1 succeeded, 1 started, 1 failed, next due in 1 min")
    assert "paused" in words_of(root) and "now" in words_of(root)


def test_a_run_that_did_not_succeed_is_a_link_of_its_own() -> None:
    many = [run_row(number, number, number) for number in range(1, 300)]
    picture = timeline(
        columns_of(*many, run_row(400, 100, 101, "failed")), [Lane("a", JOB)], SPAN, at_noon(), "/r/{}".format
    )
    links = list(well_formed(picture).iter("a"))
    assert [link.get("href") for link in links] == [f"/r/{JOB}/400"]
    assert "failed · 2026-11-29 11:55:40 +00:00 · took 1.0 s" in words_of(links[0])
    few = timeline(columns_of(*many[:5]), [Lane("a", JOB)], SPAN, at_noon(), "/r/{}".format)
    assert len(list(well_formed(few).iter("a"))) == 5


def test_the_newest_failures_have_marks_which_do_not_hide_each_other() -> None:
    rows = [run_row(number, 8 * number, 8 * number, "failed") for number in range(1, 60)]
    picture = timeline(columns_of(*rows), [Lane("a", JOB)], SPAN, at_noon(), str)
    (lane,) = [element for element in well_formed(picture).iter("svg") if element.get("class") == "lane-plot"]
    places = [float(str(use.get("x"))[:-1]) * COLUMNS / 100 for use in lane.iter("use")]
    assert len(places) == 24 and places[0] == pytest.approx(8 * 59 + 1, abs=0.1)
    assert all(one - other >= 8.9 for one, other in pairwise(places))


def test_an_empty_lane_of_others_is_left_out() -> None:
    assert "lane-name" not in timeline(RunColumns(), [Lane("others", None)], SPAN, at_noon(), str)
    assert "lane-name" in timeline(columns_of(run_row(1, 1, 2)), [Lane("others", None)], SPAN, at_noon(), str)


def job_row(number: int, name: str | None, next_ms: int, interval: int | None, paused: bool = False) -> dict[str, Any]:
    key = f"example.com-{number:09d}"
    return {
        "id": key,
        "name": name,
        "command": f"run {number}",
        "next_run_ms": next_ms,
        "interval_ms": interval,
        "calendar": None,
        "paused": paused,
    }


def test_failing_jobs_come_first_then_those_that_are_due_next() -> None:
    jobs = [
        job_row(1, "a", NOON + 3000, None),
        job_row(2, "b", NOON + 2000, 60_000, paused=True),
        job_row(3, "c", NOON + 9000, 100_000),
        job_row(4, None, NOON + 1000, None),
    ]
    columns = columns_of(run_row(1, 5, 6, "failed", "example.com-000000003"))
    result = lanes(jobs, columns, SPAN, href=str, planned={"example.com-000000001": [NOON + 3000, NOON + 10**9]})
    assert [lane.name for lane in result] == ["c", "b", "a", "others (1 job)"]
    assert [list(lane.planned_ms) for lane in result] == [
        [NOON + 9000, NOON + 109_000, NOON + 209_000, NOON + 309_000],
        [],
        [NOON + 3000],
        [NOON + 1000],
    ]
    few = lanes(jobs, columns, SPAN, href=str, most=1)
    assert [(lane.name, lane.job) for lane in few] == [("c", "example.com-000000003"), ("others (3 jobs)", None)]


def test_an_interval_of_a_millisecond_gives_few_due_times() -> None:
    (lane, _) = lanes([job_row(1, "a", NOON, 1)], RunColumns(), SPAN, href=str)
    assert len(lane.planned_ms) <= 201


@pytest.mark.parametrize(
    ("since", "until", "zone", "labels"),
    [
        (NOON - HOUR, NOON + HOUR, "UTC", ["11:00", "11:10", "11:20"]),
        (NOON - 12 * HOUR, NOON + 12 * HOUR, "UTC", ["Sun 29", "02:00", "04:00"]),
        (NOON - 12 * HOUR, NOON + 12 * HOUR, "Asia/Kolkata", ["06:00", "08:00", "10:00"]),
        (NOON - 7 * DAY, NOON + 7 * DAY, "UTC", ["Mon 23 Nov", "Wed 25 Nov"]),
    ],
)
def test_the_ticks_of_an_axis(since: int, until: int, zone: str, labels: list[str]) -> None:
    marks = ticks(since, until, at_noon(zone), 13)
    assert [mark.label for mark in marks][: len(labels)] == labels
    assert all(since <= mark.at_ms <= until for mark in marks) and len(marks) <= 13


@given(
    st.integers(0, 4 * 10**12), st.integers(1, 30 * DAY), st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "UTC"])
)
def test_the_ticks_of_any_span_are_few_and_in_order(since: int, length: int, zone: str) -> None:
    marks = [mark.at_ms for mark in ticks(since, since + length, at_noon(zone))]
    assert len(marks) <= 14 and marks == sorted(set(marks))


def one(state: str, number: int = 1, took: int | None = 5_000) -> RunRow:
    started = None if state in ("missed", "skipped", "queued") else NOON
    ended = None if state in LIVE or took is None or started is None else NOON + took
    return RunRow(f"{JOB}/{number}", JOB, state, NOON, started, ended, None if ended is None else took)


@pytest.mark.parametrize("state", RUN_STATES)
def test_a_cell_links_to_its_run(state: str) -> None:
    root = well_formed(cells([one(state)], "/runs/{}".format, at_noon()))
    (link,) = root.iter("a")
    assert link.get("href") == f"/runs/{JOB}/1"
    assert state.replace("_", " ") in words_of(link)
    assert [path.get("class") for path in link.iter("path")] == [f"c-{state}"]


def test_cells_have_one_size_and_the_newest_at_the_right() -> None:
    shown = [one("failed", 30), *(one("succeeded", number) for number in range(29, 0, -1))]
    for runs_shown in (shown, shown[:3], []):
        (svg,) = well_formed(cells(runs_shown, str, at_noon())).iter("svg")
        assert (svg.get("width"), svg.get("height")) == ("160", "16")
    links = list(well_formed(cells(shown, str, at_noon())).iter("a"))
    assert [link.get("href") for link in links] == [f"{JOB}/{number}" for number in range(11, 31)]
    assert "last 20, oldest first: 19 succeeded and 1 failed" in cells(shown, str, at_noon())
    assert "no runs yet" in cells([], str, at_noon())


def test_different_kinds_have_different_cells() -> None:
    """A state can be told from its neighbours without its colour."""
    kinds = ["succeeded", "failed", "missed", "cancelled", "started"]
    shapes = {
        re.sub(
            "M[0-9.]+ ",
            "",
            re.findall('class="c-(?!none)[a-z]+" d="([^"]+)', cells([one(s)], str, at_noon(), most=1))[0],
        )
        for s in kinds
    }
    assert len(shapes) == len(kinds)


def bars(picture: str) -> list[tuple[str, float]]:
    return [
        (str(element.get("class")), float(str(element.get("height"))))
        for element in well_formed(picture).iter("rect")
        if str(element.get("class")).startswith("d-")
    ]


def test_bars_are_as_high_as_their_runs_are_long() -> None:
    shown = [one("failed", 3, 10_000), one("missed", 2), one("succeeded", 1, 5_000)]
    picture = durations(shown, str, at_noon(), usual_ms=5_000)
    assert bars(picture) == [("d-succeeded", 64.0), ("d-failed", 128.0)]
    assert "durations of the last 3 runs: at most 10 s, usually 5.0 s" in picture
    assert 'class="median"' in picture


def test_the_share_of_successes_leaves_out_what_goes_on() -> None:
    shown = [one("started", 4), one("failed", 3, 10_000), one("missed", 2), one("succeeded", 1, 5_000)]
    assert "<span>1 of 3 succeeded</span>" in durations(shown, str, at_noon(), usual_ms=5_000)


def test_one_long_run_does_not_hide_the_others() -> None:
    picture = durations([one("succeeded", 2, DAY), one("succeeded", 1, 5_000)], str, at_noon(), usual_ms=5_000)
    assert [height for _, height in bars(picture)] == [25.6, 128.0]
    assert 'class="cut"' in picture


@given(st.lists(st.builds(one, st.sampled_from(RUN_STATES), st.integers(1, 9), st.integers(0, 10**12)), max_size=120))
def test_any_runs_give_well_formed_bars(shown: list[RunRow]) -> None:
    for usual in (None, 0, 4_000):
        well_formed(durations(shown, str, at_noon(), usual_ms=usual))


def test_a_job_without_runs_says_so() -> None:
    assert "No run yet" in durations([], str, at_noon())


def test_the_days_of_a_month_with_a_clock_change() -> None:
    berlin = at_noon("Europe/Berlin")
    edges = month_edges(2027, 3, berlin)
    assert len(edges) == 32
    assert [berlin.absolute(edges[day]) for day in (27, 28, 31)] == [
        "2027-03-28 00:00:00 +01:00",
        "2027-03-29 00:00:00 +02:00",
        "2027-04-01 00:00:00 +02:00",
    ]
    assert month_name(2027, 3) == "March 2027"
    assert month_span(2027, 3, berlin) == (edges[0], edges[-1])


def test_a_day_counts_its_runs_and_the_due_times_after_now() -> None:
    columns = columns_of(
        {**run_row(1, 0, 1), "due_ms": NOON - DAY, "started_ms": NOON - DAY},
        {**run_row(2, 0, 1, "failed"), "due_ms": NOON, "started_ms": NOON},
        {**run_row(3, 0, 1, job="example.com-000000002"), "due_ms": NOON, "started_ms": NOON},
    )
    due = [NOON - 1, NOON + HOUR, NOON + DAY, NOON + 5 * DAY]
    days = month_days(columns, due, 2026, 11, at_noon())
    assert days == {28: Day(0, {"succeeded": 1}), 29: Day(1, {"failed": 1, "succeeded": 1}), 30: Day(1)}
    assert month_days(columns, [], 2026, 11, at_noon(), JOB)[29] == Day(0, {"failed": 1})
    # In Kiribati it is already tomorrow.
    assert set(month_days(columns, [], 2026, 11, at_noon("Pacific/Kiritimati"))) == {29, 30}


def test_the_calendar_is_a_table_of_weeks() -> None:
    days = {29: Day(3, {"succeeded": 90, "failed": 1, "timed_out": 2})}
    root = well_formed(calendar(2026, 11, days, at_noon(), "/runs?day={}".format))
    assert [head.get("scope") for head in root.iter("th")] == ["col"] * 7
    assert len(list(root.iter("tr"))) == 7
    (today,) = [cell for cell in root.iter("td") if cell.get("aria-current") == "date"]
    assert words_of(today).split() == ["29", "3", "failed", "93", "runs", "3", "due"]
    assert [link.get("href") for link in root.iter("a")] == ["/runs?day=2026-11-29"]
