"""What the daemon reports to systemd: its phase, a line for people, and that it still decides.

Rule: each report follows a turn of the deciding thread, so a daemon that hangs sends none. No report causes a turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schedappliance.clock import span_text
from schedappliance.core.reload import is_reloading
from schedappliance.core.stopping import LEAVE_AFTER_MS
from schedappliance.diagnostics import counted
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.engine.records import job_id
from schedappliance.store.failures import StoreFailed
from schedappliance.store.jobs import BEFORE_ALL

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.edge.systemd import NotifySocket

# TimeoutStartSec= of the unit would kill a daemon that upgrades a large store.
OPENING_MS = 600_000
# An idle daemon makes a turn for each audit. Its report must be due then, even if the audit comes a little early.
REPORT_MS = AUDIT_MS // 2
LEAST_WATCHDOG_MS = 3 * AUDIT_MS


@dataclass(slots=True)
class ServiceReports:
    """`phase`: the last one that was reported. `due_ms`: when the next report is due, in boot milliseconds."""

    socket: NotifySocket
    phase: str = ""
    due_ms: int = 0

    def opening(self) -> None:
        """Asks for time, since a large store may be checked or upgraded."""
        self.socket.send(STATUS="opening the store", EXTEND_TIMEOUT_USEC=OPENING_MS * 1000)

    def after_turn(self, state: State) -> None:
        """Reports a new phase at once. The report of the same phase follows the turn of the audit."""
        phase, now = _phase(state), state.moment.boot
        if phase == self.phase and now < self.due_ms:
            return
        news = _NEWS[phase] if phase != self.phase else {}
        self.phase, self.due_ms = phase, now + REPORT_MS
        extension = {"EXTEND_TIMEOUT_USEC": _stop_ms(state) * 1000} if phase == _STOPPING else {}
        self.socket.send(**news, **extension, WATCHDOG=1, STATUS=status_text(state))


_READY, _RELOADING, _STOPPING = "ready", "reloading", "stopping"
_NEWS = {_READY: {"READY": 1}, _RELOADING: {"RELOADING": 1}, _STOPPING: {"STOPPING": 1}}


def _phase(state: State) -> str:
    if state.stopping:
        return _STOPPING
    return _RELOADING if is_reloading(state) else _READY


def _stop_ms(state: State) -> int:
    """How long the stop may still take: until the last KILL is due, and a little more."""
    kills = [running.kill_at - state.moment.boot for running in state.running.values() if running.kill_at is not None]
    return max(kills, default=0) + LEAVE_AFTER_MS + 2 * AUDIT_MS


def status_text(state: State) -> str:
    """The line that `systemctl status` shows, such as: 12 jobs, 2 running, next `nightly` in 3 min."""
    parts = [f"degraded: {state.status.troubles}"] if state.status.troubles else []
    if state.status.hold is not None:
        parts.append("held")
    if state.stopping:
        parts.append("stopping")
    # Due jobs that are named. During a stop or a hold, the next one will not run.
    most = 0 if state.stopping or state.status.hold is not None else 1
    try:
        jobs = [counted(state.store.jobs.count(), "job")]
        due = state.store.jobs.page(BEFORE_ALL, most)
    except StoreFailed:
        jobs, due = [], []
    parts += [*jobs, f"{len(state.running)} running"]
    if state.queue.number:
        parts.append(f"{state.queue.number} queued")
    for job in due:
        name = job.declared or job_id(state.store.node, job.number)
        parts.append(f"next `{name}` in {span_text(max(0, job.next_run_ms - state.moment.wall))}")
    return ", ".join(parts)
