"""Every answer and start comes after its sync. The system calls show it; killing a process cannot."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.strace import calls, traced

# SQLite copies its log into the store, with further syncs, at 1000 pages. These commits write far fewer.
COMMITS = 50


def story(trace: Path, daemon: Daemon) -> list[str]:
    """Syncs of the store and its log, answers, and the requests of starts that the keeper gets, in order."""
    steps = []
    for call in calls(trace):
        if "sync(" in call and f"<{daemon.var}/sched.db" in call:
            assert call.endswith(" = 0"), call
            steps.append("sync" if f"<{daemon.var}/sched.db-wal>" in call else call)
        elif call.startswith("sendto(") and ', "example.com-' in call:
            steps.append("answer")
        elif call.startswith("sendmsg(") and "SCM_RIGHTS" in call and "/bin/echo" in call:
            steps.append("start")
    return steps


def test_every_commit_is_one_sync_of_the_log_before_its_answer(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched in 9000 version")
    with traced(daemon, "-e", "trace=fsync,fdatasync,sendto") as trace:
        for number in range(COMMITS):
            assert daemon.say("sched in 9000 version") == f"example.com-{number + 2:09d}\n"
    assert story(trace, daemon) == ["sync", "answer"] * COMMITS
    with traced(daemon, "-e", "trace=fsync,fdatasync,sendto") as trace:
        for _ in range(COMMITS):
            assert daemon.say("sched list").count("example.com") == COMMITS + 1
    # A long list is sent in pieces, which begin like an answer.
    assert set(story(trace, daemon)) <= {"answer"}


def test_every_program_starts_after_the_sync_of_its_claim(daemon: Daemon) -> None:
    daemon.start()
    with traced(daemon, "-e", "trace=fsync,fdatasync,sendto,sendmsg") as trace:
        for number in range(1, 11):
            daemon.say("run hello")
            daemon.wait_for_state("succeeded", number)
    # After each claim, the process and its end are recorded together or one after the other.
    one = "sync (answer start|start answer) sync( sync)?"
    steps = " ".join(story(trace, daemon))
    assert re.fullmatch(" ".join([one] * 10), steps), steps
