"""The table of a run's moves: the moves in it are allowed, and all others are rejected."""

from __future__ import annotations

import re
from itertools import product

import pytest

from schedappliance.engine.states import BEGINNINGS, FAILURES, TRANSITIONS, RunState, move
from schedappliance.store.schema import migrations
from tests.support.documents import DOCS
from tests.support.states_diagram import PAGE, diagram, documented, with_diagram

ENDS = {"succeeded", "failed", "timed_out", "interrupted", "replaced", "cancelled"}
ALLOWED = {("queued", end) for end in ("started", "failed", "cancelled", "replaced")} | {
    ("started", end) for end in {*ENDS, "queued"}
}
PAIRS = list(product(RunState, RunState))


@pytest.mark.parametrize(("old", "new"), [pair for pair in PAIRS if (pair[0].value, pair[1].value) in ALLOWED])
def test_a_run_may_move_as_the_table_says(old: RunState, new: RunState) -> None:
    assert move(old, new) is new


@pytest.mark.parametrize(("old", "new"), [pair for pair in PAIRS if (pair[0].value, pair[1].value) not in ALLOWED])
def test_every_other_move_is_rejected(old: RunState, new: RunState) -> None:
    with pytest.raises(AssertionError, match=f"does not go from {old} to {new}"):
        move(old, new)


def test_only_queued_and_started_runs_go_on() -> None:
    assert set(TRANSITIONS) == {RunState.QUEUED, RunState.STARTED}
    assert set(BEGINNINGS) == {RunState(s) for s in ("queued", "started", "succeeded", "failed", "skipped", "missed")}


def test_every_state_can_be_reached() -> None:
    assert BEGINNINGS | {new for moves in TRANSITIONS.values() for new in moves} == set(RunState)


def test_an_end_is_a_failure_of_the_program_or_a_decision_of_the_appliance() -> None:
    ends = set(RunState) - set(TRANSITIONS)
    assert set(FAILURES) == {RunState(state) for state in ("failed", "timed_out", "interrupted")}
    assert ends - FAILURES == {RunState(s) for s in ("succeeded", "replaced", "cancelled", "skipped", "missed")}


def test_the_page_shows_the_table_as_a_diagram() -> None:
    assert documented(PAGE.read_text()) == diagram(), "run `python -m tests.support.states_diagram`"


def test_the_diagram_has_every_move_and_no_other() -> None:
    arrows = re.findall(r"^    (\S+) --> (\S+)$", diagram(), re.MULTILINE)
    assert len(arrows) == len(set(arrows)) == diagram().count("\n") - 1
    assert {arrow for arrow in arrows if "[*]" not in arrow} == ALLOWED
    assert {new for old, new in arrows if old == "[*]"} == set(BEGINNINGS)
    assert {old for old, new in arrows if new == "[*]"} == set(RunState) - set(TRANSITIONS)


def test_an_outdated_diagram_is_regenerated() -> None:
    stale = PAGE.read_text().replace("queued --> started", "queued --> skipped")
    assert documented(stale) != diagram()
    assert with_diagram(stale) == PAGE.read_text()


def test_the_documents_say_what_each_state_means() -> None:
    table = (DOCS / "operations.md").read_text().partition("## States of a run")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z_]+)` \| ", table, re.MULTILINE) == [state.value for state in RunState]


def test_the_store_accepts_exactly_these_states() -> None:
    (check,) = re.findall(r"CREATE TABLE runs .*?CHECK \((state = .*?)\),", migrations()[0][1], re.DOTALL)
    assert sorted(re.findall(r"state = '([a-z_]+)'", check)) == sorted(RunState)
