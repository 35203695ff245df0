"""External programs: spawned in sessions of their own, watched by pidfd, ended as whole groups.

Their output goes to a file, so that they outlive a killed daemon. A run ends when its process ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.clock import Clock
from schedappliance.edge.files.directories import AUDIT_MS
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.process import may_lower
from schedappliance.edge.programs.launcher import Plain
from schedappliance.edge.programs.outputs import Outputs
from schedappliance.edge.programs.room import Room
from schedappliance.edge.programs.spawner import encoded, variables, why_not
from schedappliance.edge.programs.spawning import Spawner
from schedappliance.edge.programs.survivors import in_group, start_ticks
from schedappliance.edge.timers import Alarms, Timer, boot_timer
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import DiscardOutput, SignalProgram, StartProgram
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import AttemptKey, ProcessKey
from schedappliance.engine.running import Exit

# What passes when others have given descriptors, memory or processes back.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)

# How often a group that outlives its leader is looked at.
LOOK_AGAIN_MS = 100
# After so long it is recorded that a program was started, or with its end if it ends before.
SOON_MS = 10
DISCARD_MS = 100

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Watch = Callable[[int, Callable[[], None]], None]


@dataclass(slots=True)
class _Process:
    """A program that runs; an adopted one is no `child`. `term_at`: boot ms when TERM was sent."""

    pid: int
    pidfd: int
    output_limit: int
    child: bool = True
    term_at: int | None = None
    kill_after_ms: int = 0


@dataclass(slots=True)
class _Start:
    """A start that the spawner was asked for, and what its report has `told`; `signal` waits for its process."""

    effect: StartProgram
    report: int
    room: Room
    told: bytes = b""
    process: _Process | None = None
    signal: SignalProgram | None = None

    @property
    def key(self) -> AttemptKey:
        return self.effect.key

    def hear(self) -> bool:
        """Reads what is there; whether the report has ended."""
        try:
            while more := os.read(self.report, 65_536):
                self.told += more
        except BlockingIOError:
            return False
        return True


@dataclass(slots=True)
class Programs:
    """Starts, signals and collects. What can block runs on the worker; `watch` is the loop's.

    One descriptor of the loop stands for all that is awaited of programs, so that the worker can add to it: the end of
    a program, and the end of a report, which need not be looked at before.
    """

    directory: Path
    inbox: Inbox
    worker: Worker
    alarms: Alarms
    clock: Clock
    watch: Watch
    collector: Worker
    spawner: Spawner
    old_limit: int
    lingering: int = 0
    outputs: Outputs = field(init=False)
    plain: Plain = field(init=False)
    _processes: dict[AttemptKey, _Process] = field(default_factory=dict)
    _starts: dict[AttemptKey, _Start] = field(default_factory=dict)
    _environment: dict[str, bytes] = field(default_factory=dict)
    _awaited: select.epoll = field(default_factory=select.epoll)
    _outdated: list[AttemptKey] = field(default_factory=list)
    _calls: dict[int, Callable[[], None]] = field(default_factory=dict)
    _unsaid: dict[AttemptKey, int] = field(default_factory=dict)
    _soon: Timer = field(default_factory=boot_timer)
    _is_soon: bool = False

    def __post_init__(self) -> None:
        self._environment = encoded(base_environment())
        self.outputs, self.plain = Outputs(self.directory), Plain(self.old_limit)
        self.watch(self._awaited.fileno(), self._look)
        self.watch(self._soon.fileno(), self._tell_now)

    def _await(self, descriptor: int, events: int, call: Callable[[], None]) -> None:
        """From any thread: no event comes before it can be answered."""
        self._calls[descriptor] = call
        self._awaited.register(descriptor, events)

    def _await_no_more(self, descriptor: int) -> None:
        self._awaited.unregister(descriptor)
        del self._calls[descriptor]

    def _look(self) -> None:
        for descriptor, _ in self._awaited.poll(0):
            if call := self._calls.get(descriptor):
                call()

    def _tell_soon(self, key: AttemptKey, pid: int) -> None:
        """From any thread: a program that has ended by then is told as one that was started together with its end."""
        self._unsaid[key] = pid
        if not self._is_soon:
            self._is_soon = True
            self._soon.arm(self.clock.moment().boot + SOON_MS)

    def _tell_now(self) -> None:
        """With the turn that follows."""
        self._soon.acknowledge()
        self._is_soon = False
        while self._unsaid:
            key, pid = self._unsaid.popitem()
            self.inbox.put(ProgramStarted(key, ProcessKey(pid, start_ticks(pid))))

    def start(self, effect: StartProgram) -> None:
        self.worker.submit(partial(self._spawn, effect))

    def _spawn(self, effect: StartProgram) -> None:
        key, report, pid = effect.key, None, 0
        try:
            output = self.outputs.open(key)
            try:
                room = Room(output)
                as_another = effect.user is not None or effect.group is not None
                if as_another or not may_lower(self.old_limit, output):
                    report = self._ask_spawner(effect, output)
                else:
                    pid = self.plain.start(effect, {**self._environment, **encoded(dict(effect.env))}, output)
            finally:
                os.close(output)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._not_started(key, *why_not(error, effect.argv[0], effect.cwd))
            return
        if report is not None:
            # It is on its way: what goes wrong from here on is no failed start, which would be tried again.
            self._expect(_Start(effect, report, room))
        elif (process := self._process(effect, pid, room)) is not None:
            self._tell_soon(key, pid)
            self._follow(key, process)

    def _not_started(self, key: AttemptKey, number: int, reason: str) -> None:
        self.outputs.forget([key])
        self.inbox.post(ProgramNotStarted(key, reason, number in EXHAUSTED))

    def _process(self, effect: StartProgram, pid: int, room: Room) -> _Process | None:
        """A child that was started; one that cannot be watched is killed at once."""
        room.clear()
        try:
            return _Process(pid, os.pidfd_open(pid), effect.output_limit)
        except OSError as error:
            self.collector.submit(partial(_end_unwatched, pid))
            reason = f"cannot watch it: {error.strerror}; it was killed at once"
            self._not_started(effect.key, 0, reason)
            return None

    def _ask_spawner(self, effect: StartProgram, output: int) -> int:
        own = encoded(dict(effect.env))
        request = (effect.argv, self._environment, own, effect.cwd, effect.umask, effect.user, effect.group)
        return self.spawner.start(request, output)

    def _expect(self, start: _Start) -> None:
        """Only the end of the report is awaited, unless somebody must know the pid before."""
        os.set_blocking(start.report, False)
        self._starts[start.key] = start
        self._await(start.report, 0, partial(self._hear, start))
        if start.signal is not None:
            self._hurry(start)

    def _hurry(self, start: _Start) -> None:
        """From either thread, whichever comes later: a signal waits for the pid."""
        with contextlib.suppress(FileNotFoundError):
            self._awaited.modify(start.report, select.EPOLLIN)

    def _hear(self, start: _Start) -> None:
        """A report tells the pid first; it may end long after that, since users are looked up in between."""
        has_ended = start.hear()
        pid, _, failure = start.told.partition(b"\n")
        if pid and start.process is None:
            start.process = self._process(start.effect, int(pid), start.room)
            if start.process is None:
                self._stop_hearing(start)
                return
            self._processes[start.key] = start.process
            if start.signal is not None:
                self._signal(start.signal)
        if has_ended:
            self._stop_hearing(start)
            self._has_started(start, failure)

    def _stop_hearing(self, start: _Start) -> None:
        self._await_no_more(start.report)
        os.close(start.report)
        start.room.clear()
        del self._starts[start.key]

    def _has_started(self, start: _Start, failure: bytes) -> None:
        """The report has ended. One that tells nothing at all means that the spawner ended before it began."""
        if failure or start.process is None:
            self._processes.pop(start.key, None)
            self.collector.submit(partial(self._give_up, start, failure))
            return
        self._tell_soon(start.key, start.process.pid)
        self._follow(start.key, start.process)

    def _give_up(self, start: _Start, failure: bytes) -> None:
        if start.process is not None:
            _reap(start.process)
        number, _, reason = failure.decode(errors="replace").partition(" ")
        if failure:
            self._not_started(start.key, int(number), reason)
        else:
            self._not_started(start.key, errno.EAGAIN, "the spawner ended before it could start it")

    def adopt(self, key: AttemptKey, survivor: ProcessKey, output_limit: int) -> bool:
        """Watches a process that another daemon started; False when it has just ended. Raises OSError when it cannot."""
        try:
            pidfd = os.pidfd_open(survivor.pid)
        except ProcessLookupError:
            return False
        if start_ticks(survivor.pid) != survivor.start_ticks:
            os.close(pidfd)
            return False
        self._follow(key, _Process(survivor.pid, pidfd, output_limit, child=False))
        return True

    def _follow(self, key: AttemptKey, process: _Process) -> None:
        self._processes[key] = process
        self._await(process.pidfd, select.EPOLLIN, partial(self._has_ended, key))

    def _has_ended(self, key: AttemptKey) -> None:
        """The end of the leader is the end of the run; what has to be read or looked for is left to the collector."""
        process = self._processes.pop(key)
        if self._unsaid.pop(key, None):
            # With its end, so that one commit holds both; that it was started when it was is of no use any more.
            self.inbox.put(ProgramStarted(key, ProcessKey(process.pid, 0)))
        self._await_no_more(process.pidfd)
        if process.term_at is None and self.outputs.is_empty(key):
            self.inbox.put(ProgramEnded(key, _reap(process), b"", 0))
        else:
            self.collector.submit(partial(self._collect, key, process))

    def _collect(self, key: AttemptKey, process: _Process) -> None:
        """The zombie of the leader keeps the number of the group from being used again."""
        output, output_bytes = self.outputs.kept(key, process.output_limit)
        if process.term_at is not None and in_group(process.pid):
            ended = ProgramEnded(key, _exit(process, os.WNOWAIT), output, output_bytes)
            self.inbox.post(partial(self._linger, process, ended))
        else:
            self.inbox.post(ProgramEnded(key, _reap(process), output, output_bytes))

    def _linger(self, process: _Process, ended: ProgramEnded) -> None:
        """What is left of a group that was sent TERM has until `kill_after` to end; known before the end is told."""
        self.lingering += 1
        assert process.term_at is not None
        self.inbox.post(ended)
        self._look_at_group(process)

    def _look_at_group(self, process: _Process) -> None:
        """Looks now and then whether the rest has ended by itself; at the end of its time it is killed."""
        assert process.term_at is not None
        now, last = self.clock.moment().boot, process.term_at + process.kill_after_ms
        left = in_group(process.pid)
        if left and now < last:
            self.alarms.at(min(last, now + LOOK_AGAIN_MS), partial(self._look_at_group, process))
            return
        if left:
            _kill_group(process.pid, signal.SIGKILL)
        _reap(process)
        self.lingering -= 1

    def signal(self, effect: SignalProgram) -> None:
        """At once; a program whose start is on its way is signalled after it."""
        key = effect.key
        if key in self._processes or key in self._starts:
            self._signal(effect)
        else:
            self.worker.submit(lambda: self.inbox.post(partial(self._signal, effect)))

    def _signal(self, effect: SignalProgram) -> None:
        key = effect.key
        process = self._processes.get(key)
        if process is None and key in self._starts:
            self._starts[key].signal = effect
            self._hurry(self._starts[key])
            if effect.signal == signal.SIGKILL:
                # It has had its time; a spawner that does not answer must not keep its programs for ever.
                self.spawner.kill()
        if process is not None:
            process.term_at = self.clock.moment().boot if process.term_at is None else process.term_at
            process.kill_after_ms = effect.kill_after_ms
            if process.child or _lives(process.pidfd):
                _kill_group(process.pid, effect.signal)

    def discard(self, effect: DiscardOutput) -> None:
        """Not at once: to hand each over to the collector would take longer than to remove it."""
        self._outdated.append(effect.key)
        if len(self._outdated) == 1:
            self.alarms.at(self.clock.moment().boot + DISCARD_MS, self.discard_all)

    def discard_all(self) -> None:
        """Removes what need not be kept any more."""
        keys, self._outdated = self._outdated, []
        self.collector.submit(partial(self.outputs.forget, keys))

    def leftover(self, key: AttemptKey, limit: int) -> tuple[bytes, int]:
        """What is kept of the output of a program that ended while no appliance ran, and how many bytes it was."""
        return self.outputs.kept(key, limit)

    def sweep(self, known: Collection[AttemptKey]) -> None:
        self.outputs.sweep(known)

    def audit(self) -> None:
        """Gives back the room that long outputs of running programs take beyond what will be kept of them."""
        self.alarms.at(self.clock.moment().boot + AUDIT_MS, self.audit)
        for key, process in list(self._processes.items()):
            self.collector.submit(partial(self.outputs.punch, key, process.output_limit))


def _lives(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def base_environment() -> dict[str, str]:
    """What every program finds; nothing is inherited."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        user = None
    return {"PATH": PATH, **variables(user, os.geteuid()), "LANG": "C.UTF-8"}


def _exit(process: _Process, options: int = 0) -> Exit:
    """How a child ended; of an adopted process nothing is known."""
    if not process.child:
        return Exit()
    result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | options)
    assert result is not None
    if result.si_code == os.CLD_EXITED:
        return Exit(status=result.si_status)
    return Exit(signal=result.si_status)


def _reap(process: _Process) -> Exit:
    exit = _exit(process)
    os.close(process.pidfd)
    return exit


def _end_unwatched(pid: int) -> None:
    _kill_group(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
