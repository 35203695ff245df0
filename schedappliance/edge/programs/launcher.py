"""Requests starts of programs from the keeper, after looking up their users.

Rule: a worker prepares a start, and another thread looks up its user. A file system or a directory service may hang.
"""

# The way of a start. Example: a program with `user = "web"`.
#
#   start             On the deciding thread: the start waits in `_awaiting`. The first one of an account asks for a
#                     look-up.
#   _look_up          A thread asks the system for the account. `_release` passes its starts on to the worker.
#   _start_on_worker  The worker opens the output, and makes the environment and the request (`request_of`).
#   _request          The worker adds the program to the supervisor, and sends the request to the keeper.
#
# What can go wrong, and what then happens:
#
#   the look-up fails                ProgramNotStarted: the core tries again. When look-ups of this account have failed
#                                    for LOOK_UP_PATIENCE_MS, the attempt fails.
#   the output cannot be opened      OutputsChecked: no program starts until a check of the directory succeeds. The same holds
#                                    if no keeper can be started.
#   a signal comes before the start  A start in `_awaiting` is cancelled. Otherwise the signal is sent after the start.
#   the daemon stops                 The starts in `_awaiting` are cancelled (`leave`), and the next daemon starts them.
#
# docs/architecture.md, "A due job", follows a start through all files.

from __future__ import annotations

import errno
import os
import pwd
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.programs.accounts import Credentials, LookUpFailed, credentials, variables
from schedappliance.edge.programs.cgroups import make_cgroup, remove_cgroups, service_of
from schedappliance.edge.programs.keeper_paths import KeeperUnreachable
from schedappliance.edge.programs.keeper_reports import attempt_id
from schedappliance.edge.programs.output_lines import OutputLines
from schedappliance.edge.programs.restraints import restraints_of
from schedappliance.edge.programs.spawner import Unfit
from schedappliance.edge.programs.start_failures import request_failure
from schedappliance.edge.programs.supervisor import Process
from schedappliance.edge.threads import NO_THREAD
from schedappliance.engine.events import OutputsChecked, ProgramNotStarted
from schedappliance.kinds import EXHAUSTED, in_words
from schedappliance.model.env_file import UnusableEnvFile, read_env_file
from schedappliance.model.resources import NO_RESOURCES

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.keeper_link import KeeperLink, Link
    from schedappliance.edge.programs.outputs import Outputs
    from schedappliance.edge.programs.supervisor import Supervisor
    from schedappliance.edge.threads import Worker
    from schedappliance.edge.users import LookUps
    from schedappliance.engine.effects import SignalProgram, StartProgram

# The interval of the checks while outputs cannot be written, or no keeper can be started.
CHECK_AGAIN_MS = 1000
# How long a failing look-up of a program's user is repeated: a failure does not mean that there is no such user.
LOOK_UP_PATIENCE_MS = 120_000
# The search path of programs.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CANCELLED = "a signal came before the start"
LEFT = "the appliance was stopped before the start"

# The user and the group of a program, as its stanza names them.
Account = tuple[str | None, str | None]


@dataclass(slots=True)
class Launcher:
    """Performs StartProgram and SignalProgram.

    The deciding thread calls `start` and `signal`. The worker, or a thread for the look-up of the user, does the rest.
    """

    loop: Loop
    outputs: Outputs
    supervisor: Supervisor
    worker: Worker
    keeper: KeeperLink
    look_ups: LookUps
    logger: Logger
    # The variables that every program gets.
    _environment: dict[str, bytes] = field(init=False)
    # Outputs could not be written at the last try, or no keeper could be started.
    _is_troubled: bool = False
    # By account: the starts that wait for its look-up. Several threads use this, each with the lock.
    _awaiting: dict[Account, list[StartProgram]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # By account: when its look-up failed first after the last success.
    _failed_look_ups: dict[Account, int] = field(default_factory=dict)
    # Starts were cancelled for a stop, and no turn has stored that yet.
    _has_cancelled_starts: bool = False
    # Why the last audit could not make the files of the keeper again; empty if it could, or had none to make.
    _why_not_restored: str = ""
    # Cgroups that no program needs any more may be left: at first, those of the last daemon.
    _has_cgroups: bool = True

    def __post_init__(self) -> None:
        self._environment = _encoded(base_environment())

    # Starts

    def start(self, effect: StartProgram) -> None:
        """Performs the effect StartProgram. An event reports the end of the attempt, or why it could not begin."""
        account = effect.user, effect.group
        if account == (None, None):
            self.worker.submit(partial(self._start_on_worker, effect, None))
            return
        with self._lock:
            is_first = account not in self._awaiting
            self._awaiting.setdefault(account, []).append(effect)
        if is_first:
            try:
                self.look_ups.submit(partial(self._look_up, account))
            except RuntimeError:
                self._release(account, OSError(errno.EAGAIN, NO_THREAD))

    def _look_up(self, account: Account) -> None:
        """Looks an account up, on a thread of its own, and continues the starts that wait for it."""
        now = self.loop.clock.moment().boot
        since = self._failed_look_ups.get(account)
        may_repeat = since is None or now - since < LOOK_UP_PATIENCE_MS
        result: Credentials | Exception
        try:
            result = credentials(*account, may_repeat)
            self._failed_look_ups.pop(account, None)
        except LookUpFailed as error:
            self._failed_look_ups.setdefault(account, now)
            result = error
        except Exception as error:
            result = error
        self._release(account, result, may_repeat and isinstance(result, LookUpFailed))

    def _release(self, account: Account, result: Credentials | Exception, may_repeat: bool = False) -> None:
        """Continues the starts that waited for an account. Runs on the thread of the look-up."""
        with self._lock:
            # Inside the lock: a signal that comes meanwhile finds the start either here or on the worker.
            for effect in self._awaiting.pop(account, []):
                if isinstance(result, Credentials):
                    self.worker.submit(partial(self._start_on_worker, effect, result))
                    continue
                number, reason = request_failure(result, effect.argv[0], effect.cwd)
                is_exhausted = may_repeat or number in EXHAUSTED
                # A look-up that failed prevents only the starts of this account.
                self.loop.inbox.post(ProgramNotStarted(effect.key, reason, is_exhausted, is_alone=may_repeat))

    def _start_on_worker(self, effect: StartProgram, account: Credentials | None) -> None:
        """Makes everything that a program needs, and requests its start. Reports a failure."""
        try:
            output = self.outputs.open(effect.key)
        except OSError as error:
            self._report_trouble(effect, error, self.outputs.why_unwritable(error))
            return
        descriptors = [output]
        try:
            environment = self._environment | (_encoded(account.variables) if account else {}) | variables_of(effect)
            if effect.stdin is not None:
                descriptors.append(file_of(effect.stdin.encode(errors="surrogateescape")))
            cgroup = None if effect.resources == NO_RESOURCES else self._cgroup_of(effect)
            self._request(effect, request_of(effect, environment, account, cgroup), descriptors)
        except UnusableEnvFile as error:
            self.supervisor.report_failure(effect.key, error.number, str(error))
        except KeeperUnreachable as error:
            self._report_trouble(effect, error, why_no_program(str(error.strerror)))
        except (OSError, ValueError, Unfit) as error:
            self.supervisor.report_failure(effect.key, *request_failure(error, effect.argv[0], effect.cwd))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _cgroup_of(self, effect: StartProgram) -> Path | None:
        """A cgroup for the program, if it has to have one. Raises Unfit."""
        if not effect.resources.has_cgroup:
            return None
        self._has_cgroups = True
        return make_cgroup(service_of(), attempt_id(effect.key, effect.started_ms), effect.resources)

    def _request(self, effect: StartProgram, request: bytes, descriptors: list[int]) -> None:
        """Adds the program to the supervisor, and requests its start from the keeper. Raises OSError.

        The program is added first, since its end may be reported at once.
        """
        env = dict(effect.env)
        names = "SCHED_STORE", "SCHED_RUN_ID", "SCHED_ATTEMPT"
        attempt_names = (*(env.get(variable, "") for variable in names), str(effect.started_ms))
        lines = OutputLines(effect.log_fields) if effect.log_fields else None
        name = attempt_id(effect.key, effect.started_ms)
        inode = os.fstat(descriptors[0]).st_ino
        process = Process(name, effect.output_limit, inode, lines, effect.argv[0], effect.cwd, attempt_names)

        def on_link(link: Link) -> None:
            process.link = link

        self.supervisor.add(effect.key, process)
        try:
            self.keeper.start(request, descriptors, on_link)
        except OSError:
            self.supervisor.remove(effect.key)
            raise

    # Signals

    def signal(self, effect: SignalProgram) -> None:
        """Performs the effect SignalProgram, at once or as soon as the program is requested."""
        if not self._try_signal(effect):
            # The start is queued or running on the worker, so the signal is tried again after it. If that fails too, the program
            # has ended or was never started, and needs no signal.
            self.worker.submit(lambda: self.loop.inbox.post(partial(self._try_signal, effect)))

    def _try_signal(self, effect: SignalProgram) -> bool:
        return self.supervisor.signal(effect) or self._cancel(effect)

    def _cancel(self, effect: SignalProgram) -> bool:
        """Cancels a start that waits for the look-up of its account. Returns whether there is one."""
        with self._lock:
            for effects in self._awaiting.values():
                if waiting := [start for start in effects if start.key == effect.key]:
                    effects.remove(waiting[0])
                    break
            else:
                return False
        self.loop.inbox.put(ProgramNotStarted(effect.key, CANCELLED, exhausted=True, is_alone=True))
        return True

    # Trouble that prevents every start, and audits. All of these but `audit_outputs` run on the worker.

    def _report_trouble(self, effect: StartProgram, error: OSError, reason: str) -> None:
        """Reports a start that the appliance itself prevented. It is tried again, since the program is not the cause."""
        if error.errno in EXHAUSTED:
            self.supervisor.report_failure(effect.key, *request_failure(error, effect.argv[0], effect.cwd))
            return
        self._note_trouble(reason)
        self.supervisor.report_failure(effect.key, errno.EAGAIN, reason)

    def _note_trouble(self, problem: str | None) -> None:
        """Reports whether programs can be started. While they cannot, what prevents it is checked at short intervals."""
        if problem and self._is_troubled:
            return
        self.loop.inbox.post(OutputsChecked(problem))
        if problem:
            self._is_troubled = True
            again = self.loop.clock.moment().boot + CHECK_AGAIN_MS
            self.loop.alarms.at(again, partial(self.worker.submit, self._check_trouble))

    def _check_trouble(self) -> None:
        self._is_troubled = False
        problem = self.outputs.problem()
        if problem is None and (trouble := self.keeper.problem()):
            problem = why_no_program(trouble)
        self._note_trouble(problem)

    def audit_outputs(self) -> None:
        """Looks at the directory of the outputs and at the keeper, and mends what can be mended. Repeats this forever."""
        self.loop.alarms.at(self.loop.clock.moment().boot + AUDIT_MS, self.audit_outputs)
        self.worker.submit(self._audit_outputs)
        self.supervisor.check_keeper()

    def _audit_outputs(self) -> None:
        if self._has_cgroups:
            self._remove_cgroups()
        try:
            if self.outputs.make():
                self.logger.warning("the directory %s was missing and was made again", self.outputs.directory)
            elif self.outputs.was_replaced():
                self.logger.warning(
                    "another directory has the name %s now; what programs have written to the last one is lost, unless it is "
                    "back when they end",
                    self.outputs.directory,
                )
        except OSError as error:
            self._note_trouble(self.outputs.why_unwritable(error))
            return
        if self.keeper.trouble:
            self._note_trouble(why_no_program(self.keeper.trouble))
        try:
            if self.keeper.restore_files():
                self.logger.warning(
                    "the files of the keeper in %s were missing and were made again", self.outputs.directory
                )
            self._why_not_restored = ""
        except OSError as error:
            if (why := in_words(error)) != self._why_not_restored:
                self.logger.warning("cannot make the files of the keeper again: %s", why)
            self._why_not_restored = why

    def _remove_cgroups(self) -> None:
        """Removes the cgroups that no program needs. Starts run on the worker too, so none is about to use one of these."""
        try:
            remove_cgroups(service_of(), self.supervisor.names())
        except Unfit:
            self._has_cgroups = False

    # The stop of the daemon

    def leave(self) -> None:
        """Cancels the starts that still wait for the look-up of their account, when the daemon stops.

        The next one starts them.
        """
        with self._lock:
            effects = [effect for effects in self._awaiting.values() for effect in effects]
            self._awaiting.clear()
        for effect in effects:
            self.loop.inbox.put(ProgramNotStarted(effect.key, LEFT, exhausted=True, is_alone=True))
        if effects:
            self._has_cancelled_starts = True
            # The call comes after the events above: when it is made, a turn has them.
            self.loop.inbox.put(self._note_cancelled_starts)

    def _note_cancelled_starts(self) -> None:
        self._has_cancelled_starts = False

    def is_busy(self) -> bool:
        """Whether the daemon cannot end yet: descendants of programs must end first, or cancelled starts must be stored."""
        return self._has_cancelled_starts or self.supervisor.is_busy()


def why_no_program(trouble: str) -> str:
    """The trouble of the keeper, as a reason of the appliance."""
    return f"no program can be started: {trouble}"


# What the request of a start contains


def request_of(
    effect: StartProgram, environment: Mapping[str, bytes], account: Credentials | None, cgroup: Path | None = None
) -> bytes:
    """The message that requests a start. keeper_link.py describes its format.

    Raises ValueError for a text with a null byte, or an invalid one.
    """
    is_unrestrained = effect.resources == NO_RESOURCES
    restraints = [] if is_unrestrained else restraints_of(effect.resources, effect.kill_after_ms)
    restraints += [f"cgroup {cgroup}"] if cgroup else []
    if account is None and restraints:
        # The keeper cannot restrain a program that it starts itself. A copy of the spawner can, and needs credentials.
        account = Credentials(os.geteuid(), os.getegid(), os.getgroups(), {})
    identity = "-" if account is None else ",".join(map(str, (account.uid, account.gid, *account.groups)))
    user = f"user `{effect.user}`" if effect.user is not None else f"group `{effect.group}`"
    head = (
        attempt_id(effect.key, effect.started_ms),
        effect.term_at or 0,
        effect.kill_after_ms,
        effect.tree,
        effect.umask,
        identity,
        len(restraints),
        len(effect.argv),
        effect.started_at,
    )
    texts = [*map(os.fsencode, (" ".join(map(str, head)), user, effect.cwd, *restraints, *effect.argv))]
    texts += [b"%s=%s" % (os.fsencode(variable), value) for variable, value in environment.items()]
    data = b"\0".join(texts)
    if data.count(b"\0") >= len(texts):
        raise ValueError("embedded null byte")
    return data


def file_of(stdin: bytes) -> int:
    """A file without a name that holds the standard input of a program.

    A pipe would block its writer while the program does not read, and would end with it.
    """
    file = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        written = 0
        while written < len(stdin):
            written += os.write(file, stdin[written:])
        os.lseek(file, 0, os.SEEK_SET)
        return file
    except OSError:
        os.close(file)
        raise


def base_environment() -> dict[str, str]:
    """The environment that every program gets. Programs inherit no variable of the daemon."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        user = None
    return {"PATH": PATH, **variables(user, os.geteuid()), "LANG": "C.UTF-8"}


def variables_of(effect: StartProgram) -> dict[str, bytes]:
    """The variables of one program. `env` replaces variables of the daemon, and the file replaces those of `env`.

    Raises UnusableEnvFile.
    """
    inherited = {name: os.environb[os.fsencode(name)] for name in effect.pass_env if name in os.environ}
    in_file = read_env_file(effect.env_file) if effect.env_file else {}
    own = {"SCHED_STARTED_MS": str(effect.started_ms)}
    return inherited | _encoded(dict(effect.env)) | _encoded(in_file) | _encoded(own)


def _encoded(variables: Mapping[str, str]) -> dict[str, bytes]:
    """The variables as their original bytes, in every locale. The output of a failed run may hold any bytes."""
    return {name: value.encode(errors="surrogateescape") for name, value in variables.items()}
