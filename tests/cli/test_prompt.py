"""What the prompt completes without an appliance."""

from __future__ import annotations

from schedappliance.cli.prompt import OF_JOBS


def test_the_commands_that_are_followed_by_a_job_come_from_their_usages() -> None:
    assert {"ack", "delete", "history", "next", "pause", "resume", "run", "show", "why"} == OF_JOBS
