"""Starts programs: directly, or through the spawner as another user or while many descriptors are open.

For a direct start it uses posix_spawn(3), or `subprocess` if its thread cannot have its own directory and umask.
`requested_starts` handles a start through the spawner.

Rule: a start runs on a worker, since a file system or a directory service may hang.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from schedappliance.edge import linux
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.programs import spawner
from schedappliance.engine.events import OutputsChecked, ProgramNotStarted
from schedappliance.kinds import EXHAUSTED
from schedappliance.model.env_file import UnusableEnvFile, read_env_file

if TYPE_CHECKING:
    from logging import Logger

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.outputs import Outputs
    from schedappliance.edge.programs.requested_starts import RequestedStarts
    from schedappliance.edge.programs.supervisor import Supervisor
    from schedappliance.edge.worker import Worker
    from schedappliance.engine.effects import SignalProgram, StartProgram

# The interval of the checks while outputs cannot be written.
CHECK_AGAIN_MS = 1000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Python ignores the first two. The C library uses 32 to 34 itself, and a program inherits signals that are ignored.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, 32, 33, 34)


@dataclass(slots=True)
class Launcher:
    """Performs StartProgram and SignalProgram. `limit`: the limit on open descriptors that programs get."""

    loop: Loop
    outputs: Outputs
    supervisor: Supervisor
    worker: Worker
    requested: RequestedStarts
    limit: int
    logger: Logger
    own_user: OwnUserStarts = field(init=False)
    _environment: dict[str, bytes] = field(init=False)
    _outputs_fail: bool = False

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
        pid, pending = 0, None
        try:
            environment = variables_of(effect)
            if effect.user is None and effect.group is None and may_lower(self.limit, output):
                pid = self.own_user.start(effect, self._environment | environment, output)
            else:
                pending = self.requested.request(effect, self._environment, environment, output)
        except UnusableEnvFile as error:
            os.close(output)
            self.supervisor.report_failure(effect.key, error.number, str(error))
            return
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(output)
            self.supervisor.report_failure(effect.key, *spawner.why_not(error, effect.argv[0], effect.cwd))
            return
        if pending is not None:
            self.requested.await_report(pending)
        elif child := self.supervisor.open_process(effect, pid, output):
            self.supervisor.follow(effect.key, child)

    def _report_no_output(self, effect: StartProgram, error: OSError) -> None:
        """Reports a start that the appliance's own directory prevented: the program is not to blame, so it is tried again."""
        if error.errno in EXHAUSTED:
            self.supervisor.report_failure(effect.key, *spawner.why_not(error, effect.argv[0], effect.cwd))
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

    def signal(self, effect: SignalProgram) -> None:
        """Performs the effect SignalProgram, at once or as soon as the process is known."""
        if not self._signal(effect):
            # The start is queued or running on the worker, so the signal is tried again after it.
            self.worker.submit(lambda: self.loop.inbox.post(partial(self._signal, effect)))

    def _signal(self, effect: SignalProgram) -> bool:
        return self.supervisor.signal(effect) or self.requested.signal(effect)


def base_environment() -> dict[str, str]:
    """The environment that every program gets. Programs inherit no variable of the daemon."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        user = None
    return {"PATH": PATH, **spawner.variables(user, os.geteuid()), "LANG": "C.UTF-8"}


def variables_of(effect: StartProgram) -> dict[str, bytes]:
    """The variables of one program. `env` counts before those of the daemon, and the file counts before `env`.

    Raises UnusableEnvFile.
    """
    passed = {name: os.environb[os.fsencode(name)] for name in effect.pass_env if name in os.environ}
    filed = read_env_file(effect.env_file) if effect.env_file else {}
    return passed | _encoded(dict(effect.env)) | _encoded(filed)


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
        stdin = None if effect.stdin is None else spawner.file_of(effect.stdin.encode(errors="surrogateescape"))
        try:
            with lowered(self.limit):
                return start(effect, environment, output, stdin)
        finally:
            if stdin is not None:
                os.close(stdin)

    def _posix_spawn(
        self, effect: StartProgram, environment: Mapping[str, bytes], output: int, stdin: int | None
    ) -> int:
        if self._attributes is None:
            self._attributes = linux.spawn_attributes(_DEFAULT_SIGNALS)
        argv = [os.fsencode(text) for text in effect.argv]
        variables = [b"%s=%s" % (os.fsencode(name), value) for name, value in environment.items()]
        before = os.umask(effect.umask)
        try:
            os.chdir(effect.cwd)
            return linux.posix_spawn(argv, variables, output, self._attributes, stdin)
        finally:
            # Leave the directory so that its file system can be unmounted.
            os.chdir("/")
            os.umask(before)

    def _popen(self, effect: StartProgram, environment: Mapping[str, bytes], output: int, stdin: int | None) -> int:
        child = subprocess.Popen(
            effect.argv,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
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
