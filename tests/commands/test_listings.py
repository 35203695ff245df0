"""The filters and the pages of `sched history` and `sched list`."""

from __future__ import annotations

import json
import re

import pytest

from schedappliance.commands import sched
from schedappliance.commands.sched import HISTORY_HEADER, LIST_HEADER
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.states import RunState
from schedappliance.model.listings import STATES
from schedappliance.store import history
from tests.support.core import MINUTE, OPERATOR, SECOND, START_MS, Appliance, ended, some, spoken

HOUR = 60 * MINUTE


def occurrences(appliance: Appliance, line: str) -> list[str]:
    return [run["run"].removeprefix("example.com-00000000") for run in appliance.data(line)]


@pytest.fixture
def busy(either: Appliance) -> Appliance:
    """Job 1 has run at each of ten minutes; the program hello (jobs 2 and 3) has failed and succeeded."""
    either.say("sched every 60 pid")
    for _ in range(10):
        either.after(MINUTE)
    for status in (3, 0):
        either.say("run hello")
        (start,) = either.started()
        either.after(SECOND, ended(start.key.run, status))
    return either


def test_the_names_of_the_states_are_those_of_the_engine() -> None:
    assert set(STATES) == {str(state) for state in RunState}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("limit 2", ["3/1", "2/1"]),
        ("state failed", ["2/1"]),
        ("state FAILED,succeeded limit 3", ["3/1", "2/1", "1/10"]),
        ("LIMIT 1 STATE failed", ["2/1"]),
        ("state queued", []),
        ("example.com-000000001 limit 2", ["1/10", "1/9"]),
        ("example.com-000000001 before example.com-000000001/3", ["1/2", "1/1"]),
        ("before example.com-000000001/3", ["1/2", "1/1"]),
        ("since 1m", ["3/1", "2/1", "1/10"]),
        (f"since {(START_MS + 9 * MINUTE) // 1000} until {(START_MS + 10 * MINUTE) // 1000 - 1}", ["1/9"]),
        (f"until {(START_MS + MINUTE) // 1000}", ["1/1"]),
    ],
)
def test_the_history_is_filtered(busy: Appliance, words: str, expected: list[str]) -> None:
    assert occurrences(busy, f"sched history {words}") == expected


def test_a_row_says_which_program_ran_when(busy: Appliance) -> None:
    failed, internal = busy.data("sched history before example.com-000000003/1 limit 2")
    assert (failed["program"], failed["started_ms"]) == ("hello", failed["claimed_ms"])
    assert (internal["program"], internal["started_ms"]) == (None, None)
    assert failed["sequence"] == internal["sequence"] + 1


def test_pages_follow_each_other_until_all_runs_are_listed(busy: Appliance) -> None:
    line: str | None = "sched history limit 5 state succeeded"
    pages = []
    while line:
        text = busy.say(line)
        pages.append([row.split("\t")[0] for row in text.removeprefix(HISTORY_HEADER).splitlines() if "\t" in row])
        following = re.search(r"(\d+) more runs?: `(.*)`\n$", text)
        line = following[2] if following else None
    assert [len(page) for page in pages] == [5, 5, 1]
    assert len({run for page in pages for run in page}) == 11


def test_a_cut_list_as_data_says_so_in_its_note(busy: Appliance) -> None:
    answer = busy.ask("json sched history example.com-000000001 limit 8 before example.com-000000001/10")
    assert json.loads(spoken(answer))[-1]["occurrence"] == 2
    assert answer.rest and answer.rest().note == (
        "1 more run: `sched history example.com-000000001 limit 8 before example.com-000000001/2`"
    )
    whole = busy.ask("json sched history limit 12")
    assert len(json.loads(spoken(whole))) == 12
    assert whole.rest and whole.rest() == (None, None)


def test_a_history_that_is_being_sent_does_not_see_later_turns(appliance: Appliance) -> None:
    appliance.say("sched every 1 pid")
    for _ in range(300):
        appliance.after(SECOND)
    pieces = iter(appliance.ask("sched history limit 5000").output)
    assert [next(pieces), next(pieces).split("\t")[0]] == [HISTORY_HEADER, "example.com-000000001/300"]
    appliance.say("sched delete example.com-000000001")
    appliance.store.runs.prune(OPERATOR.uid, 0, 200)
    assert len([piece for piece in pieces if piece]) == 299


def test_a_search_that_finds_nothing_gives_way_after_each_step(
    busy: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of 200,000 runs held the deciding thread for 25 ms."""
    monkeypatch.setattr(history, "EXAMINED_AT_ONCE", 12)
    monkeypatch.setattr(history, "STEPS", 4)
    found = busy.ask("sched history state missed limit 1").output
    assert list(found) == [HISTORY_HEADER, "", "", "", ""]
    counted = busy.ask("sched history limit 2 state succeeded").output
    assert [len(piece) > 0 for piece in counted] == [True, True, True, False, False, False, False, True]


def test_a_long_history_in_a_result_is_cut(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sched, "LIST_LIMIT_IN_RESULT", 2)
    either.say("sched every 60 pid")
    either.after(MINUTE)
    either.after(MINUTE)
    either.after(MINUTE)
    rows = json.loads(either.drop("json sched history limit 3\n").result)["results"][0]["data"]
    assert [run["run"] for run in rows] == ["example.com-000000001/3", "example.com-000000001/2"]


def test_a_filter_counts_from_the_first_missed_due_time(either: Appliance) -> None:
    either.say("sched every 1h pid")
    either.after(5 * HOUR)
    first = (START_MS + HOUR) // 1000
    assert occurrences(either, f"sched history state missed until {first}") == ["1/4"]
    assert occurrences(either, f"sched history state missed until {first - 1}") == []


def test_one_command_examines_a_limited_number_of_runs(busy: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "EXAMINED_AT_ONCE", 4)
    line, searches = "sched history state missed", 0
    while following := re.search(r"the runs before (.*) were not searched: `(.*)`", busy.say(line)):
        assert following[2] == f"sched history state missed before {following[1]}"
        line, searches = following[2], searches + 1
    assert searches == 2
    assert "more run" not in busy.say("sched history example.com-000000001 state missed")
    assert "at least 2 more runs" in busy.say("sched history limit 2")


def test_many_more_runs_are_not_all_counted(busy: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (history, sched):
        monkeypatch.setattr(module, "MORE_COUNTED", 4)
    for key in ("", "example.com-000000001 "):
        assert busy.say(f"sched history {key}limit 3").splitlines()[-1].startswith("at least 4 more runs: ")
    assert busy.say("sched history limit 9").splitlines()[-1].startswith("3 more runs: ")


def test_pages_go_on_where_places_are_empty(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run has a row, then come the due times of a pause, which are one row."""
    monkeypatch.setattr(history, "EXAMINED_OF_JOB", 4)
    either.say("sched every 60 pid")
    either.after(MINUTE)
    either.say("sched pause example.com-000000001")
    either.after(HOUR)
    either.say("sched resume example.com-000000001")
    line, rows = "sched history example.com-000000001", []
    for _ in range(2):
        text = either.say(line)
        rows += [row.split("\t")[0] for row in text.splitlines()[1:] if "\t" in row]
        following = re.search(r"were not searched: `(.*)`\n$", text)
        line = following[1] if following else "nothing more"
    assert (rows, line) == (["example.com-000000001/61", "example.com-000000001/1"], "nothing more")


def test_a_due_time_before_1970_is_listed(either: Appliance) -> None:
    either.clock.step(-START_MS - MINUTE)
    either.say("run hello")
    assert occurrences(either, "sched history") == ["1/1"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("sched history before yesterday", "`yesterday` is not the id of a run"),
        ("sched history before example.com-000000001/99", "there is no run example.com-000000001/99"),
        (
            "sched history example.com-000000001 before example.com-000000002/1",
            "run example.com-000000002/1 is not one of job example.com-000000001",
        ),
        ("sched history example.com-000000099 state failed", "there is no job example.com-000000099"),
        ('sched history since "08:00 Europe/Berln"', "unknown time zone `Europe/Berln`"),
        ("sched list after example.com-000000099", "there is no job example.com-000000099"),
    ],
)
def test_a_filter_that_names_nothing_is_rejected(busy: Appliance, line: str, error: str) -> None:
    assert busy.error(line).startswith(f"error: {error}") or busy.error(line).startswith(error)


def test_a_known_job_without_wanted_runs_has_an_empty_history(busy: Appliance) -> None:
    busy.say("sched delete example.com-000000001")
    assert busy.say("sched history example.com-000000001 state failed") == HISTORY_HEADER


@pytest.fixture
def planned(either: Appliance) -> Appliance:
    for seconds in (300, 100, 200):
        either.say(f"sched in {seconds} config set a{seconds} 1")
    either.say("sched pause example.com-000000003")
    return either


@pytest.mark.parametrize(
    ("words", "expected", "more"),
    [
        ("", "231", None),
        ("find A200", "3", None),
        ("find example.com-000000001", "1", None),
        ("find nothing", "", None),
        ("limit 2", "23", "1 more job: `sched list limit 2 after example.com-000000003`"),
        ("limit 2 after example.com-000000003", "1", None),
        (
            "after example.com-000000002 limit 1 find set",
            "3",
            "1 more job: `sched list limit 1 find set after example.com-000000003`",
        ),
    ],
)
def test_the_list_is_filtered(planned: Appliance, words: str, expected: str, more: str | None) -> None:
    line = f"sched list {words}"
    assert "".join(job["id"][-1] for job in planned.data(line)) == expected
    header, *rows = planned.say(line).splitlines(keepends=True)
    assert header == LIST_HEADER
    assert (rows.pop().rstrip() if more else None) == more
    assert "".join(row.split("\t")[0][-1] for row in rows) == expected


def test_a_paused_job_is_told_apart_in_the_list(planned: Appliance) -> None:
    """The bytes of all other rows are those of Momentum."""
    rows = planned.say("sched list").removeprefix(LIST_HEADER).splitlines()
    assert [row.split("\t")[2] for row in rows] == ["  ", "p ", "  "]


def test_a_job_that_is_not_listed_begins_no_page(either: Appliance) -> None:
    either.say("sched in 5 run hello")
    either.after(5 * SECOND)
    assert "example.com-000000001" in either.error("sched list after example.com-000000001")


def test_a_result_does_not_count_the_jobs_that_follow(planned: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds few jobs, so it cannot tell how many follow."""
    monkeypatch.setattr(sched, "LIST_LIMIT_IN_RESULT", 2)
    for limit, shown, last in (("1", 1, 2), ("9", 2, 3)):
        line = f"sched list limit {limit}"
        planned.turn(planned.dropped(f"{line}\n", f"{limit}~a.cmd"))
        (published,) = some(PublishResult, planned.effects)
        rows = json.loads(published.result)["results"][0]["output"].splitlines()[1:]
        assert len(rows) == shown + 1
        assert rows[-1] == f"more jobs: `{line} after example.com-00000000{last}`"


@pytest.mark.parametrize("search", ["list find x", "history state failed", "history since 1h limit 2"])
def test_only_the_console_searches(either: Appliance, search: str) -> None:
    """A job or a drop with thousands of searches would keep everything else waiting."""
    assert "with a search cannot be scheduled" in either.error(f"sched in 5 json sched {search}")
    published = either.drop(f"sched in 5 pid\njson sched {search}\n")
    assert (published.accepted, "with a search is not allowed in a drop" in published.result) == (False, True)
    assert either.next_runs() == []
