"""Starts that are requested from the spawner, from the request to the end of its report.

Rule: a request that the spawner has received is never reported as a failed start. Otherwise the program could be
started twice.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from schedappliance.edge.programs import spawner
from schedappliance.edge.programs.supervisor import Process, reap
from schedappliance.edge.programs.survivors import is_stopped
from schedappliance.engine.events import ProgramNotStarted

if TYPE_CHECKING:
    from logging import Logger

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.outputs import Outputs
    from schedappliance.edge.programs.spawner_process import Spawner, SpawnerProcess
    from schedappliance.edge.programs.supervisor import Supervisor
    from schedappliance.edge.worker import Worker
    from schedappliance.engine.effects import SignalProgram, StartProgram
    from schedappliance.engine.records import AttemptKey

# How long a failing look-up of a program's user is repeated: an error does not mean that there is no such user.
LOOK_UP_PATIENCE_MS = 120_000
# A spawner that answers nothing for this long is replaced. It answers before it looks a user up, within milliseconds. The
# check is made at half of this interval, and only while a start is pending.
ANSWER_MS = 10_000


@dataclass(slots=True)
class PendingStart:
    """A start that was requested from the spawner.

    `output` stays open until the pidfd is opened, see `Supervisor.open_process`. `text`: the received part of the report.
    `requested_at`: in boot time. `process`: None until the report gives the pid. `is_watched`: the loop waits for the
    report. `signal`: a signal to send as soon as the process is known.
    """

    effect: StartProgram
    report: int
    output: int
    spawner: SpawnerProcess
    requested_at: int
    text: bytes = b""
    process: Process | None = None
    is_watched: bool = False
    signal: SignalProgram | None = None

    @property
    def key(self) -> AttemptKey:
        return self.effect.key

    def read(self) -> bool:
        """Reads the available part of the report. Returns whether the report has ended."""
        try:
            while more := os.read(self.report, 65_536):
                self.text += more
        except BlockingIOError:
            return False
        return True


@dataclass(slots=True)
class RequestedStarts:
    """The starts that the spawner was asked for, until the process is known or the start has failed."""

    loop: Loop
    outputs: Outputs
    supervisor: Supervisor
    collector: Worker
    spawner: Spawner
    logger: Logger
    _pending: dict[AttemptKey, PendingStart] = field(default_factory=dict)
    _answered_at: int = 0
    _will_check: bool = False
    _failed_look_ups: dict[tuple[str | None, str | None], int] = field(default_factory=dict)

    def request(
        self, effect: StartProgram, base: dict[str, bytes], environment: dict[str, bytes], output: int
    ) -> PendingStart:
        """Requests a start, whose report must then be awaited. Raises OSError if the spawner did not get the request."""
        stdin = None if effect.stdin is None else effect.stdin.encode(errors="surrogateescape")
        own = (effect.cwd, effect.umask, effect.user, effect.group, stdin)
        request = (effect.argv, base, environment, *own, self._may_repeat_look_up(effect))
        report, process = self.spawner.start(request, output)
        return PendingStart(effect, report, output, process, self.loop.clock.moment().boot)

    def _may_repeat_look_up(self, effect: StartProgram) -> bool:
        """Whether a failed look-up of the program's user and group is made again: until LOOK_UP_PATIENCE_MS have passed."""
        since = self._failed_look_ups.get((effect.user, effect.group))
        return since is None or self.loop.clock.moment().boot - since < LOOK_UP_PATIENCE_MS

    def await_report(self, pending: PendingStart) -> None:
        """Runs on the worker. With an empty set of events, epoll reports only the end, so most starts cause one wake-up."""
        os.set_blocking(pending.report, False)
        self._pending[pending.key] = pending
        self.loop.watch(pending.report, 0, partial(self._on_report, pending))
        pending.is_watched = True
        self._check_later()

    def _check_later(self) -> None:
        if not self._will_check:
            self._will_check = True
            self.loop.alarms.at(self.loop.clock.moment().boot + ANSWER_MS // 2, self._check_answers)

    def _check_answers(self) -> None:
        """Replaces a spawner that does not answer. A stopped one also holds back the reports of starts that it has begun."""
        # The flag comes first, so that a worker that adds a start from here on sets the next alarm.
        self._will_check = False
        until = self.loop.clock.moment().boot - ANSWER_MS
        overdue = [item for item in list(self._pending.values()) if item.is_watched and item.requested_at <= until]
        for pending in overdue:
            self._on_report(pending)
        for pending in overdue:
            if self._pending.get(pending.key) is not pending or pending.spawner.is_killed:
                continue
            pid = pending.spawner.popen.pid
            if is_stopped(pid):
                self._replace(pending.spawner, "a signal has stopped it")
            elif pending.process is None and self._answered_at <= until:
                self._replace(pending.spawner, f"it has not answered for {ANSWER_MS // 1000} s")
        if self._pending:
            self._check_later()

    def _replace(self, process: SpawnerProcess, reason: str) -> None:
        message = "the spawner, process %d, was killed, since %s; the next start gets a new one"
        self.logger.error(message, process.popen.pid, reason)
        process.kill()

    def _on_report(self, pending: PendingStart, _events: int = 0) -> None:
        """Reads a report. Its end may come long after the pid at its beginning, since the user is looked up in between."""
        has_ended = pending.read()
        pid, _, failure = pending.text.partition(b"\n")
        if pid and pending.process is None:
            self._answered_at = self.loop.clock.moment().boot
            pending.process = self.supervisor.open_process(pending.effect, int(pid), pending.output)
            if pending.process is None:
                self._close_report(pending)
                return
            self.supervisor.add(pending.key, pending.process)
            if pending.signal is not None:
                self.supervisor.signal(pending.signal)
        if has_ended:
            self._close_report(pending)
            self._on_started(pending, failure)

    def _close_report(self, pending: PendingStart) -> None:
        self.loop.unwatch(pending.report)
        os.close(pending.report)
        del self._pending[pending.key]

    def _on_started(self, pending: PendingStart, failure: bytes) -> None:
        """Handles the end of a report. If it has neither a pid nor a failure, the spawner ended before it began the start."""
        if pending.process is None:
            os.close(pending.output)
        elif not failure:
            self._failed_look_ups.pop((pending.effect.user, pending.effect.group), None)
            self.supervisor.follow(pending.key, pending.process)
            return
        self.supervisor.remove(pending.key)
        self.collector.submit(partial(self._give_up, pending, failure))

    def _give_up(self, pending: PendingStart, failure: bytes) -> None:
        """Reports a failed start. Runs on the collector, since the process of the failed start must end first."""
        if pending.process is not None:
            reap(pending.process)
        number, _, reason = failure.decode(errors="replace").partition(" ")
        if failure and int(number) == spawner.LOOK_UP_FAILED:
            account = pending.effect.user, pending.effect.group
            self._failed_look_ups.setdefault(account, self.loop.clock.moment().boot)
            self.outputs.remove([pending.key])
            self.loop.inbox.post(ProgramNotStarted(pending.key, reason, exhausted=True, is_alone=True))
        elif failure:
            self.supervisor.report_failure(pending.key, int(number), reason)
        elif text := pending.spawner.why_ended():
            self.logger.error("the spawner ended: %s", text)
            self.supervisor.report_failure(pending.key, 0, pending.spawner.why_useless())
        else:
            self.supervisor.report_failure(
                pending.key, errno.EAGAIN, "the spawner ended before it could start the program"
            )

    def signal(self, effect: SignalProgram) -> bool:
        """Signals a program as soon as its process is known. Returns False if no start of it is pending."""
        pending = self._pending.get(effect.key)
        if pending is None or not pending.is_watched:
            return False
        pending.signal = effect
        # From here on, epoll also reports the pid, which arrives before the end of the report.
        self.loop.watch(pending.report, select.EPOLLIN, partial(self._on_report, pending))
        if effect.signal == signal.SIGKILL:
            # The time of the program is over. A spawner that does not answer must not delay the end of the run forever.
            pending.spawner.kill()
        return True
