"""`logs` with an appliance that answers as a test says."""

from __future__ import annotations

import io
from typing import Any

import pytest

from schedappliance.cli import logs
from schedappliance.cli.errors import FAILED, OK, Failure

RUN = "example.com-000000001/1"


def part(text: str, begin: int, state: str, **others: Any) -> dict[str, Any]:
    """An answer of `sched output`: of the first attempt, and up to the end of the output so far."""
    end = begin + len(text)
    ended = state not in ("started", "queued")
    row: dict[str, Any] = {"run": RUN, "truncated": False}
    row |= {"attempt": 1, "text": text, "from": begin, "next": end, "size": end, "ended": ended, "state": state}
    return row | {"attempts": 1} | others


class Appliance:
    """Gives its answers in turn. `lines`: what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.lines: list[str] = []
        self.pauses: list[int] = []

    def ask(self, line: str) -> Any:
        self.lines.append(line)
        return self.answers.pop(0)

    def shown(self, follow: bool = False) -> tuple[str, int]:
        """What is printed, and the exit status."""
        out = io.StringIO()
        status = logs.show(self.ask, RUN, follow, out, self.pauses.append)
        assert not self.answers
        return out.getvalue(), status


def test_a_long_output_is_printed_in_parts(capsys: pytest.CaptureFixture[str]) -> None:
    appliance = Appliance(part("abc", 0, "succeeded", size=5), part("de", 3, "succeeded"))
    assert appliance.shown() == ("abcde", OK)
    assert appliance.lines == [f"sched output {RUN} from 0", f"sched output {RUN} attempt 1 from 3"]
    assert capsys.readouterr().err == ""


def test_without_following_a_running_output_ends_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    appliance = Appliance(part("abc", 0, "started", size=5), part("de", 3, "started", size=9))
    assert appliance.shown() == ("abcde", OK)
    assert capsys.readouterr().err == f"note: run {RUN}: started\n"


def test_a_failure_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert Appliance(part("abc", 0, "timed_out")).shown() == ("abc", OK)
    assert capsys.readouterr().err == f"note: run {RUN}: timed out\n"


def test_following_waits_for_the_end() -> None:
    waits = part("", 0, "queued", attempt=None, attempts=0)
    held_back = part("b", 1, "started", size=3)
    appliance = Appliance(
        waits,
        waits,
        part("a", 0, "started"),
        part("", 1, "started"),
        held_back,
        part("", 2, "started", size=3),
        part("ü", 2, "succeeded"),
    )
    assert appliance.shown(follow=True) == ("abü", OK)
    places = [line.rpartition(" ")[2] for line in appliance.lines]
    assert places == ["0", "0", "0", "1", "1", "2", "2"]
    assert appliance.pauses == [logs.QUEUED_MS] * 2 + [125, 250, 250]


def test_following_goes_on_with_the_next_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    appliance = Appliance(
        part("one", 0, "started"),
        part("", 3, "queued", ended=True),
        part("", 3, "started", ended=True, attempts=3),
        part("two", 0, "started", ended=True, attempt=2, attempts=3),
        part("three", 0, "failed", attempt=3, attempts=3),
    )
    assert appliance.shown(follow=True) == ("onetwothree", FAILED)
    assert appliance.lines[-2:] == [f"sched output {RUN} attempt 2 from 0", f"sched output {RUN} attempt 3 from 0"]
    assert capsys.readouterr().err == f"note: attempt 2\nnote: attempt 3\nnote: run {RUN}: failed\n"


def test_a_job_stands_for_its_newest_run() -> None:
    appliance = Appliance([{"run": RUN}])
    assert logs.newest_run(appliance.ask, "nightly") == RUN
    assert appliance.lines == [f"sched history nightly state {logs.STARTED} limit 1"]
    with pytest.raises(Failure, match="job nightly has no runs"):
        logs.newest_run(Appliance([]).ask, "nightly")
