"""What the prompt completes, and how it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from schedappliance.cli.prompt import OF_JOBS, Completion

if TYPE_CHECKING:
    from schedappliance.client.console import Session


def test_the_commands_that_are_followed_by_a_job_come_from_their_usages() -> None:
    assert {"ack", "delete", "history", "next", "pause", "resume", "run", "show", "why"} == OF_JOBS


class Asked:
    """A session that keeps the lines and refuses them."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []

    def ask(self, line: str, quiet: bool = False) -> dict[str, Any]:
        self.lines.append((line, quiet))
        return {"ok": False}


class Known:
    """A session with one job."""

    def ask(self, _line: str, quiet: bool = False) -> dict[str, Any]:  # noqa: ARG002
        return {"ok": True, "data": [{"id": "n-000000001", "name": "nightly"}]}


def test_no_filter_is_offered_where_a_job_or_a_run_must_follow() -> None:
    completion = Completion(cast("Session", Known()))
    assert completion.words("sched show ") == ["nightly"]
    assert completion.words("sched output ") == []
    assert completion.words("sched history ")[-1] == "nightly" and "limit" in completion.words("sched history ")


@pytest.mark.parametrize("before", ["run ", "sched show "])
def test_the_completion_asks_without_a_line_in_the_log(before: str) -> None:
    asked = Asked()
    assert Completion(cast("Session", asked)).words(before) == []
    ((_, quiet),) = asked.lines
    assert quiet
