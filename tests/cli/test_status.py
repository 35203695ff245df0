"""What `schedappliance status` says of a hold."""

from __future__ import annotations

from schedappliance.cli.status import head_of
from tests.support.answers import NOW_MS

HOLD = {"since_ms": NOW_MS, "user": "alice", "reason": None}


def test_a_hold_without_a_planned_end_lasts_until_the_release() -> None:
    counts = dict.fromkeys(("jobs", "jobs_paused", "programs_running", "runs_queued", "uptime_s"), 0)
    for hold, end in (
        (HOLD, "nothing new starts until `sched release`"),
        (HOLD | {"ends_ms": None}, "nothing new starts until `sched release`"),
        (HOLD | {"ends_ms": NOW_MS}, "nothing new starts until then or `sched release`"),
    ):
        facts = {"health": {"troubles": [], "held": hold}, "summary": counts, "failed": [], "most": 5}
        assert [line for line in head_of(facts) if line.endswith(end)], hold
