"""The runs as columns hold what the history says, in any order in which it comes."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schedappliance.client.states import LIVE
from schedappliance.web.appliance.columns import STATES, RunColumns, RunRow

RUN_STATES = [state for state in STATES if state not in ("planned", "overlap")]
A, B = "example.com-000000001", "example.com-000000002"


def row(sequence: int, job: str = A, state: str = "succeeded", begin: int = 0, took: int | None = 10) -> dict[str, Any]:
    return {
        "run": f"{job}/{sequence}",
        "sequence": sequence,
        "state": state,
        "due_ms": begin,
        "started_ms": None if took is None else begin,
        "ended_ms": None if took is None or state in LIVE else begin + took,
        "took_ms": took,
    }


def of(*rows: dict[str, Any]) -> RunColumns:
    columns = RunColumns()
    columns.fill(rows)
    return columns


def content(columns: RunColumns) -> list[RunRow]:
    return [columns.row(at) for at in range(len(columns))]


def test_a_row_comes_back_as_it_was() -> None:
    columns = of(row(7, B, "missed", 5_000, None))
    assert content(columns) == [RunRow(f"{B}/7", B, "missed", 5_000, None, None, None)]
    assert content(columns)[0].took_ms is None
    assert content(of(row(8, A, "failed", 5_000, 70)))[0].took_ms == 70
    assert content(of(row(9, A, "started", 5_000, 70)))[0].took_ms is None, "it goes on"


def test_only_a_run_that_goes_on_has_a_begin_in_boot_time() -> None:
    columns = of(row(1), row(2, B, "started") | {"began_ms": 5}, row(3, A, "started") | {"began_ms": 6})
    assert [run.began_ms for run in content(columns)] == [None, 5, 6]
    assert [run.began_ms for run in content(columns.only([B]))] == [5]
    columns.put(row(2, B, "failed", 0, 40))
    columns.forget(5)
    assert {run.run: run.began_ms for run in content(columns)} == {f"{A}/1": None, f"{B}/2": None, f"{A}/3": 6}


def test_a_run_took_what_the_appliance_says_whatever_its_clock_showed() -> None:
    runs = [row(number, took=70) | {"ended_ms": 60_000} for number in (1, 2, 3)]
    assert (content(of(*runs))[0].took_ms, of(*runs).usual([A])[A]) == (70, 70)


def test_an_event_replaces_the_earlier_row_of_its_run() -> None:
    columns = of(row(1), row(2, B, "started"), row(3))
    columns.put(row(2, B, "failed", 0, 40))
    assert [run.state for run in content(columns)] == ["succeeded", "failed", "succeeded"]
    assert content(columns)[1].ended_ms == 40


def test_a_job_fails_if_its_last_run_that_says_something_failed() -> None:
    assert of(row(1), row(2, state="failed")).failing() == {A}
    assert of(row(1, state="timed_out"), row(2)).failing() == set()
    for state in ("started", "queued", "skipped", "missed", "cancelled"):
        assert of(row(1, state="interrupted"), row(2, B), row(3, state=state)).failing() == {A}, state


def test_the_runs_of_some_jobs_are_columns_of_their_own() -> None:
    columns = of(row(1), row(2, B, "failed"), row(3, state="missed"), row(4, state="failed"), row(5))
    assert content(columns.only([B])) == content(of(row(2, B, "failed")))
    assert content(columns.only([])) == [] == content(columns.only(["example.com-000000009"]))
    assert [run.run for run in columns.last(["failed", "missed"], 2)] == [f"{A}/4", f"{A}/3"]
    assert [run.run for run in columns.only([A]).last(["failed"], 9)] == [f"{A}/4"]


rows = st.lists(
    st.builds(
        row,
        st.integers(1, 30),
        st.sampled_from([A, B]),
        st.sampled_from(RUN_STATES),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(st.lists(rows, max_size=5), st.lists(st.booleans(), min_size=5, max_size=5))
def test_pages_and_events_in_any_order_give_the_last_row_of_each_run(
    pages: list[list[dict[str, Any]]], are_events: list[bool]
) -> None:
    columns, last = RunColumns(), dict[int, dict[str, Any]]()
    for page, as_events in zip(pages, are_events, strict=False):
        last.update((one["sequence"], one) for one in page)
        if as_events:
            for one in page:
                columns.put(one)
        else:
            columns.fill(page)
    assert content(columns) == content(of(*last.values())) if last else len(columns) == 0
    assert list(columns.sequences) == sorted(last)
    assert [run.run for run in content(columns)] == [last[sequence]["run"] for sequence in sorted(last)]


@given(rows, st.integers(0, 20))
def test_runs_that_ended_earlier_are_forgotten(page: list[dict[str, Any]], before: int) -> None:
    columns = of(*page)
    remaining = [
        run
        for run in content(columns)
        if run.state in LIVE or (run.due_ms if run.ended_ms is None else run.ended_ms) >= before
    ]
    columns.forget(before)
    assert content(columns) == remaining


@settings(max_examples=50)
@given(rows, st.integers(0, 5))
def test_the_newest_runs_of_each_job(page: list[dict[str, Any]], most: int) -> None:
    columns = of(*page)
    wanted = {job: [run for run in reversed(content(columns)) if run.job == job][:most] for job in (A, B)}
    assert columns.newest([A, B], most) == wanted
    assert columns.of(A, most) == wanted[A]


def test_a_job_of_another_node_has_no_runs() -> None:
    assert of(row(1)).newest(["other.com-000000001", "nonsense"], 5) == {"other.com-000000001": [], "nonsense": []}


def test_live_runs_and_counts() -> None:
    columns = of(
        row(1, state="started"), row(2, state="queued"), row(3, state="failed", begin=50), row(4, begin=60, took=40)
    )
    assert [run.run for run in columns.live()] == [f"{A}/1", f"{A}/2"]
    assert columns.counts(0) == Counter({"failed": 1, "succeeded": 1})
    assert columns.counts(61) == Counter({"succeeded": 1})
    assert columns.counts(101) == Counter()


def test_what_is_usual_is_the_lower_median_of_the_last_five_successes() -> None:
    taken = [90, 1, 4, 3, 2]
    columns = of(
        *(row(number, A, took=took) for number, took in enumerate(taken, 1)),
        row(6, A, "failed", took=5_000),
        row(7, A, took=5),
        row(8, B, took=1),
        row(9, B, took=1),
    )
    assert columns.usual([A, B]) == {A: 3, B: None}
    assert columns.usual_ms(A) == 3


def test_many_runs_take_little_memory() -> None:
    """57 bytes a run, and the room that the columns have for the next ones: 110,000 runs take 7 MB."""
    columns = RunColumns()
    columns.fill(row(number) for number in range(1, 2001))
    assert sum(map(sys.getsizeof, columns._columns())) < 68 * len(columns)
