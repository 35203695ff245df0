"""Running programs: follows them by pidfd until they end, signals their process groups, and collects their output.

An attempt ends when its first process ends. After a TERM, the rest of the process group may run until `kill_after`.

Rule: everything runs on the deciding thread, except what the launcher's worker calls: `open_process`, `follow` and
`report_failure`. Work that may block runs on the collector, a worker.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from schedappliance.edge.programs.output_lines import OutputLines
from schedappliance.edge.programs.outputs import note
from schedappliance.edge.programs.survivors import in_group, start_ticks
from schedappliance.engine.attempts import Exit
from schedappliance.engine.events import (
    OutputEmptied,
    OutputRead,
    OutputUnreadable,
    ProgramEnded,
    ProgramNotStarted,
    ProgramStarted,
)
from schedappliance.engine.output_parts import NOTHING
from schedappliance.engine.records import ProcessKey
from schedappliance.kinds import EXHAUSTED

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.output_lines import OutputLog
    from schedappliance.edge.programs.outputs import Outputs
    from schedappliance.edge.worker import Worker
    from schedappliance.engine.effects import DiscardOutput, ReadOutput, SignalProgram, StartProgram
    from schedappliance.engine.output_parts import OutputPart
    from schedappliance.engine.records import AttemptKey

# How long a failed read of an output is repeated: a process may have leased the file, or descriptors may be short.
UNREADABLE_MS = 5000
# A group that has outlived its leader is checked at this interval, until it is gone.
LOOK_AGAIN_MS = 100
# The delay of the report of a start. Most programs of a busy appliance end earlier: their start is reported together
# with their end and shares its commit, which saved 0.35 ms of 1.15 ms per start (benchmarks/starts.py).
REPORT_AFTER_MS = 10
# Outputs that the store holds are removed together after this delay, since each removal would wake the collector.
DISCARD_AFTER_MS = 100
PUNCH_EVERY_MS = 10_000
# How long a line of a program waits at most until it is passed on to the log.
PASS_ON_MS = 1000
# The disk space that the outputs of ended runs may take together, if processes that the runs left still have them open.
HELD_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Process:
    """A running program. An adopted one is not a child of this daemon. `term_at`: boot time in ms of the first signal.

    `inode`: of its output; None if it has redirected its output. `lines`: what the log has of it; None: nothing is passed on.
    """

    pid: int
    pidfd: int
    output_limit: int
    inode: int | None
    is_child: bool = True
    term_at: int | None = None
    kill_after_ms: int = 0
    lines: OutputLines | None = None


@dataclass(slots=True)
class Supervisor:
    """Follows programs until they end. `lingering`: the number of groups whose leader has ended, but that still exist.

    `_held`: the outputs of ended runs that a process has open, and whether the log names them; only for the collector.
    `output_log`: passes the lines of programs on to the log; None if they are not.
    """

    loop: Loop
    outputs: Outputs
    collector: Worker
    output_log: OutputLog | None = None
    lingering: int = 0
    _processes: dict[AttemptKey, Process] = field(default_factory=dict)
    _unreported: dict[AttemptKey, int] = field(default_factory=dict)
    _will_report: bool = False
    _outdated: list[AttemptKey] = field(default_factory=list)
    _held: dict[AttemptKey, bool] = field(default_factory=dict)
    _will_pass_on: bool = False

    def add(self, key: AttemptKey, process: Process) -> None:
        """Adds a process, so that signals reach it. Its end is not reported yet."""
        self._processes[key] = process

    def remove(self, key: AttemptKey) -> None:
        """Undoes `add`, for a process that did not become the program."""
        self._processes.pop(key, None)

    def open_process(self, effect: StartProgram, pid: int, output: int) -> Process | None:
        """The process of a child. If the child cannot be watched, it has the child killed and returns None.

        The output stays open until here. Closing it frees a descriptor for the pidfd. If no descriptor is left for the
        output, the program is not started. May be called from any thread.
        """
        inode = os.fstat(output).st_ino
        os.close(output)
        try:
            lines = OutputLines(effect.log_fields) if effect.log_fields else None
            return Process(pid, os.pidfd_open(pid), effect.output_limit, inode, lines=lines)
        except OSError as error:
            self.collector.submit(partial(_kill_unwatched, pid))
            self.report_failure(effect.key, 0, f"cannot watch the process: {error.strerror}; it was killed")
            return None

    def report_failure(self, key: AttemptKey, number: int, reason: str) -> None:
        """Reports that an attempt could not begin. `number`: the error number, 0 for none. May be called from any thread."""
        self.outputs.remove([key])
        self.loop.inbox.post(ProgramNotStarted(key, reason, number in EXHAUSTED))

    def follow(self, key: AttemptKey, process: Process) -> None:
        """Reports the start of a program soon, and its end. May be called from any thread.

        The launcher's worker calls it, and does not wake the deciding thread: it adds the pidfd to the loop's epoll and
        sets the alarm itself.
        """
        self._unreported[key] = process.pid
        if not self._will_report:
            self._will_report = True
            self.loop.alarms.at(self.loop.clock.moment().boot + REPORT_AFTER_MS, self._report_starts)
        self._await_exit(key, process)

    def _report_starts(self) -> None:
        # The flag comes first, so that a worker that adds a program from here on sets the next alarm.
        self._will_report = False
        while self._unreported:
            key, pid = self._unreported.popitem()
            self.loop.inbox.put(ProgramStarted(key, ProcessKey(pid, start_ticks(pid))))

    def adopt(
        self, key: AttemptKey, survivor: ProcessKey, output_limit: int, log_fields: tuple[tuple[str, Any], ...] = ()
    ) -> bool:
        """Follows a process that an earlier daemon started. Returns False if it has ended meanwhile. Raises OSError.

        What it wrote before is not logged: the log of the earlier daemon has it, at least the larger part.
        """
        try:
            pidfd = os.pidfd_open(survivor.pid)
        except ProcessLookupError:
            return False
        if start_ticks(survivor.pid) != survivor.start_ticks:
            os.close(pidfd)
            return False
        inode = self.outputs.inode_for(key, survivor.pid)
        lines = OutputLines(log_fields, self.outputs.size(key, inode)) if log_fields else None
        self._await_exit(key, Process(survivor.pid, pidfd, output_limit, inode, is_child=False, lines=lines))
        return True

    def _await_exit(self, key: AttemptKey, process: Process) -> None:
        self._processes[key] = process
        if process.lines:
            self._pass_on_later()
        self.loop.watch(process.pidfd, select.EPOLLIN, partial(self._on_exit, key))

    def _pass_on_later(self) -> None:
        if not self._will_pass_on:
            self._will_pass_on = True
            again = self.loop.clock.moment().boot + PASS_ON_MS
            self.loop.alarms.at(again, partial(self.collector.submit, self._pass_on))

    def _pass_on(self) -> None:
        """Runs on the collector, before it collects the outputs of programs that end meanwhile."""
        # The flag comes first, so that a worker that adds a program from here on sets the next alarm.
        self._will_pass_on = False
        for key, process in list(self._processes.items()):
            if process.lines and self.output_log:
                self._pass_on_later()
                self.output_log.pass_on(key, process.lines, process.inode)

    def _on_exit(self, key: AttemptKey, _events: int) -> None:
        """Reports the end. A program that wrote nothing and got no signal needs no task of the collector."""
        process = self._processes.pop(key)
        self.loop.unwatch(process.pidfd)
        if self._unreported.pop(key, None):
            # The start is handled in the same turn as the end. Only a running process needs its start time.
            self.loop.inbox.put(ProgramStarted(key, ProcessKey(process.pid, 0)))
        if process.term_at is None and self.outputs.is_empty(key, process.inode):
            self.loop.inbox.put(ProgramEnded(key, reap(process), b"", 0))
        else:
            until = self.loop.clock.moment().boot + UNREADABLE_MS
            self.collector.submit(partial(self._collect, key, process, until))

    def _collect(self, key: AttemptKey, process: Process, until: int) -> None:
        """Runs on the collector. The leader of a remaining group is not reaped yet, so that its number stays in use."""
        if process.lines and self.output_log:
            self.output_log.pass_on(key, process.lines, process.inode, is_end=True)
        try:
            output, output_bytes = self.outputs.read(key, process.output_limit, process.inode)
        except OSError as error:
            again = self.loop.clock.moment().boot + LOOK_AGAIN_MS
            if error.errno in EXHAUSTED and again < until:
                task = partial(self._collect, key, process, until)
                self.loop.alarms.at(again, partial(self.collector.submit, task))
                return
            reason, output = note(error)
            output_bytes = len(output)
            self.loop.inbox.post(OutputUnreadable(key, reason))
        if process.term_at is not None and in_group(process.pid):
            ended = ProgramEnded(key, _exit_of(process, os.WNOWAIT), output, output_bytes)
            self.loop.inbox.post(partial(self._linger, process, process.term_at, ended))
        else:
            self.loop.inbox.post(ProgramEnded(key, reap(process), output, output_bytes))

    def _linger(self, process: Process, term_at: int, ended: ProgramEnded) -> None:
        """Counts the group before the end is reported, so that a daemon that stops waits for the group."""
        self.lingering += 1
        self.loop.inbox.put(ended)
        self._look_at_group(process, term_at + process.kill_after_ms)

    def _look_at_group(self, process: Process, kill_at: int) -> None:
        """Checks at intervals whether the rest of a group has ended, and kills it at `kill_at`."""
        now = self.loop.clock.moment().boot
        is_left = bool(in_group(process.pid))
        if is_left and now < kill_at:
            self.loop.alarms.at(min(kill_at, now + LOOK_AGAIN_MS), partial(self._look_at_group, process, kill_at))
            return
        if is_left:
            _kill_group(process.pid, signal.SIGKILL)
        reap(process)
        self.lingering -= 1

    def is_busy(self) -> bool:
        """Whether a group is left that the daemon must end before itself."""
        return self.lingering > 0

    def signal(self, effect: SignalProgram) -> bool:
        """Signals the group of a program. Returns False if the supervisor does not know the program."""
        process = self._processes.get(effect.key)
        if process is None:
            return False
        if process.term_at is None:
            process.term_at = self.loop.clock.moment().boot
        process.kill_after_ms = effect.kill_after_ms
        # A child keeps the number of its group until it is reaped. The number of an adopted process may be used again.
        if process.is_child or _is_alive(process.pidfd):
            _kill_group(process.pid, effect.signal)
        return True

    def read_output(self, effect: ReadOutput) -> None:
        """Performs the effect ReadOutput."""
        process = self._processes.get(effect.key)
        self.collector.submit(partial(self._read_part, effect, process))

    def _read_part(self, effect: ReadOutput, process: Process | None) -> None:
        """Runs on the collector. The event comes after that of the end, if the collector has read the whole output before."""
        part: OutputPart | str
        try:
            part = self.outputs.part(effect.key, effect.begin, effect.most, process.inode if process else None)
        except OSError as error:
            # A program that is not started yet has no file.
            is_new = process is None and isinstance(error, FileNotFoundError)
            part = NOTHING if is_new else note(error)[0]
        # A call puts the end of a group whose leader has ended into the inbox. This call keeps the order.
        self.loop.inbox.post(partial(self.loop.inbox.put, OutputRead(effect.reply_to, effect.key, part)))

    def discard(self, effect: DiscardOutput) -> None:
        """Performs the effect DiscardOutput."""
        self._outdated.append(effect.key)
        if len(self._outdated) == 1:
            self.loop.alarms.at(self.loop.clock.moment().boot + DISCARD_AFTER_MS, self.discard_all)

    def discard_all(self) -> None:
        keys, self._outdated = self._outdated, []
        self.collector.submit(partial(self._retire, keys))

    def _retire(self, keys: list[AttemptKey]) -> None:
        """Runs on the collector."""
        self.keep_held(self.outputs.retire(keys))

    def keep_held(self, keys: list[AttemptKey]) -> None:
        """Watches outputs of ended runs that a process still has open. Nobody reads them any more."""
        for key in keys:
            self._held.setdefault(key, False)

    def _bound_held(self) -> None:
        """Runs on the collector. Removes the outputs that no process has open any more, and bounds the size of the others."""
        held = self.outputs.retire(self._held)
        self._held = {key: self._held[key] for key in held}
        for key in held:
            size = self.outputs.empty(key, HELD_BYTES // len(held))
            if size and not self._held[key]:
                self._held[key] = True
                self.loop.inbox.post(OutputEmptied(key, size))

    def punch_outputs(self) -> None:
        """Frees the middle of the long outputs of running programs, and bounds those of ended runs, at each interval."""
        self.loop.alarms.at(self.loop.clock.moment().boot + PUNCH_EVERY_MS, self.punch_outputs)
        # A copy of the items, since the launcher's worker adds programs meanwhile.
        for key, process in list(self._processes.items()):
            self.collector.submit(partial(self.outputs.punch, key, process.output_limit))
        self.collector.submit(self._bound_held)


def reap(process: Process) -> Exit:
    """Waits for the end of a process and forgets it."""
    exit_status = _exit_of(process)
    os.close(process.pidfd)
    return exit_status


def _kill_unwatched(pid: int) -> None:
    """Ends a child that has no pidfd."""
    _kill_group(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _exit_of(process: Process, options: int = 0) -> Exit:
    """How a child ended. The exit of an adopted process is unknown."""
    if not process.is_child:
        return Exit()
    result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | options)
    assert result is not None
    return Exit(status=result.si_status) if result.si_code == os.CLD_EXITED else Exit(signal=result.si_status)


def _is_alive(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It has become another user.
        return True
    return True


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
