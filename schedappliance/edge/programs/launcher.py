"""Starts programs: directly, or through the spawner as another user or while many descriptors are open.

For a direct start it uses posix_spawn(3), or `subprocess` if its thread cannot have its own directory and umask.

Rule: a start runs on a worker, since a file system or a directory service may hang. A request that the spawner has
received is never reported as a failed start. Otherwise the program could be started twice.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import pwd
import resource
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge import linux
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.programs import spawner
from schedappliance.edge.programs.supervisor import EXHAUSTED, Process, kill_unwatched, reap
from schedappliance.engine.events import OutputsChecked, ProgramNotStarted

if TYPE_CHECKING:
    from logging import Logger

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.outputs import Outputs
    from schedappliance.edge.programs.spawner import SpawnRequest
    from schedappliance.edge.programs.supervisor import Supervisor
    from schedappliance.edge.worker import Worker
    from schedappliance.engine.effects import SignalProgram, StartProgram
    from schedappliance.engine.records import AttemptKey

# How long a look-up of a program's user that fails is made again, since an error does not mean that there is no such user.
LOOK_UP_PATIENCE_MS = 120_000
# The interval of the checks while outputs cannot be written.
CHECK_AGAIN_MS = 1000
# How long the end of a spawner is waited for that has closed its channel, and how much of its messages is read.
END_SECONDS, MESSAGE_BYTES = 5.0, 65_536
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Python ignores the first two. The C library uses 32 to 34 itself, and a program inherits signals that are ignored.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, 32, 33, 34)
# -I -S: the environment cannot make this interpreter load anything. The UTF-8 mode makes it encode names as the daemon does.
COMMAND = (sys.executable, "-I", "-S", "-X", "utf8", str(Path(spawner.__file__)))


@dataclass(slots=True)
class _PendingStart:
    """A start that was requested from the spawner.

    `output` stays open until the pidfd is opened, see `Launcher._process`. `text`: the received part of the report.
    `process`: None until the report gives the pid. `is_watched`: the loop waits for the report. `signal`: a signal to
    send as soon as the process is known.
    """

    effect: StartProgram
    report: int
    output: int
    spawner: SpawnerProcess
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
class Launcher:
    """Performs StartProgram and SignalProgram. `limit`: the limit on open descriptors that programs get."""

    loop: Loop
    outputs: Outputs
    supervisor: Supervisor
    worker: Worker
    collector: Worker
    spawner: Spawner
    limit: int
    logger: Logger
    own_user: OwnUserStarts = field(init=False)
    _environment: dict[str, bytes] = field(init=False)
    _pending: dict[AttemptKey, _PendingStart] = field(default_factory=dict)
    _outputs_fail: bool = False
    _failed_look_ups: dict[tuple[str | None, str | None], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.own_user = OwnUserStarts(self.limit)
        self._environment = _encoded(base_environment())

    def start(self, effect: StartProgram) -> None:
        """Performs the effect StartProgram. An event reports the end of the attempt, or why it could not begin."""
        self.worker.submit(partial(self._start_on_worker, effect))

    def _start_on_worker(self, effect: StartProgram) -> None:
        try:
            output = self.outputs.open(effect.key)
        except OSError as error:
            self._report_no_output(effect, error)
            return
        report, pid = -1, 0
        try:
            environment = _encoded(dict(effect.env))
            if effect.user is None and effect.group is None and may_lower(self.limit, output):
                pid = self.own_user.start(effect, self._environment | environment, output)
            else:
                argv, base = effect.argv, self._environment
                own = (effect.cwd, effect.umask, effect.user, effect.group)
                request = (argv, base, environment, *own, self._may_repeat_look_up(effect))
                report, process = self.spawner.start(request, output)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(output)
            self._report_failure(effect.key, *spawner.why_not(error, effect.argv[0], effect.cwd))
            return
        if report >= 0:
            self._await_report(_PendingStart(effect, report, output, process))
        elif child := self._process(effect, pid, output):
            self.supervisor.follow(effect.key, child)

    def _process(self, effect: StartProgram, pid: int, output: int) -> Process | None:
        """The process of a child. If the child cannot be watched, it has the child killed and returns None.

        The output stays open until here. Closing it frees a descriptor for the pidfd. If no descriptor is left for the
        output, the program is not started.
        """
        os.close(output)
        try:
            return Process(pid, os.pidfd_open(pid), effect.output_limit)
        except OSError as error:
            self.collector.submit(partial(kill_unwatched, pid))
            self._report_failure(effect.key, 0, f"cannot watch the process: {error.strerror}; it was killed")
            return None

    def _report_failure(self, key: AttemptKey, number: int, reason: str) -> None:
        self.outputs.remove([key])
        self.loop.inbox.post(ProgramNotStarted(key, reason, number in EXHAUSTED))

    def _may_repeat_look_up(self, effect: StartProgram) -> bool:
        """Whether a failed look-up of the program's user and group is made again: until LOOK_UP_PATIENCE_MS have passed."""
        since = self._failed_look_ups.get((effect.user, effect.group))
        return since is None or self.loop.clock.moment().boot - since < LOOK_UP_PATIENCE_MS

    def _report_no_output(self, effect: StartProgram, error: OSError) -> None:
        """Reports a start that the appliance's own directory prevented: the program is not to blame, so it is tried again."""
        if error.errno in EXHAUSTED:
            self._report_failure(effect.key, *spawner.why_not(error, effect.argv[0], effect.cwd))
            return
        reason = self.outputs.why_not(error)
        self._note_outputs(reason)
        self.loop.inbox.post(ProgramNotStarted(effect.key, reason, exhausted=True))

    def audit_outputs(self) -> None:
        """Looks at the directory of the outputs now and at each interval, and makes it again if it is missing."""
        self.loop.alarms.at(self.loop.clock.moment().boot + AUDIT_MS, self.audit_outputs)
        self.worker.submit(self._audit_outputs)

    def _audit_outputs(self) -> None:
        try:
            if self.outputs.make():
                self.logger.warning("the directory %s was missing and was made again", self.outputs.directory)
        except OSError as error:
            self._note_outputs(self.outputs.why_not(error))

    def _check_outputs(self) -> None:
        self._outputs_fail = False
        self._note_outputs(self.outputs.problem())

    def _note_outputs(self, problem: str | None) -> None:
        """Runs on the worker. While there is a problem, the directory is checked at short intervals."""
        if problem and self._outputs_fail:
            return
        self.loop.inbox.post(OutputsChecked(problem))
        if problem:
            self._outputs_fail = True
            again = self.loop.clock.moment().boot + CHECK_AGAIN_MS
            self.loop.alarms.at(again, partial(self.worker.submit, self._check_outputs))

    def _await_report(self, pending: _PendingStart) -> None:
        """Runs on the worker. With an empty set of events, epoll reports only the end, so most starts cause one wake-up."""
        os.set_blocking(pending.report, False)
        self._pending[pending.key] = pending
        self.loop.watch(pending.report, 0, partial(self._on_report, pending))
        pending.is_watched = True

    def _on_report(self, pending: _PendingStart, _events: int = 0) -> None:
        """Reads a report. Its end may come long after the pid at its beginning, since the user is looked up in between."""
        has_ended = pending.read()
        pid, _, failure = pending.text.partition(b"\n")
        if pid and pending.process is None:
            pending.process = self._process(pending.effect, int(pid), pending.output)
            if pending.process is None:
                self._close_report(pending)
                return
            self.supervisor.add(pending.key, pending.process)
            if pending.signal is not None:
                self.supervisor.signal(pending.signal)
        if has_ended:
            self._close_report(pending)
            self._on_started(pending, failure)

    def _close_report(self, pending: _PendingStart) -> None:
        self.loop.unwatch(pending.report)
        os.close(pending.report)
        del self._pending[pending.key]

    def _on_started(self, pending: _PendingStart, failure: bytes) -> None:
        """Handles the end of a report. If it has neither a pid nor a failure, the spawner ended before it began the start."""
        if pending.process is None:
            os.close(pending.output)
        elif not failure:
            self._failed_look_ups.pop((pending.effect.user, pending.effect.group), None)
            self.supervisor.follow(pending.key, pending.process)
            return
        self.supervisor.remove(pending.key)
        self.collector.submit(partial(self._give_up, pending, failure))

    def _give_up(self, pending: _PendingStart, failure: bytes) -> None:
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
            self._report_failure(pending.key, int(number), reason)
        elif text := pending.spawner.why_ended():
            self.logger.error("the spawner ended: %s", text)
            self._report_failure(pending.key, 0, f"the spawner cannot start: {text.splitlines()[-1]}")
        else:
            self._report_failure(pending.key, errno.EAGAIN, "the spawner ended before it could start the program")

    def signal(self, effect: SignalProgram) -> None:
        """Performs the effect SignalProgram, at once or as soon as the process is known."""
        if not self._signal(effect):
            # The start is queued or running on the worker, so the signal is tried again after it.
            self.worker.submit(lambda: self.loop.inbox.post(partial(self._signal, effect)))

    def _signal(self, effect: SignalProgram) -> bool:
        if self.supervisor.signal(effect):
            return True
        pending = self._pending.get(effect.key)
        if pending is None or not pending.is_watched:
            return False
        pending.signal = effect
        # From here on, epoll also reports the pid, which arrives before the end of the report.
        self.loop.watch(pending.report, select.EPOLLIN, partial(self._on_report, pending))
        if effect.signal == signal.SIGKILL:
            # The time of the program is over. A spawner that does not answer must not delay the end of the run forever.
            self.spawner.kill()
        return True


def base_environment() -> dict[str, str]:
    """The environment that every program gets. Programs inherit no variable of the daemon."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        user = None
    return {"PATH": PATH, **spawner.variables(user, os.geteuid()), "LANG": "C.UTF-8"}


def _encoded(variables: Mapping[str, str]) -> dict[str, bytes]:
    """The variables as bytes, in every locale the original bytes. The output of a failed run may hold any bytes."""
    return {name: value.encode(errors="surrogateescape") for name, value in variables.items()}


@dataclass(slots=True)
class OwnUserStarts:
    """Starts programs as the user of the daemon. One thread uses it, and gets its own directory and umask if possible.

    `subprocess` holds the interpreter's lock from the vfork to the exec, so an executable on a file system that hangs
    would stop the daemon. Without `subprocess`, the rate rose from 30 to 40 % of that of C (benchmarks/starts.py).
    """

    limit: int
    _has_own_directory: bool | None = None
    _attributes: linux.SpawnAttributes | None = None

    def start(self, effect: StartProgram, environment: Mapping[str, bytes], output: int) -> int:
        """Starts a child in a session of its own; returns its pid. Raises OSError, ValueError and SubprocessError."""
        if self._has_own_directory is None:
            self._has_own_directory = _unshare()
        start = self._posix_spawn if self._has_own_directory else self._popen
        with lowered(self.limit):
            return start(effect, environment, output)

    def _posix_spawn(self, effect: StartProgram, environment: Mapping[str, bytes], output: int) -> int:
        if self._attributes is None:
            self._attributes = linux.spawn_attributes(_DEFAULT_SIGNALS)
        argv = [os.fsencode(text) for text in effect.argv]
        variables = [b"%s=%s" % (os.fsencode(name), value) for name, value in environment.items()]
        before = os.umask(effect.umask)
        try:
            os.chdir(effect.cwd)
            return linux.posix_spawn(argv, variables, output, self._attributes)
        finally:
            # Leave the directory so that its file system can be unmounted.
            os.chdir("/")
            os.umask(before)

    def _popen(self, effect: StartProgram, environment: Mapping[str, bytes], output: int) -> int:
        child = subprocess.Popen(
            effect.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=effect.cwd,
            umask=effect.umask,
            start_new_session=True,
        )
        # The supervisor reaps the child; Popen must not.
        child.returncode = 0
        return child.pid


def _unshare() -> bool:
    """Gives this thread a directory and a umask of its own.

    Returns False if the C library is too old or the filter of a container forbids it. Then `subprocess` starts programs.
    """
    if not linux.can_spawn_without_inheritance():
        return False
    with contextlib.suppress(OSError):
        linux.unshare_directory_and_umask()
        return True
    return False


def may_lower(limit: int, newest: int) -> bool:
    """Whether the limit on descriptors can be lowered for an instant without harm to other threads.

    The number of the newest descriptor shows approximately how many are open.
    """
    return newest < limit // 2


@contextlib.contextmanager
def lowered(limit: int) -> Iterator[None]:
    """Lowers the limit on descriptors for the programs that are started meanwhile. For one thread at a time.

    A limit that is lowered after the start would be too late for a program that reads the limit at once.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class SpawnerProcess:
    """One process of the spawner. Its messages go to a file in memory, so that nobody need read them while it works."""

    def __init__(self, command: Sequence[str], channel: socket.socket) -> None:
        self.messages = os.memfd_create("spawner")
        weakref.finalize(self, os.close, self.messages)
        # In a session of its own, since signals of a terminal are meant for the daemon's group only.
        self.popen = subprocess.Popen(
            command,
            stdin=channel.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=self.messages,
            cwd="/",
            start_new_session=True,
        )

    def why_ended(self) -> str | None:
        """The messages of a process that ended by itself with an error; None if it was killed or has not ended."""
        try:
            status = self.popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if status <= 0:
            return None
        text = os.pread(self.messages, MESSAGE_BYTES, 0).decode(errors="replace").strip()
        return text or f"exit status {status}"


@dataclass(slots=True)
class Spawner:
    """The daemon's side of the spawner: starts its process when it is first needed, and again after it has ended.

    One thread calls `start`; any thread may call `kill`.
    """

    limit: int
    command: Sequence[str] = COMMAND
    _process: SpawnerProcess | None = None
    _channel: socket.socket | None = None

    def start(self, request: SpawnRequest, output: int) -> tuple[int, SpawnerProcess]:
        """Requests a start. Returns the descriptor of its report, and the process that makes it. Raises OSError.

        The report ends when the program is executed.
        """
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with open(os.memfd_create("request"), "wb", buffering=0) as file:  # noqa: PTH123
                file.write(marshal.dumps(request))
                process = self._send([file.fileno(), output, writing])
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return reading, process

    def _send(self, descriptors: list[int]) -> SpawnerProcess:
        """Sends a request of one byte with its descriptors. It arrives as a whole or not at all, so a second try is safe."""
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                return self._send_once(descriptors)
            self.close()
            return self._send_once(descriptors)
        except OSError as error:
            raise OSError(error.errno, f"cannot reach the spawner: {error.strerror}") from error

    def _send_once(self, descriptors: list[int]) -> SpawnerProcess:
        channel, process = self._connected()
        socket.send_fds(channel, [b"\0"], descriptors)
        return process

    def _connected(self) -> tuple[socket.socket, SpawnerProcess]:
        if self._channel is not None and self._process is not None and self._process.popen.poll() is None:
            return self._channel, self._process
        self.close()
        self._channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer:
            self._process = SpawnerProcess([*self.command, str(os.getpid())], peer)
        _restore_limit(self._process.popen.pid, self.limit)
        return self._channel, self._process

    def kill(self) -> None:
        """Kills the spawner. Starts that it has not begun fail, as their reports show; those that it has begun continue."""
        process = self._process
        if process is not None:
            process.popen.kill()

    def close(self) -> None:
        """Kills the spawner, which holds nothing that could be lost."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.popen.kill()
            self._process.popen.wait()
        self._channel = self._process = None


def _restore_limit(pid: int, soft: int) -> None:
    """Sets the limit on descriptors that the daemon was started with. The daemon has raised its own limit meanwhile."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
