"""`run` with an appliance that answers as a test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from schedappliance.cli.errors import Failure
from schedappliance.cli.run import begin

STARTED = {"ok": True, "data": {"run": "example.com-000000001/1"}}


def rejected(code: str) -> dict[str, Any]:
    return {"ok": False, "error": f"it is {code}", "diagnostics": [{"code": code}]}


@pytest.mark.parametrize(
    ("job", "program", "error"),
    [
        (STARTED, rejected("E301"), None),
        (rejected("E501"), STARTED, None),
        (rejected("E512"), STARTED, None),
        (rejected("E504"), STARTED, "it is E504"),
        (rejected("E501"), rejected("E301"), "no job and no program named `p` can run: it is E301"),
    ],
)
def test_a_daemon_that_was_not_restarted_after_an_upgrade_is_asked_for_a_job_and_then_for_a_program(
    job: dict[str, Any], program: dict[str, Any], error: str | None
) -> None:
    def ask(line: str, instead: str | None = None) -> dict[str, Any]:
        if instead is not None:
            return rejected("E507")
        return {"json sched run p": job, "json run p": program}[line]

    follower = cast(Any, SimpleNamespace(session=SimpleNamespace(ask=ask)))
    if error is None:
        assert begin(follower, "p", []) == STARTED
        return
    with pytest.raises(Failure) as failure:
        begin(follower, "p", [])
    assert str(failure.value) == error
