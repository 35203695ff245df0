"""Follows running programs: takes the reports of the keeper about their starts and ends, and sends them signals.

Rule: everything runs on the deciding thread, except what the launcher's worker calls (`add`, `remove`, `report_failure`) and
what says that it runs on the collector, a worker.
"""

# The good path of a program:
#
#   add            The launcher requests the start. From now on, a report about the program is expected.
#   RunsNow        The keeper has started it: ProgramStarted tells the core the pid.
#   signal         If it has to end, TERM goes to the keeper, which sends it and, after `kill_after`, KILL.
#   Ended          It has ended. The collector reads its output, and ProgramEnded tells the core both.
#   discard        The core has stored the end: the output is removed, and the keeper may forget the program.
#
# What can go wrong, and what then happens:
#
#   it cannot start              Unstarted comes instead of RunsNow: ProgramNotStarted tells the core why.
#   its descendants go on        Ended says that it lingers: the daemon waits until TreeGone says that they have ended, too.
#   the keeper is killed         `_on_loss`: the exit statuses of its programs are lost. Those that still run are followed by
#                                pidfd. For one that has ended, the file of ends may say how.
#   the keeper never answered    The start failed: the next one starts another keeper.
#   it runs where nobody sees it If it runs in another pid namespace, and its keeper is gone: `_await_writers`.
#   the store was restored       Programs whose runs it does not know stay with the keeper (`_strangers`).

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from schedappliance.diagnostics import counted
from schedappliance.edge.programs.keeper_reports import Ended, RunsNow, TreeGone, Unstarted, key_of, reports
from schedappliance.edge.programs.output_lines import OutputLines
from schedappliance.edge.programs.start_failures import reason
from schedappliance.edge.programs.survivors import (
    AttemptNames,
    command_of,
    copies_of,
    find_named,
    in_group,
    is_stopped,
    start_ticks,
    strays_of,
)
from schedappliance.engine.attempts import Exit
from schedappliance.engine.events import ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import ProcessKey
from schedappliance.kinds import EXHAUSTED

if TYPE_CHECKING:
    from logging import Logger

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.keeper_link import KeeperLink, Link
    from schedappliance.edge.programs.keeper_reports import Report
    from schedappliance.edge.programs.outputs import Collector, Outputs
    from schedappliance.engine.effects import DiscardOutput, ReadOutput, SignalProgram
    from schedappliance.engine.records import AttemptKey

# The interval at which a group that has outlived its leader is checked, until it is gone. Also the delay of the search for
# programs after their keeper was killed, since one of them may have been about to start.
LOOK_AGAIN_MS = 100
# The interval at which the outputs of programs that cannot be seen are looked at.
UNSEEN_AGAIN_MS = 1000
# The delay of the search for processes that a program has left, after it was ended.
STRAYS_AFTER_MS = 500
# How long a failed read of the file of ends is repeated.
UNREADABLE_MS = 10_000
# Outputs that the store holds are removed together after this delay, since each removal would wake the collector.
DISCARD_AFTER_MS = 100
NO_NAMES: AttemptNames = ()
# The fields of the lines that a program writes, in the log.
LogFields = tuple[tuple[str, Any], ...]
NO_FIELDS: Mapping[AttemptKey, LogFields] = {}
# The most ids in one line to the keeper.
MOST_FORGOTTEN = 500


@dataclass(slots=True, eq=False)
class Process:
    """A running program, or one that is requested."""

    # As the keeper knows it; empty without a keeper.
    id: str
    # How much of the output is kept, and the inode of its file; see Writer in outputs.py.
    output_limit: int
    inode: int | None
    lines: OutputLines | None = None
    # For the reason of a failed start.
    argv0: str = "the program"
    cwd: str = "its directory"
    # The variables that name the attempt.
    names: AttemptNames = NO_NAMES
    # 0 until the keeper has reported it.
    pid: int = 0
    ticks: int = 0
    # With its keeper; None before the request, and without a keeper.
    link: Link | None = None
    # Only without a keeper: a descriptor of the process, the boot time of the first signal, and the time until KILL.
    pidfd: int | None = None
    term_at: int | None = None
    kill_after_ms: int = 0


@dataclass(slots=True)
class Supervisor:
    """Follows programs until they end."""

    loop: Loop
    outputs: Outputs
    collector: Collector
    keeper: KeeperLink
    logger: Logger
    # Programs that have ended, but whose descendants are still being ended: with their keeper by their ids, and the groups of
    # those without a keeper.
    lingering: dict[str, Link] = field(default_factory=dict)
    _groups: set[int] = field(default_factory=set)
    # Programs of a keeper that the store does not know: the store was restored from a backup.
    _strangers: set[str] = field(default_factory=set)
    _processes: dict[AttemptKey, Process] = field(default_factory=dict)
    # The ends that a keeper keeps until they are stored.
    _ends: dict[AttemptKey, tuple[Link | None, str]] = field(default_factory=dict)
    # The ends that are stored, whose outputs `discard_all` will remove.
    _outdated: list[tuple[AttemptKey, Link | None, str]] = field(default_factory=list)
    # The keeper of the last check. If it is still the same at the next check and has not answered yet, it is killed.
    _unanswered: Link | None = None
    # The processes of unknown programs that the log names, and whether they will be looked for.
    _strays: set[ProcessKey] = field(default_factory=set)
    _will_look: bool = False

    def __post_init__(self) -> None:
        self.collector.looks.running = self._running
        self.keeper.on_open = self._watch
        self.keeper.is_needed = self._needs_keeper
        self.keeper.wake = self._continue
        self.keeper.warn = self.logger.warning

    def add(self, key: AttemptKey, process: Process) -> None:
        """Adds a program that will be requested."""
        self._processes[key] = process
        if key in self.collector.held or self.outputs.aside:
            # The store was restored, and gives the number of an earlier run to this one. An old file may have its name.
            self.collector.hold_aside(key)
        self.collector.looks.begin()
        if process.lines:
            self.collector.pass_on_later(self._running)

    def _running(self) -> list[tuple[AttemptKey, Process]]:
        """A copy, since the launcher's worker adds programs meanwhile."""
        return list(self._processes.items())

    def names(self) -> set[str]:
        """The ids of the programs that run, or are requested."""
        return {process.id for process in list(self._processes.values())}

    def remove(self, key: AttemptKey) -> None:
        """Undoes `add`, for a program that could not be requested."""
        self._processes.pop(key, None)

    def report_failure(self, key: AttemptKey, number: int, why: str) -> None:
        """Reports that an attempt could not begin.

        `number`: the error number, 0 for none. May be called from any thread.
        """
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
        last_reports = self.keeper.take_over(bool(attempts))
        link = self.keeper.link
        namespace = link.namespace if link else ""
        for report in last_reports:
            key = attempts.get(report.id)
            if key is None:
                if link is not None:
                    self._leave_to_keeper(link, report)
                continue
            by_attempt[key] = report
            if isinstance(report, RunsNow):
                inode = self.outputs.inode_for(key, report.pid) if report.pid and not namespace else None
                lines = self._later_lines(key, inode, fields.get(key))
                process = Process(report.id, limits[key], inode, lines, pid=report.pid, ticks=report.ticks, link=link)
                self.add(key, process)
            else:
                self._ends[key] = link, report.id
        return by_attempt

    def _leave_to_keeper(self, link: Link, report: Report) -> None:
        """Leaves a program of a run that the store does not know to the keeper, which enforces its timeout."""
        if not isinstance(report, RunsNow):
            link.say(f"forget {report.id}")
            return
        self._strangers.add(report.id)
        link.say(f"enforce {report.id}")
        message = "process %d belongs to a run that is not in the store, which was restored; only its timeout ends it"
        self.logger.warning(message, report.pid)

    def adopt(self, key: AttemptKey, survivor: ProcessKey, output_limit: int, fields: LogFields | None = None) -> bool:
        """Follows a process without a keeper. Returns False if it has ended meanwhile. Raises OSError."""
        inode = self.outputs.inode_for(key, survivor.pid)
        process = Process("", output_limit, inode, self._later_lines(key, inode, fields))
        return self._follow(key, process, survivor)

    def wait_for_unseen(self, key: AttemptKey, output_limit: int, fields: LogFields | None = None) -> None:
        """Waits for the end of a program that runs in another pid namespace: until no process writes to its output."""
        process = Process("", output_limit, None, self._later_lines(key, None, fields))
        self.add(key, process)
        self._await_writers(key, process)

    def _await_writers(self, key: AttemptKey, process: Process) -> None:
        """Looks again, at intervals, whether a process has the output of a program open. Its end is not known."""

        def look() -> None:
            if self.outputs.has_writer(key):
                self.loop.inbox.post(partial(self._await_writers, key, process))
            else:
                self.loop.inbox.post(partial(self._end, key, process, Exit()))

        again = self.loop.clock.moment().boot + UNSEEN_AGAIN_MS
        self.loop.alarms.at(again, partial(self.collector.worker.submit, look))

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
        process.pid = survivor.pid
        process.pidfd = pidfd
        process.link = None
        self.add(key, process)
        self.loop.watch(pidfd, select.EPOLLIN, partial(self._on_exit, key))
        return True

    def _watch(self, link: Link) -> None:
        """Listens to a connection. Runs on any thread, since a worker may open one."""
        self.loop.watch(link.control.fileno(), select.EPOLLIN, partial(self._hear, link))

    def _hear(self, link: Link, events: int) -> None:
        """Takes all reports that have arrived, so that one turn handles them all."""
        if events & select.EPOLLOUT and link.flush():
            self._watch(link)
        if not events & ~select.EPOLLOUT:
            return
        # Without another message, `receive` returns an empty text.
        for text in iter(link.receive, ""):
            if text is None:
                self._on_loss(link)
                return
            for report in reports(text):
                self._take(link, report)

    def _say(self, link: Link, line: str) -> None:
        if not link.say(line):
            self.loop.watch(link.control.fileno(), select.EPOLLIN | select.EPOLLOUT, partial(self._hear, link))

    def _take(self, link: Link, report: Report) -> None:
        """Takes a report of the keeper.

        If it is about a program that nobody follows, the keeper is told to forget its end.
        """
        if isinstance(report, TreeGone):
            self.lingering.pop(report.id, None)
            self._look_for_strays(link)
            return
        key = key_of(report.id)
        process = self._processes.get(key)
        if process is None or process.id != report.id:
            if not isinstance(report, RunsNow):
                self._strangers.discard(report.id)
                self._say(link, f"forget {report.id}")
            return
        match report:
            case RunsNow():
                process.pid, process.ticks = report.pid, report.ticks
                self.loop.inbox.put(ProgramStarted(key, ProcessKey(report.pid, report.ticks, link.namespace)))
            case Unstarted():
                del self._processes[key]
                self._say(link, f"forget {report.id}")
                self.collector.worker.submit(partial(self._explain, key, process, report))
            case Ended():
                self._on_end(link, key, process, report)

    def _on_end(self, link: Link, key: AttemptKey, process: Process, report: Ended) -> None:
        self._ends[key] = link, report.id
        if report.lingers:
            # Before the end is reported, so that a daemon that stops waits for the descendants.
            self.lingering[report.id] = link
        elif report.why:
            self._look_for_strays(link)
        if not process.pid:
            # The start is handled in the same turn as the end. Its start time is not needed: the process has ended.
            self.loop.inbox.put(ProgramStarted(key, ProcessKey(report.pid, 0, link.namespace)))
        self._end(key, process, report.exit)

    def _look_for_strays(self, link: Link) -> None:
        """Looks in a moment for processes that programs have left, and that no keeper can end."""
        if not self._will_look and not link.namespace:
            self._will_look = True
            again = self.loop.clock.moment().boot + STRAYS_AFTER_MS
            self.loop.alarms.at(again, partial(self.collector.worker.submit, partial(self._name_strays, link)))

    def _name_strays(self, link: Link) -> None:
        """Runs on the collector. Logs each of these processes once."""
        self._will_look = False
        strays = strays_of(link.pid, {process.pid for _, process in self._running()})
        for stray in set(strays) - self._strays:
            message = "process %d (%s) was left behind by a program, and nothing shows by which; no timeout and no stop ends it"
            self.logger.warning(message, stray.pid, command_of(stray.pid))
        self._strays = set(strays)

    def _explain(self, key: AttemptKey, process: Process, report: Unstarted) -> None:
        """Reports a failed start. Runs on the collector."""
        why = reason(report.part, report.number, report.text, process.argv0, process.cwd)
        self.report_failure(key, report.number, why)

    def _end(self, key: AttemptKey, process: Process, exit_of_process: Exit) -> None:
        """Follows a program no more, and reports its end with its output."""
        del self._processes[key]
        self.collector.collect(key, process, exit_of_process)

    def _on_loss(self, link: Link) -> None:
        """Looks for the programs of a keeper that was killed: those that still run have lost their exit statuses."""
        self.loop.unwatch(link.control.fileno())
        with self.keeper.lock:
            link.is_lost = True
        lost = {key: process for key, process in list(self._processes.items()) if process.link is link}
        self.lingering = {name: other for name, other in self.lingering.items() if other is not link}
        if link.is_up:
            message = "the keeper, process %d, was killed; the exit statuses of %s are lost"
            running = sum(process.pid > 0 for process in lost.values())
            self.logger.error(message, link.pid, counted(running, "running program"))
        task = partial(self._look_for if link.is_up else self._explain_keeper, link, lost)
        again = self.loop.clock.moment().boot + LOOK_AGAIN_MS
        self.loop.alarms.at(again, partial(self.collector.worker.submit, task))

    def _explain_keeper(self, link: Link, lost: dict[AttemptKey, Process]) -> None:
        """Runs on the collector. Logs why a keeper that has never answered has ended, and gives its starts up."""
        why = link.why_ended()
        text = "the keeper ended before it could start the program"
        if why is not None:
            text = "the keeper cannot start: the log has its message"
            if self.keeper.trouble is None:
                self.logger.error("the keeper ended: %s", why)
            self.keeper.trouble = text
        self.loop.inbox.post(partial(self._give_up, lost, errno.EAGAIN, text))
        self.loop.inbox.post(link.close)

    def _look_for(self, link: Link, lost: dict[AttemptKey, Process], until: int | None = None) -> None:
        """Runs on the collector.

        Decides about each program of a killed keeper: it has ended, or runs, or was not started. `until`: the boot time until
        which a failed read of the file of ends is repeated.
        """
        ends: dict[str, Report] = {}
        try:
            ends = {report.id: report for report in self.keeper.ends()}
        except OSError as error:
            now = self.loop.clock.moment().boot
            until = until or now + UNREADABLE_MS
            if now < until:
                task = partial(self._look_for, link, lost, until)
                self.loop.alarms.at(now + LOOK_AGAIN_MS, partial(self.collector.worker.submit, task))
                return
            self.keeper.warn_unread(error)
        named = find_named([process.names for process in lost.values() if process.names and not process.pid])
        for key, process in lost.items():
            survivor = ProcessKey(process.pid, process.ticks) if process.pid else named.get(process.names)
            self.loop.inbox.post(partial(self._settle, link, key, process, ends.get(process.id), survivor))
        # Waits for the end of the child; nobody reads the text.
        link.why_ended()
        self.loop.inbox.post(link.close)

    def _give_up(self, lost: dict[AttemptKey, Process], number: int, text: str) -> None:
        for key in lost:
            self._processes.pop(key, None)
            self.report_failure(key, number, text)

    def _settle(
        self, link: Link, key: AttemptKey, process: Process, end: Report | None, survivor: ProcessKey | None
    ) -> None:
        """Goes on with a program of a killed keeper: its end is known, or it runs, or nobody knows how it has ended."""
        if self._processes.get(key) is not process:
            return
        if end is not None:
            self._take(link, end)
        elif link.namespace:
            # Its pids count elsewhere.
            process.link, process.id = None, ""
            self._await_writers(key, process)
        elif survivor is not None and self._follow(key, process, survivor):
            self.loop.inbox.put(ProgramStarted(key, survivor))
        else:
            self._end(key, process, Exit())

    def _on_exit(self, key: AttemptKey, _events: int) -> None:
        """Reports the end of a process without a keeper.

        If its group got a signal, the rest of the group is ended too.
        """
        process = self._processes[key]
        assert process.pidfd is not None
        self.loop.unwatch(process.pidfd)
        os.close(process.pidfd)
        if process.term_at is not None and in_group(process.pid):
            self._groups.add(process.pid)
            self._check_group(process.pid, process.term_at + process.kill_after_ms)
        self._end(key, process, Exit())

    def _check_group(self, group: int, kill_at: int) -> None:
        """Checks at intervals whether the rest of a group has ended, and kills it at `kill_at`."""
        now = self.loop.clock.moment().boot
        is_left = bool(in_group(group))
        if is_left and now < kill_at:
            again = min(kill_at, now + LOOK_AGAIN_MS)
            self.loop.alarms.at(again, partial(self._check_group, group, kill_at))
            return
        if is_left:
            _kill_group(group, signal.SIGKILL)
        self._groups.discard(group)

    def is_busy(self) -> bool:
        """Whether the descendants of programs are still being ended."""
        return bool(self.lingering or self._groups)

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
            # The group is signalled by its number. If the process has ended, another one may have this number by now.
            if _is_alive(process.pidfd):
                _kill_group(process.pid, effect.signal)
            return True
        if process.link is None:
            # A program that cannot be seen gets no signal.
            return not process.id
        self._say(process.link, f"signal {process.id} {effect.signal} {effect.kill_after_ms} {effect.why}")
        return True

    def check_keeper(self) -> None:
        """Continues a keeper or its spawner that a signal has stopped; kills a keeper that has not answered since the last check."""
        link = self.keeper.link
        if link is None or link.is_lost:
            return
        if is_stopped(link.pid):
            self._continue(link.pid)
        elif not link.is_up and link.popen is not None and self._unanswered is link:
            self.logger.error("the keeper, process %d, was killed, since it does not answer", link.pid)
            link.popen.kill()
        elif any(process.link is link and not process.pid for _, process in self._running()):
            # The keeper waits for its spawner, and starts and ends nothing meanwhile.
            for pid in copies_of(link.pid):
                self._continue(pid, "the spawner")
        self._unanswered = link

    def _continue(self, pid: int, what: str = "the keeper") -> None:
        """Continues a process that a signal has stopped."""
        if is_stopped(pid):
            self.logger.error("%s, process %d, was continued, since a signal had stopped it", what, pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)

    def read_output(self, effect: ReadOutput) -> None:
        """Performs the effect ReadOutput."""
        process = self._processes.get(effect.key)
        # A program that is not started yet has written nothing. A file with its name is left from an earlier store.
        is_new = process is None and effect.key not in self._ends
        self.collector.read_part(effect, is_new, process.inode if process else None)

    def discard(self, effect: DiscardOutput) -> None:
        """Performs the effect DiscardOutput."""
        # Another attempt may have the same key before `discard_all`.
        self._outdated.append((effect.key, *self._ends.pop(effect.key, (None, ""))))
        if len(self._outdated) == 1:
            self.loop.alarms.at(self.loop.clock.moment().boot + DISCARD_AFTER_MS, self.discard_all)

    def discard_all(self) -> None:
        """Removes the outputs of ends that are stored now. The keeper may forget these ends."""
        outdated, self._outdated = self._outdated, []
        self.collector.discard([key for key, _, _ in outdated])
        names: dict[Link, list[str]] = {}
        for _, link, name in outdated:
            if link is not None:
                names.setdefault(link, []).append(name)
        for link, forgotten in names.items():
            for place in range(0, len(forgotten), MOST_FORGOTTEN):
                self._say(link, f"forget {' '.join(forgotten[place : place + MOST_FORGOTTEN])}")


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
