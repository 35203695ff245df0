"""What a program that answers a failure finds in its environment: the run that failed, how it ended, and the tail of its output."""

from __future__ import annotations

import re

from schedappliance.engine.records import job_id, run_id
from schedappliance.engine.running import EndedRun

TAIL_BYTES = 4096

_HALF_A_CHARACTER = re.compile(rb"\A[\x80-\xbf]{1,3}")


def environment(node: str, failed: EndedRun) -> tuple[tuple[str, str], ...]:
    """The variables by their names; a status that is not known is empty."""
    status = failed.exit.shell_status
    return (
        ("SCHED_FAILED_JOB_ID", job_id(node, failed.key.job)),
        ("SCHED_FAILED_RUN_ID", run_id(node, failed.key)),
        ("SCHED_FAILED_COMMAND", failed.command),
        ("SCHED_FAILED_DUE_TIME", str(failed.due_ms // 1000)),
        ("SCHED_FAILED_STATE", failed.state.value),
        ("SCHED_FAILED_REASON", failed.reason or ""),
        ("SCHED_FAILED_EXIT_STATUS", "" if status is None else str(status)),
        ("SCHED_FAILED_OUTPUT", tail(failed.output).decode(errors="surrogateescape")),
    )


def tail(output: bytes) -> bytes:
    """The last bytes of an output, from the beginning of a character on, without NUL: no environment can hold it."""
    end = output[-TAIL_BYTES:]
    if len(output) > TAIL_BYTES:
        end = _HALF_A_CHARACTER.sub(b"", end)
    return end.replace(b"\0", b"")
