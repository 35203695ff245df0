"""External programs: spawned in sessions of their own, watched by pidfd, ended as whole groups.

Their output goes to a file, so that they outlive a killed daemon. A run ends when its process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import resource
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
from schedappliance.edge.processes import in_group, start_ticks
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
    """A program that runs; `child` None: adopted. `term_at`: boot ms when TERM was sent."""

    pid: int
    pidfd: int
    output_limit: int
    child: subprocess.Popen[bytes] | None = None
    term_at: int | None = None
    kill_after_ms: int = 0


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
    old_limit: int
    lingering: int = 0
    _processes: dict[_Name, _Process] = field(default_factory=dict)
    _environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._environment = base_environment()

    def start(self, effect: StartProgram) -> None:
        self.worker.submit(partial(self._spawn, effect))

    def _spawn(self, effect: StartProgram) -> None:
        name = (effect.key, effect.attempt)
        try:
            child = self._popen(effect)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._forget(name)
            reason = f"cannot start {effect.argv[0]}: {getattr(error, 'strerror', None) or error}"
            if isinstance(error, OSError) and error.filename == effect.cwd != effect.argv[0]:
                reason = f"cannot start in {effect.cwd}: {error.strerror}"
            exhausted = getattr(error, "errno", None) in EXHAUSTED
            self.inbox.post(ProgramNotStarted(effect.key, effect.attempt, reason, exhausted))
            return
        _restore_limit(child.pid, self.old_limit)
        try:
            pidfd = os.pidfd_open(child.pid)
        except OSError as error:
            _kill_group(child.pid, signal.SIGKILL)
            child.wait()
            self._forget(name)
            self.inbox.post(ProgramNotStarted(*name, f"cannot watch it: {error.strerror}; it was killed at once"))
            return
        process = _Process(child.pid, pidfd, effect.output_limit, child)
        self.inbox.post(partial(self._follow, name, process))
        self.inbox.post(ProgramStarted(effect.key, effect.attempt, child.pid, start_ticks(child.pid)))

    def _popen(self, effect: StartProgram) -> subprocess.Popen[bytes]:
        path = self._output_path((effect.key, effect.attempt))
        output = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_TRUNC | os.O_NOFOLLOW, 0o600
        )
        environment = {**self._environment, **dict(effect.env)}
        try:
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
        finally:
            os.close(output)

    def adopt(self, key: RunKey, attempt: int, survivor: Survivor, output_limit: int) -> bool:
        """Watches a process that another daemon started; False when it has just ended."""
        try:
            pidfd = os.pidfd_open(survivor.pid)
        except OSError:
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
        if (effect.key, effect.attempt) in self._processes:
            self._signal(effect)
        else:
            self.worker.submit(lambda: self.inbox.post(partial(self._signal, effect)))

    def _signal(self, effect: SignalProgram) -> None:
        process = self._processes.get((effect.key, effect.attempt))
        if process is not None:
            process.term_at = self.clock.moment().boot if process.term_at is None else process.term_at
            process.kill_after_ms = effect.kill_after_ms
            if process.child is not None or _lives(process.pidfd):
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


def _restore_limit(pid: int, soft: int) -> None:
    """The daemon has raised its own limit on descriptors; programs get the one that it was given."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


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
            if size > limit + SPARE_BYTES:
                _libc.fallocate(
                    descriptor, _PUNCH_HOLE, ctypes.c_long(limit), ctypes.c_long(size - limit - SPARE_BYTES // 2)
                )
        finally:
            os.close(descriptor)


def base_environment() -> dict[str, str]:
    """What every program finds; nothing is inherited."""
    try:
        user = pwd.getpwuid(os.geteuid())
        name, home, shell = user.pw_name, user.pw_dir, user.pw_shell or "/bin/sh"
    except KeyError:
        # A user without an entry, as in containers.
        name, home, shell = str(os.geteuid()), "/", "/bin/sh"
    return {"PATH": PATH, "HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell, "LANG": "C.UTF-8"}


def _exit(process: _Process) -> Exit:
    """How a child ended, without reaping it; of an adopted process nothing is known."""
    if process.child is None:
        return Exit()
    result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOWAIT)
    assert result is not None
    if result.si_code == os.CLD_EXITED:
        return Exit(status=result.si_status)
    return Exit(signal=result.si_status)


def _reap(process: _Process) -> None:
    if process.child is not None:
        process.child.wait()
    os.close(process.pidfd)


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
