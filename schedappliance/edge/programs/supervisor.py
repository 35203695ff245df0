"""Running programs: takes the reports of the keeper about their starts and ends, and collects their output.

Programs whose keeper was killed are followed by pidfd.

An attempt ends when its first process ends. After a TERM, its descendants may run until `kill_after`.

Rule: everything runs on the deciding thread, except what the launcher's worker calls: `add`, `remove` and `report_failure`.
Work that may block runs on the collector, a worker.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from schedappliance.edge.programs.keeper_link import Ended, Gone, Running, Unstarted, key_of, reports
from schedappliance.edge.programs.output_lines import OutputLines
from schedappliance.edge.programs.outputs import unreadable_text
from schedappliance.edge.programs.start_failures import reason
from schedappliance.edge.programs.survivors import AttemptNames, find_named, in_group, is_stopped, start_ticks
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
    from logging import Logger

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.keeper_link import KeeperLink, Link, Report
    from schedappliance.edge.programs.output_lines import OutputLog
    from schedappliance.edge.programs.outputs import Outputs
    from schedappliance.edge.threads import Worker
    from schedappliance.engine.effects import DiscardOutput, ReadOutput, SignalProgram
    from schedappliance.engine.output_parts import OutputPart
    from schedappliance.engine.records import AttemptKey

# How long a failed read of an output is repeated: a process may have leased the file, or descriptors may be short.
UNREADABLE_MS = 5000
# The interval at which a group that has outlived its leader is checked, until it is gone. Also the delay of the search for
# programs after their keeper was killed, since one of them may have been about to start.
LOOK_AGAIN_MS = 100
# Outputs that the store holds are removed together after this delay, since each removal would wake the collector.
DISCARD_AFTER_MS = 100
PUNCH_EVERY_MS = 10_000
# The interval at which the lines of programs are passed on to the log.
PASS_ON_MS = 1000
# The disk space that the outputs of ended runs may take together, if processes that the runs left still have them open.
HELD_BYTES = 16 * 1024 * 1024
NO_MARKS: AttemptNames = ()
# The fields of the lines that a program writes, in the log.
LogFields = tuple[tuple[str, Any], ...]
NO_FIELDS: Mapping[AttemptKey, LogFields] = {}
# The most ids in one line to the keeper.
MOST_FORGOTTEN = 500


@dataclass(slots=True, eq=False)
class Process:
    """A running program. `link`: with its keeper; None before the request. `pid`: 0 until the keeper has reported it.

    `inode`: of its output; None if it has redirected its output. `argv0`, `cwd`: for the reason of a failed start.
    `marks`: the variables that name the attempt. `pidfd` and `term_at`, the boot time in ms of the first signal: of a
    program without a keeper. `lines`: what the log has of its output; None: nothing is passed on.
    """

    id: str
    output_limit: int
    inode: int | None
    argv0: str = "the program"
    cwd: str = "its directory"
    marks: AttemptNames | None = None
    pid: int = 0
    ticks: int = 0
    link: Link | None = None
    pidfd: int | None = None
    term_at: int | None = None
    kill_after_ms: int = 0
    lines: OutputLines | None = None


@dataclass(slots=True)
class Supervisor:
    """Follows programs until they end. `lingering`: programs that have ended, but whose descendants are still being ended.

    `_ends`: the ends that a keeper keeps until they are stored. `_strangers`: programs of a keeper that the store does not
    know, since it was restored from a backup. `_held`: the outputs of ended runs that a process has open, and whether the log
    names them; only for the collector. `output_log`: passes the lines of programs on to the log; None if they are not.
    """

    loop: Loop
    outputs: Outputs
    collector: Worker
    keeper: KeeperLink
    logger: Logger
    output_log: OutputLog | None = None
    lingering: dict[str, Link | None] = field(default_factory=dict)
    _strangers: set[str] = field(default_factory=set)
    _processes: dict[AttemptKey, Process] = field(default_factory=dict)
    _ends: dict[AttemptKey, tuple[Link | None, str]] = field(default_factory=dict)
    _outdated: list[AttemptKey] = field(default_factory=list)
    _held: dict[AttemptKey, bool] = field(default_factory=dict)
    _unanswered: Link | None = None
    _will_pass_on: bool = False

    def __post_init__(self) -> None:
        self.keeper.on_open, self.keeper.is_needed, self.keeper.wake = self._watch, self._needs_keeper, self._continue

    def add(self, key: AttemptKey, process: Process) -> None:
        """Adds a program that will be requested."""
        self._processes[key] = process
        if key in self._held or self.outputs.aside:
            # The store was restored, and has given the number of an earlier run to this one.
            self.collector.submit(partial(self._hold_aside, key))
        if process.lines:
            self._pass_on_later()

    def names(self) -> set[str]:
        """The ids of the programs that run, or are requested."""
        return {process.id for process in list(self._processes.values())}

    def remove(self, key: AttemptKey) -> None:
        """Undoes `add`, for a program that could not be requested."""
        self._processes.pop(key, None)

    def report_failure(self, key: AttemptKey, number: int, why: str) -> None:
        """Reports that an attempt could not begin. `number`: the error number, 0 for none. May be called from any thread."""
        self.outputs.remove([key])
        self.loop.inbox.post(ProgramNotStarted(key, why, number in EXHAUSTED))

    def take_over(
        self,
        attempts: Mapping[str, AttemptKey],
        limits: Mapping[AttemptKey, int],
        fields: Mapping[AttemptKey, LogFields] = NO_FIELDS,
    ) -> dict[AttemptKey, Report]:
        """Takes the programs of an earlier daemon over from their keeper. Returns the reports about these attempts.

        `attempts`: by id. `fields`: of the lines that are passed on. Raises Unusable and OSError, as KeeperLink.take_over.
        """
        by_attempt: dict[AttemptKey, Report] = {}
        last_reports = self.keeper.take_over()
        link = self.keeper.link
        for report in last_reports:
            key = attempts.get(report.id)
            if key is None:
                if link is not None:
                    self._leave_to_keeper(link, report)
                continue
            by_attempt[key] = report
            if isinstance(report, Running):
                inode = self.outputs.inode_for(key, report.pid) if report.pid else None
                process = Process(report.id, limits[key], inode, pid=report.pid, ticks=report.ticks, link=link)
                process.lines = self._later_lines(key, inode, fields.get(key))
                self.add(key, process)
            else:
                self._ends[key] = link, report.id
        return by_attempt

    def _leave_to_keeper(self, link: Link, report: Report) -> None:
        """Leaves a program of a run that the store does not know to the keeper, which enforces its timeout."""
        if not isinstance(report, Running):
            link.say(f"forget {report.id}")
            return
        self._strangers.add(report.id)
        link.say(f"enforce {report.id}")
        message = "process %d belongs to a run that is not in the store, which was restored; only its timeout ends it"
        self.logger.warning(message, report.pid)

    def adopt(self, key: AttemptKey, survivor: ProcessKey, output_limit: int, fields: LogFields | None = None) -> bool:
        """Follows a process without a keeper. Returns False if it has ended meanwhile. Raises OSError."""
        process = Process("", output_limit, self.outputs.inode_for(key, survivor.pid))
        process.lines = self._later_lines(key, process.inode, fields)
        return self._follow(key, process, survivor)

    def _later_lines(self, key: AttemptKey, inode: int | None, fields: LogFields | None) -> OutputLines | None:
        """The lines that a program writes from now on. The earlier daemon has logged most of the others."""
        return OutputLines(fields, self.outputs.size(key, inode)) if fields else None

    def _follow(self, key: AttemptKey, process: Process, survivor: ProcessKey) -> bool:
        try:
            pidfd = os.pidfd_open(survivor.pid)
        except ProcessLookupError:
            return False
        if start_ticks(survivor.pid) != survivor.start_ticks:
            os.close(pidfd)
            return False
        process.pid, process.pidfd, process.link = survivor.pid, pidfd, None
        self.add(key, process)
        self.loop.watch(pidfd, select.EPOLLIN, partial(self._on_exit, key))
        return True

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

    def _watch(self, link: Link) -> None:
        """Any thread may open a connection."""
        self.loop.watch(link.control.fileno(), select.EPOLLIN, partial(self._hear, link))

    def _hear(self, link: Link, events: int) -> None:
        """Takes all reports that have arrived: they share a turn."""
        if events & select.EPOLLOUT and link.flush():
            self._watch(link)
        text: str | None = ""
        while events & ~select.EPOLLOUT and (text := link.receive()):
            for report in reports(text):
                self._take(link, report)
        if text is None:
            self._on_loss(link)

    def _say(self, link: Link, line: str) -> None:
        if not link.say(line):
            self.loop.watch(link.control.fileno(), select.EPOLLIN | select.EPOLLOUT, partial(self._hear, link))

    def _take(self, link: Link, report: Report) -> None:
        """Takes a report of the keeper. The end of a program that nobody waits for is forgotten."""
        if isinstance(report, Gone):
            self.lingering.pop(report.id, None)
            return
        key = key_of(report.id)
        process = self._processes.get(key)
        if process is None or process.id != report.id:
            if not isinstance(report, Running):
                self._strangers.discard(report.id)
                self._say(link, f"forget {report.id}")
            return
        if isinstance(report, Running):
            process.pid, process.ticks = report.pid, report.ticks
            self.loop.inbox.put(ProgramStarted(key, ProcessKey(report.pid, report.ticks)))
        elif isinstance(report, Unstarted):
            del self._processes[key]
            self._say(link, f"forget {report.id}")
            self.collector.submit(partial(self._explain, key, process, report))
        elif isinstance(report, Ended):
            self._ends[key] = link, report.id
            if report.lingers:
                # Before the end is reported, so that a daemon that stops waits for the descendants.
                self.lingering[report.id] = link
            if not process.pid:
                # The start is handled in the same turn as the end. Only a running process needs its start time.
                self.loop.inbox.put(ProgramStarted(key, ProcessKey(report.pid, 0)))
            # Without a time, it ends in the turn that stores the end.
            self._end(key, process, replace(report.exit, ended_ms=None))

    def _explain(self, key: AttemptKey, process: Process, report: Unstarted) -> None:
        """Reports a failed start. Runs on the collector."""
        why = reason(report.place, report.number, report.text, process.argv0, process.cwd)
        self.report_failure(key, report.number, why)

    def _end(self, key: AttemptKey, process: Process, exit_of_process: Exit) -> None:
        """Reports the end. A program that wrote nothing needs no task of the collector."""
        del self._processes[key]
        if self.outputs.is_empty(key, process.inode):
            self.loop.inbox.put(ProgramEnded(key, exit_of_process, b"", 0))
        else:
            until = self.loop.clock.moment().boot + UNREADABLE_MS
            self.collector.submit(partial(self._collect, key, process, exit_of_process, until))

    def _collect(self, key: AttemptKey, process: Process, exit_of_process: Exit, until: int) -> None:
        """Runs on the collector."""
        if process.lines and self.output_log:
            self.output_log.pass_on(key, process.lines, process.inode, is_end=True)
        try:
            output, output_bytes = self.outputs.read(key, process.output_limit, process.inode)
        except OSError as error:
            again = self.loop.clock.moment().boot + LOOK_AGAIN_MS
            if error.errno in EXHAUSTED and again < until:
                task = partial(self._collect, key, process, exit_of_process, until)
                self.loop.alarms.at(again, partial(self.collector.submit, task))
                return
            why, output = unreadable_text(error)
            output_bytes = len(output)
            self.loop.inbox.post(OutputUnreadable(key, why))
        self.loop.inbox.post(ProgramEnded(key, exit_of_process, output, output_bytes))

    def _on_loss(self, link: Link) -> None:
        """Looks for the programs of a keeper that was killed: those that still run have lost their exit statuses."""
        self.loop.unwatch(link.control.fileno())
        with self.keeper.lock:
            link.is_lost = True
        lost = {key: process for key, process in list(self._processes.items()) if process.link is link}
        self.lingering = {name: other for name, other in self.lingering.items() if other is not link}
        if link.is_up:
            message = "the keeper, process %d, was killed; the exit statuses of %d programs that run are lost"
            self.logger.error(message, link.pid, len(lost))
        look = partial(self.collector.submit, partial(self._look_for, link, lost))
        self.loop.alarms.at(self.loop.clock.moment().boot + LOOK_AGAIN_MS, look)

    def _look_for(self, link: Link, lost: dict[AttemptKey, Process]) -> None:
        """Runs on the collector. Decides about each program whether it has ended, runs, or was not started."""
        if not link.is_up:
            why = link.why_ended()
            if why is not None:
                self.logger.error("the keeper ended: %s", why)
            number, text = (errno.EAGAIN, "the keeper ended before it could start the program")
            if why is not None:
                number, text = 0, "the keeper cannot start: the log has its message"
            self.loop.inbox.post(partial(self._give_up, lost, number, text))
            self.loop.inbox.post(link.close)
            return
        ends = {report.id: report for report in self.keeper.ends()}
        marked = find_named([process.marks for process in lost.values() if process.marks and not process.pid])
        for key, process in lost.items():
            survivor = ProcessKey(process.pid, process.ticks) if process.pid else marked.get(process.marks or NO_MARKS)
            self.loop.inbox.post(partial(self._settle, link, key, process, ends.get(process.id), survivor))
        link.why_ended()
        self.loop.inbox.post(link.close)

    def _give_up(self, lost: dict[AttemptKey, Process], number: int, text: str) -> None:
        for key in lost:
            self._processes.pop(key, None)
            self.report_failure(key, number, text)

    def _settle(
        self, link: Link, key: AttemptKey, process: Process, end: Report | None, survivor: ProcessKey | None
    ) -> None:
        if self._processes.get(key) is not process:
            return
        if end is not None:
            self._take(link, end)
        elif survivor is not None and self._follow(key, process, survivor):
            self.loop.inbox.put(ProgramStarted(key, survivor))
        else:
            self._end(key, process, Exit())

    def _on_exit(self, key: AttemptKey, _events: int) -> None:
        """Reports the end of a process without a keeper. If its group got a signal, the rest of the group is ended too."""
        process = self._processes[key]
        assert process.pidfd is not None
        self.loop.unwatch(process.pidfd)
        os.close(process.pidfd)
        if process.term_at is not None and in_group(process.pid):
            name = f"{key} without keeper"
            self.lingering[name] = None
            self._look_at_group(name, process.pid, process.term_at + process.kill_after_ms)
        self._end(key, process, Exit())

    def _look_at_group(self, name: str, group: int, kill_at: int) -> None:
        """Checks at intervals whether the rest of a group has ended, and kills it at `kill_at`."""
        now = self.loop.clock.moment().boot
        is_left = bool(in_group(group))
        if is_left and now < kill_at:
            again = min(kill_at, now + LOOK_AGAIN_MS)
            self.loop.alarms.at(again, partial(self._look_at_group, name, group, kill_at))
            return
        if is_left:
            _kill_group(group, signal.SIGKILL)
        self.lingering.pop(name, None)

    def is_busy(self) -> bool:
        """Whether the descendants of programs are still being ended."""
        return bool(self.lingering)

    def _needs_keeper(self) -> bool:
        """Whether the keeper has programs, or ends that are not stored."""
        return bool(self._ends or self._strangers) or any(
            process.link is not None for process in self._processes.values()
        )

    def signal(self, effect: SignalProgram) -> bool:
        """Sends a signal to a program and its descendants. Returns False if the program was not requested yet."""
        process = self._processes.get(effect.key)
        if process is None:
            return False
        if process.pidfd is not None:
            if process.term_at is None:
                process.term_at = self.loop.clock.moment().boot
            process.kill_after_ms = effect.kill_after_ms
            # Another process may have its pid by now.
            if _is_alive(process.pidfd):
                _kill_group(process.pid, effect.signal)
            return True
        if process.link is None:
            return False
        self._say(process.link, f"signal {process.id} {effect.signal} {effect.kill_after_ms} {effect.why}")
        return True

    def check_keeper(self) -> None:
        """Continues a keeper that a signal has stopped, and kills one that has not answered since the last check."""
        link = self.keeper.link
        if link is None or link.is_lost:
            return
        if is_stopped(link.pid):
            self._continue(link.pid)
        elif not link.is_up and link.popen is not None and self._unanswered is link:
            self.logger.error("the keeper, process %d, was killed, since it does not answer", link.pid)
            link.popen.kill()
        self._unanswered = link

    def _continue(self, pid: int) -> None:
        """Continues a keeper that a signal has stopped."""
        if is_stopped(pid):
            self.logger.error("the keeper, process %d, was continued, since a signal had stopped it", pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)

    def read_output(self, effect: ReadOutput) -> None:
        """Performs the effect ReadOutput."""
        process = self._processes.get(effect.key)
        # A program that is not started yet has written nothing. A file with its name is left from an earlier store.
        is_new = process is None and effect.key not in self._ends
        self.collector.submit(partial(self._read_part, effect, is_new, process.inode if process else None))

    def _read_part(self, effect: ReadOutput, is_new: bool, inode: int | None) -> None:
        """Runs on the collector. The event comes after that of the end, if the collector has read the whole output before."""
        part: OutputPart | str
        try:
            part = NOTHING if is_new else self.outputs.part(effect.key, effect.begin, effect.most, inode)
        except OSError as error:
            part = unreadable_text(error)[0]
        # A call puts the end of a group whose leader has ended into the inbox. This call keeps the order.
        self.loop.inbox.post(partial(self.loop.inbox.put, OutputRead(effect.reply_to, effect.key, part)))

    def discard(self, effect: DiscardOutput) -> None:
        """Performs the effect DiscardOutput."""
        self._outdated.append(effect.key)
        if len(self._outdated) == 1:
            self.loop.alarms.at(self.loop.clock.moment().boot + DISCARD_AFTER_MS, self.discard_all)

    def discard_all(self) -> None:
        """Removes the outputs of ends that are stored now. The keeper may forget these ends."""
        keys, self._outdated = self._outdated, []
        self.collector.submit(partial(self._retire, keys))
        names: dict[Link, list[str]] = {}
        for key in keys:
            link, name = self._ends.pop(key, (None, ""))
            if link is not None:
                names.setdefault(link, []).append(name)
        for link, forgotten in names.items():
            for place in range(0, len(forgotten), MOST_FORGOTTEN):
                self._say(link, f"forget {' '.join(forgotten[place : place + MOST_FORGOTTEN])}")

    def _retire(self, keys: list[AttemptKey]) -> None:
        """Runs on the collector."""
        self.keep_held(self.outputs.retire(keys))

    def keep_held(self, keys: list[AttemptKey]) -> None:
        """Watches outputs of ended runs that a process still has open. Nobody reads them any more."""
        for key in keys:
            self._held.setdefault(key, False)

    def _hold_aside(self, key: AttemptKey) -> None:
        """Runs on the collector. The file of this name is another one now. The earlier one may have been set aside."""
        self._held.pop(key, None)
        while self.outputs.aside:
            self.keep_held([aside := self.outputs.aside.pop()])
            message = "a process still writes to an earlier output %s; it is in %s until the process ends"
            self.logger.warning(message, self.outputs.path(key), self.outputs.path(aside))

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
