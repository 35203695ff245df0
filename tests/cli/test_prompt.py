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


@pytest.mark.parametrize("before", ["run ", "sched show "])
def test_the_completion_asks_without_a_line_in_the_log(before: str) -> None:
    asked = Asked()
    assert Completion(cast("Session", asked)).words(before) == []
    ((_, quiet),) = asked.lines
    assert quiet
