"""The drawing of `timeline`, from data that a test gives."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from schedappliance.cli import tables, timeline
from schedappliance.edge.console.protocol import Request, response
from tests.support.core import Appliance, ended

HOUR = 3_600_000
NOW = 1_000 * HOUR


def ran(begin: int, end: int | None, state: str) -> dict[str, Any]:
    """A run; the instants are minutes from now."""
    begin_ms = NOW + begin * 60_000
    return {"due_ms": begin_ms, "started_ms": begin_ms, "ended_ms": end and NOW + end * 60_000, "state": state}


def drawn(*lanes: dict[str, Any], width: int = 69, utf8: bool = False, **data: Any) -> list[str]:
    """A timeline of an hour on each side of now."""
    span = {"since_ms": NOW - HOUR, "now_ms": NOW, "until_ms": NOW + HOUR, "left_out": []}
    lane = {"id": "x", "paused": False, "runs": [], "planned_ms": []}
    return list(timeline.lines(span | {"lanes": [lane | one for one in lanes]} | data, width, utf8, False))


def test_a_lane_shows_what_ran_failed_overlapped_and_will_run() -> None:
    runs = [ran(-50, -40, "failed"), ran(-30, -20, "succeeded"), ran(-25, -10, "succeeded"), ran(-4, None, "started")]
    axis, lane, legend = drawn({"name": "nightly", "runs": runs, "planned_ms": [NOW + 40 * 60_000]})
    # 61 columns: about two minutes each.
    assert lane == "nightly      =====X    ==#========  >>>                   ."
    assert axis.startswith("        ") and legend.startswith("= succeeded  X failed  > started")
    assert drawn({"name": "nightly", "runs": runs}, utf8=True)[1] == "nightly      ━━━━━✗    ━━╪━━━━━━━━  ▶▶▶"


def test_nothing_is_wider_than_the_terminal_and_names_control_nothing() -> None:
    name = "a" * 100 + "\x1b[2J"
    for width in (40, 80):
        lines = drawn({"name": name, "runs": [ran(-999, None, "started")]}, width=width, utf8=True)
        assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(drawn({"name": "b\x1b[2J"}))


def test_what_is_left_out_is_said() -> None:
    assert drawn(left_out=["runs before noon"])[-2:] == ["no runs and no due times", "not shown: runs before noon"]


class CoreSession:
    """The console of a core without a socket."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance

    def ask(self, line: str, quiet: bool = False) -> dict[str, Any]:
        pieces = response(Request(line, structured=True, quiet=quiet), self.appliance.ask(line), in_transaction=False)
        answer: dict[str, Any] = json.loads(b"".join(pieces))
        return answer


@pytest.mark.parametrize("page", [1, 5000])
def test_runs_that_were_due_long_before_and_ran_in_the_span_are_shown(
    page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "PAGE", page)
    either = Appliance(None)
    for _ in range(4):
        either.say("run hello")
    keys = [run.key for run in either.history()]
    either.turn(ended(keys[0]))
    either.after(72 * HOUR, ended(keys[1]))
    either.after(HOUR // 2, ended(keys[2]))
    options = argparse.Namespace(job=None, since=HOUR)
    runs, left_out = timeline._runs(CoreSession(either), options, either.clock.moment().wall)  # type: ignore[arg-type]
    assert sorted((one["run"], one["state"]) for one in runs) == [
        (f"example.com-{key.job:09d}/1", state)
        for key, state in zip(keys[1:], ("succeeded", "succeeded", "started"), strict=True)
    ]
    assert left_out == []


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_the_longest_duration_is_a_span(option: str) -> None:
    either = Appliance(None)
    either.say("run hello")
    options = timeline.parse([option, "36500d"])
    data = timeline.data_for(CoreSession(either), options, either.clock.moment().wall, 9)  # type: ignore[arg-type]
    assert [len(lane["runs"]) for lane in data["lanes"]] == [1]
    assert len(list(timeline.lines(data, 80, utf8=True, coloured=False))) == 3


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_an_error_names_the_duration_as_it_was_typed(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        timeline.parse([option, "36501d"])
    assert f"argument {option}: duration `36501d` is longer than 100 years" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["99999999", "9" * 5000])
def test_no_width_in_the_environment_takes_for_ever(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    size = tables.screen_size()
    assert size.columns <= tables.MOST_COLUMNS and size.lines <= tables.MOST_LINES
    assert max(map(len, drawn(width=size.columns))) <= tables.MOST_COLUMNS
