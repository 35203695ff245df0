"""External programs: spawned in sessions of their own, watched by pidfd, ended as whole groups.

Their output goes to a file, so that they outlive a killed daemon. A run ends when its process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.clock import Clock
from schedappliance.core.recovery import Survivor
from schedappliance.edge.directories import AUDIT_MS
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.inherited import lowered, may_lower
from schedappliance.edge.processes import in_group, start_ticks
from schedappliance.edge.spawner import variables, why_not
from schedappliance.edge.spawning import Spawner
from schedappliance.edge.timers import Alarms
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import DiscardOutput, SignalProgram, StartProgram
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import RunKey
from schedappliance.engine.running import Exit

# What passes when others have given descriptors, memory or processes back.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)

# How often a group that outlives its leader is looked at.
LOOK_AGAIN_MS = 100
SPARE_BYTES = 4 * 1024 * 1024
# fallocate(2): FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE.
_PUNCH_HOLE = 0x02 | 0x01
_libc = ctypes.CDLL(None, use_errno=True)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Watch = Callable[[int, Callable[[], None]], None]
_Name = tuple[RunKey, int]


@dataclass(slots=True)
class _Process:
    """A program that runs; `reap` None: adopted, so no child. `term_at`: boot ms when TERM was sent."""

    pid: int
    pidfd: int
    output_limit: int
    reap: Callable[[], object] | None = None
    term_at: int | None = None
    kill_after_ms: int = 0


@dataclass(slots=True)
class _Start:
    """A start that the spawner was asked for, and what its report has `told`; `signal` waits for its process."""

    effect: StartProgram
    report: int
    told: bytes = b""
    process: _Process | None = None
    start_ticks: int = 0
    signal: SignalProgram | None = None

    @property
    def name(self) -> _Name:
        return self.effect.key, self.effect.attempt


@dataclass(slots=True)
class Programs:
    """Starts, signals and collects. What can block runs on the worker; `watch` and `unwatch` are the loop's."""

    directory: Path
    inbox: Inbox
    worker: Worker
    alarms: Alarms
    clock: Clock
    watch: Watch
    unwatch: Callable[[int], None]
    collector: Worker
    spawner: Spawner
    old_limit: int
    lingering: int = 0
    _processes: dict[_Name, _Process] = field(default_factory=dict)
    _starts: dict[_Name, _Start] = field(default_factory=dict)
    _environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._environment = base_environment()

    def start(self, effect: StartProgram) -> None:
        self.worker.submit(partial(self._spawn, effect))

    def _spawn(self, effect: StartProgram) -> None:
        name = (effect.key, effect.attempt)
        try:
            output = self._open_output(name)
            try:
                as_another = effect.user is not None or effect.group is not None
                if as_another or not may_lower(self.old_limit, output):
                    self.inbox.post(partial(self._expect, _Start(effect, self._ask_spawner(effect, output))))
                    return
                child = self._popen(effect, output)
            finally:
                os.close(output)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._not_started(name, *why_not(error, effect.argv[0], effect.cwd))
            return
        process = self._process(effect, child.pid, child.wait)
        if process is not None:
            self.inbox.post(partial(self._follow, name, process))
            self.inbox.post(ProgramStarted(*name, child.pid, start_ticks(child.pid)))

    def _not_started(self, name: _Name, number: int, reason: str) -> None:
        self._forget(name)
        self.inbox.post(ProgramNotStarted(*name, reason, number in EXHAUSTED))

    def _process(self, effect: StartProgram, pid: int, reap: Callable[[], object]) -> _Process | None:
        """A child that was started; one that cannot be watched is killed at once."""
        try:
            return _Process(pid, os.pidfd_open(pid), effect.output_limit, reap)
        except OSError as error:
            self.collector.submit(partial(_end_unwatched, pid, reap))
            reason = f"cannot watch it: {error.strerror}; it was killed at once"
            self._not_started((effect.key, effect.attempt), 0, reason)
            return None

    def _open_output(self, name: _Name) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_TRUNC | os.O_NOFOLLOW
        return os.open(self._output_path(name), flags, 0o600)

    def _popen(self, effect: StartProgram, output: int) -> subprocess.Popen[bytes]:
        environment = {**self._environment, **dict(effect.env)}
        with lowered(self.old_limit):
            return subprocess.Popen(
                effect.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: value.encode(errors="surrogateescape") for name, value in environment.items()},
                cwd=effect.cwd,
                umask=effect.umask,
                start_new_session=True,
            )

    def _ask_spawner(self, effect: StartProgram, output: int) -> int:
        own = dict(effect.env)
        request = (effect.argv, self._environment, own, effect.cwd, effect.umask, effect.user, effect.group)
        return self.spawner.start(request, output)

    def _expect(self, start: _Start) -> None:
        self._starts[start.name] = start
        self.watch(start.report, partial(self._hear, start))

    def _hear(self, start: _Start) -> None:
        """A report tells the pid first; it may end long after that, since users are looked up in between."""
        more = os.read(start.report, 65_536)
        start.told += more
        pid, _, failure = start.told.partition(b"\n")
        if pid and start.process is None:
            start.process = self._process(start.effect, int(pid), partial(os.waitpid, int(pid), 0))
            start.start_ticks = start_ticks(int(pid))
            if start.process is None:
                self._stop_hearing(start)
                return
            self._processes[start.name] = start.process
            if start.signal is not None:
                self._signal(start.signal)
        if not more:
            self._stop_hearing(start)
            self._has_started(start, failure)

    def _stop_hearing(self, start: _Start) -> None:
        self.unwatch(start.report)
        os.close(start.report)
        del self._starts[start.name]

    def _has_started(self, start: _Start, failure: bytes) -> None:
        """The report has ended. One that tells nothing at all means that the spawner ended before it began."""
        if failure or start.process is None:
            self._processes.pop(start.name, None)
            self.collector.submit(partial(self._give_up, start, failure))
            return
        self._follow(start.name, start.process)
        self.inbox.post(ProgramStarted(*start.name, start.process.pid, start.start_ticks))

    def _give_up(self, start: _Start, failure: bytes) -> None:
        if start.process is not None:
            _reap(start.process)
        number, _, reason = failure.decode(errors="replace").partition(" ")
        if failure:
            self._not_started(start.name, int(number), reason)
        else:
            self._not_started(start.name, errno.EAGAIN, "the spawner ended before it could start it")

    def adopt(self, key: RunKey, attempt: int, survivor: Survivor, output_limit: int) -> bool:
        """Watches a process that another daemon started; False when it has just ended. Raises OSError when it cannot."""
        try:
            pidfd = os.pidfd_open(survivor.pid)
        except ProcessLookupError:
            return False
        if start_ticks(survivor.pid) != survivor.start_ticks:
            os.close(pidfd)
            return False
        self._follow((key, attempt), _Process(survivor.pid, pidfd, output_limit))
        return True

    def _follow(self, name: _Name, process: _Process) -> None:
        self._processes[name] = process
        self.watch(process.pidfd, partial(self._has_ended, name))

    def _has_ended(self, name: _Name) -> None:
        process = self._processes.pop(name)
        self.unwatch(process.pidfd)
        self.collector.submit(partial(self._collect, name, process))

    def _collect(self, name: _Name, process: _Process) -> None:
        """The end of the leader is the end of the run. Its zombie keeps the group's number from being used again."""
        exit = _exit(process)
        output, output_bytes = self._output(name, process.output_limit)
        ended = ProgramEnded(*name, exit, output, output_bytes)
        if process.term_at is not None and in_group(process.pid):
            self.inbox.post(partial(self._linger, process, ended))
        else:
            _reap(process)
            self.inbox.post(ended)

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
        name = (effect.key, effect.attempt)
        if name in self._processes or name in self._starts:
            self._signal(effect)
        else:
            self.worker.submit(lambda: self.inbox.post(partial(self._signal, effect)))

    def _signal(self, effect: SignalProgram) -> None:
        name = (effect.key, effect.attempt)
        process = self._processes.get(name)
        if process is None and name in self._starts:
            self._starts[name].signal = effect
            if effect.signal == signal.SIGKILL:
                # It has had its time; a spawner that does not answer must not keep its programs for ever.
                self.spawner.kill()
        if process is not None:
            process.term_at = self.clock.moment().boot if process.term_at is None else process.term_at
            process.kill_after_ms = effect.kill_after_ms
            if process.reap is not None or _lives(process.pidfd):
                _kill_group(process.pid, effect.signal)

    def discard(self, effect: DiscardOutput) -> None:
        self.collector.submit(partial(self._forget, (effect.key, effect.attempt)))

    def _forget(self, name: _Name) -> None:
        with contextlib.suppress(OSError):
            self._output_path(name).unlink()

    def leftover(self, key: RunKey, attempt: int, limit: int) -> tuple[bytes, int]:
        """What is kept of the output of a program that ended while no appliance ran, and how many bytes it was."""
        return self._output((key, attempt), limit)

    def sweep(self, known: Collection[_Name]) -> None:
        """Removes the output files that no attempt will ask for any more."""
        wanted = {self._output_path(name) for name in known}
        for path in self.directory.iterdir():
            if path not in wanted and not path.is_dir():
                path.unlink(missing_ok=True)

    def _output_path(self, name: _Name) -> Path:
        key, attempt = name
        return self.directory / f"{key.job}-{key.occurrence}-{attempt}"

    def _output(self, name: _Name, limit: int) -> tuple[bytes, int]:
        """What is kept of the output: all of it, or its head and its tail with a line between that counts the rest.

        The rest gives its room back at once: the row that records the end may need it.
        """
        try:
            with self._output_path(name).open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                if size <= limit:
                    return file.read(), size
                head = file.read(limit // 2)
                file.seek(size - (limit - limit // 2))
                tail = file.read(limit - limit // 2)
                kept = head + b"\n[... %d bytes left out ...]\n" % (size - limit) + tail
                file.truncate(0)
                return kept, size
        except OSError:
            return b"", 0

    def audit(self) -> None:
        """Gives back the room that long outputs of running programs take beyond what will be kept of them."""
        self.alarms.at(self.clock.moment().boot + AUDIT_MS, self.audit)
        for name, process in list(self._processes.items()):
            self.collector.submit(partial(punch, self._output_path(name), process.output_limit))


def _lives(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def punch(path: Path, limit: int) -> None:
    """Makes a hole in a file between its head and its tail, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            # Whatever is written meanwhile moves the tail away from the hole.
            if size > 2 * limit + SPARE_BYTES:
                _libc.fallocate(descriptor, _PUNCH_HOLE, ctypes.c_long(limit), ctypes.c_long(size - 2 * limit))
        finally:
            os.close(descriptor)


def base_environment() -> dict[str, str]:
    """What every program finds; nothing is inherited."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        user = None
    return {"PATH": PATH, **variables(user, os.geteuid()), "LANG": "C.UTF-8"}


def _exit(process: _Process) -> Exit:
    """How a child ended, without reaping it; of an adopted process nothing is known."""
    if process.reap is None:
        return Exit()
    result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOWAIT)
    assert result is not None
    if result.si_code == os.CLD_EXITED:
        return Exit(status=result.si_status)
    return Exit(signal=result.si_status)


def _reap(process: _Process) -> None:
    if process.reap is not None:
        process.reap()
    os.close(process.pidfd)


def _end_unwatched(pid: int, reap: Callable[[], object]) -> None:
    _kill_group(pid, signal.SIGKILL)
    reap()


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
