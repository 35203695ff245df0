"""Starts of programs, as the own user and through the spawner: credentials, environment, failures, signals, ends."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from schedappliance.boot.process import reset_signals
from schedappliance.clock import Moment, SystemClock
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.loop import Loop
from schedappliance.edge.programs import spawner
from schedappliance.edge.programs.launcher import Launcher, lowered, may_lower
from schedappliance.edge.programs.outputs import Outputs
from schedappliance.edge.programs.requested_starts import ANSWER_MS, LOOK_UP_PATIENCE_MS, RequestedStarts
from schedappliance.edge.programs.spawner_process import COMMAND, Spawner
from schedappliance.edge.programs.supervisor import Supervisor
from schedappliance.edge.programs.survivors import start_ticks
from schedappliance.edge.worker import Worker
from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import SignalProgram, StartProgram
from schedappliance.engine.events import Event, ProgramEnded, ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import AttemptKey, RunKey
from tests.support.daemon import is_running
from tests.support.waiting import eventually

OWN = pwd.getpwuid(os.geteuid()).pw_name
NOBODY = 65534
LIMIT = 500

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as another user")

Kind = TypeVar("Kind", bound=Event)


def patched(change: str) -> Sequence[str]:
    """The command of a spawner that runs `change` before it serves."""
    place = str(Path(spawner.__file__).parent)
    script = f"import os, select, sys\nsys.path.insert(0, {place!r})\nimport spawner\n{change}\nspawner.main()"
    return (sys.executable, "-I", "-S", "-c", script)


class LateClock(SystemClock):
    """The machine's clock, and how much later it is for the loop."""

    late_ms = 0

    def moment(self) -> Moment:
        wall, boot = super().moment()
        return Moment(wall + self.late_ms, boot + self.late_ms)


class Edge:
    """Launcher and supervisor with all their threads, and a loop that turns while a test waits."""

    def __init__(self, directory: Path, stack: ExitStack, command: Sequence[str]) -> None:
        self.clock = LateClock()
        self.loop = Loop(self.clock, Inbox())
        stack.callback(self.loop.inbox.close)
        stack.callback(self.loop.close)
        self.directory = directory
        self.spawner = Spawner(LIMIT, command)
        stack.callback(self.spawner.close)
        worker, collector = (Worker(name, self.loop.inbox) for name in ("programs", "collector"))
        stack.callback(worker.close)
        stack.callback(collector.close)
        outputs = Outputs(directory)
        self.supervisor = Supervisor(self.loop, outputs, collector)
        logger = logging.getLogger("launcher")
        self.requested = RequestedStarts(self.loop, outputs, self.supervisor, collector, self.spawner, logger)
        self.launcher = Launcher(self.loop, outputs, self.supervisor, worker, self.requested, LIMIT, logger)
        self.events: list[Event] = []
        self.started = 0

    def turn(self) -> None:
        events, _ = self.loop.wait(None, SystemClock().moment().boot + 10)
        self.events += events

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Turns until the condition is true."""

        def met() -> bool:
            self.turn()
            return bool(condition())

        eventually(met, what)

    def start(
        self,
        script: str,
        user: str | None = None,
        group: str | None = None,
        cwd: str = "/",
        env: tuple[tuple[str, str], ...] = (),
        argv: tuple[str, ...] = (),
    ) -> AttemptKey:
        self.started += 1
        key = AttemptKey(RunKey(self.started, 1), 1)
        argv = argv or ("/bin/sh", "-c", script)
        self.launcher.start(StartProgram(key, argv, env, cwd, 0o027, 65_536, user, group))
        return key

    def signal(self, key: AttemptKey, number: int) -> None:
        self.launcher.signal(SignalProgram(key, number, kill_after_ms=100))

    def heard(self, kind: type[Kind], key: AttemptKey) -> Kind:
        """The event about a run, as soon as it comes in."""

        def matching_event() -> Kind | None:
            self.turn()
            return next((e for e in self.events if isinstance(e, kind) and getattr(e, "key", None) == key), None)

        return eventually(matching_event, f"{kind.__name__} of {key}")

    def output(self, script: str, user: str | None = None, group: str | None = None, **how: str) -> list[str]:
        """What a program writes that succeeds."""
        key = self.start(script, user, group, **how)  # type: ignore[arg-type]
        ended = self.heard(ProgramEnded, key)
        assert ended.exit == Exit(status=0), ended
        return ended.output.decode().splitlines()

    def reason(self, key: AttemptKey) -> str:
        return self.heard(ProgramNotStarted, key).reason

    def process(self) -> int:
        """The pid of the spawner."""
        assert self.spawner._process is not None
        return self.spawner._process.popen.pid


Make = Callable[..., Edge]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda command=COMMAND: Edge(tmp_path, stack, command)


@pytest.fixture
def edge(make: Make) -> Edge:
    return make()


def test_a_program_of_the_own_user_needs_no_root(edge: Edge) -> None:
    user = OWN
    wanted = [str(os.getuid()), str(os.getgid())]
    assert edge.output("id -u; id -g", user) == wanted
    assert edge.output("id -u; id -g", str(os.getuid())) == wanted
    assert edge.output("echo $USER $HOME", user) == [f"{user} {pwd.getpwnam(user).pw_dir}"]


@as_root
def test_a_program_has_the_credentials_and_variables_of_its_user(edge: Edge) -> None:
    nobody = pwd.getpwnam("nobody")
    own = (("A", "x"), ("SHELL", "/bin/other"), ("SCHED_RUN_ID", "n/1"))
    lines = edge.output("id -u; id -g; id -G; umask; pwd; ulimit -n", "nobody", cwd="/usr")
    groups = " ".join(map(str, os.getgrouplist("nobody", nobody.pw_gid)))
    assert lines == [str(nobody.pw_uid), str(nobody.pw_gid), groups, "0027", "/usr", str(LIMIT)]
    key = edge.start("", "nobody", env=own, argv=("/usr/bin/env",))
    assert dict(line.split("=", 1) for line in edge.heard(ProgramEnded, key).output.decode().splitlines()) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": nobody.pw_dir,
        "USER": "nobody",
        "LOGNAME": "nobody",
        "A": "x",
        "SHELL": "/bin/other",
        "SCHED_RUN_ID": "n/1",
    }


@as_root
def test_a_program_of_another_user_inherits_no_more_than_one_of_the_own_user(edge: Edge) -> None:
    """Descriptors, session and signals equal those of a program that is started without the spawner."""
    look = (
        "for n in /proc/$$/fd/*; do readlink $n; done; grep -E '^(Sig[^Q]|Shd|Cap|NoNew)' /proc/self/status; ulimit -a"
    )
    described = [edge.output(look, user) for user in (None, "nobody", "root")]
    places = [[line.replace(f"/{n}-1-1", "/output") for line in lines] for n, lines in enumerate(described, 1)]
    assert places[0] == places[2]
    assert [line for line in places[0] if "Cap" not in line] == [line for line in places[1] if "Cap" not in line]
    assert [line for line in places[1] if line.startswith("CapEff")] == ["CapEff:\t0000000000000000"]
    output = str(edge.directory / "output")
    assert [line for line in places[1] if line.startswith("/")][:3] == ["/dev/null", output, output]
    pid, _, _, parent, group, session, terminal, *_ = edge.output("cat /proc/$$/stat", "nobody")[0].split()
    assert (group, session, terminal, parent) == (pid, pid, "0", str(os.getpid()))
    assert os.getsid(edge.process()) == edge.process() != os.getsid(0)


def test_bytes_in_the_environment_arrive_as_they_are(edge: Edge) -> None:
    """The output of a failed run is a variable for `on_failure`, and may be any bytes."""
    for user in (None, OWN):
        key = edge.start("", user, env=(("A", "\udcff\u20ac"),), argv=("/usr/bin/printenv", "A"))
        assert edge.heard(ProgramEnded, key).output == b"\xff\xe2\x82\xac\n"


@as_root
def test_a_start_that_was_requested_is_never_reported_as_failed(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be started a second time. The daemon ends instead, and the next one finds the program."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room for another watch")

    monkeypatch.setattr(edge.loop, "watch", fails)
    edge.start("true", "nobody")
    with pytest.raises(OSError, match="no room for another watch"):
        edge.until(lambda: edge.events, "the end of the appliance")
    assert edge.events == []


@pytest.fixture
def own_signals() -> Iterator[None]:
    """The signals as a daemon has them, also if the tests were started with nohup."""
    ignored = [n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
    reset_signals()
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("own", [None, False])
def test_a_program_starts_alike_where_a_thread_cannot_have_a_directory_of_its_own(edge: Edge, own: bool | None) -> None:
    """Where the filter of a container forbids it, Python starts the program."""
    where, before = Path.cwd(), os.umask(0o077)
    edge.launcher.own_user._has_own_directory = own
    look = "pwd; umask; ulimit -n; for n in 0 1 2 3; do readlink /proc/$$/fd/$n; done; grep -E '^Sig[BI]' /proc/self/status"
    output = str(edge.directory / "1-1-1")
    none = [f"Sig{what}:\t{0:016x}" for what in ("Blk", "Ign")]
    assert edge.output(look, cwd="/usr") == ["/usr", "0027", str(LIMIT), "/dev/null", output, output, *none]
    assert edge.launcher.own_user._has_own_directory is (own is None), "this machine allows it"
    assert (Path.cwd(), os.umask(before)) == (where, 0o077), "the other threads keep their directories"


def test_a_start_is_reported_soon_or_together_with_the_end(edge: Edge) -> None:
    gate = edge.directory / "gate"
    os.mkfifo(gate)
    key = edge.start(f"read line < {gate}")
    started = edge.heard(ProgramStarted, key)
    assert os.getsid(started.process.pid) == started.process.pid
    assert started.process.start_ticks == start_ticks(started.process.pid)
    gate.write_text("go\n")
    assert edge.heard(ProgramEnded, key).exit == Exit(status=0)
    # The loop does not turn before the program has ended.
    key = edge.start("", argv=("/bin/true",))
    eventually(
        lambda: any(select.select([p.pidfd], [], [], 0)[0] for p in edge.supervisor._processes.values()), "its end"
    )
    ended = edge.heard(ProgramEnded, key)
    started = edge.heard(ProgramStarted, key)
    assert edge.events[-2:] == [started, ended]
    assert ended == ProgramEnded(key, Exit(status=0), b"", 0)


@as_root
def test_another_user_can_open_standard_output_by_its_name(edge: Edge) -> None:
    assert edge.output("echo a; echo b >> /dev/stdout; echo c >> /dev/stderr", "nobody") == ["a", "b", "c"]


@as_root
def test_supplementary_groups_are_looked_up_at_each_start(make: Make, tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    edge = make(
        patched(f"os.getgrouplist = lambda name, gid: [gid, *map(int, open({str(membership)!r}).read().split())]")
    )
    membership.write_text("4242 4243")
    assert edge.output("id -G", "nobody") == [f"{pwd.getpwnam('nobody').pw_gid} 4242 4243"]
    membership.write_text("4244")
    assert edge.output("id -G", "nobody", "4000") == ["4000 4244"]
    assert edge.output("id -u; id -G", group="4000") == ["0", "4000"]
    assert edge.output("id -u; id -g; id -G", "4242", "4000") == ["4242", "4000", "4000"]


@as_root
def test_a_program_has_all_groups_of_its_user(edge: Edge) -> None:
    users = [entry.pw_name for entry in pwd.getpwall() if len(os.getgrouplist(entry.pw_name, entry.pw_gid)) > 1]
    for user in users[:3] or ["root"]:
        wanted = subprocess.run(["id", "-G", user], capture_output=True, text=True, check=True).stdout.split()
        assert sorted(edge.output("id -G", user)[0].split()) == sorted(wanted)


@as_root
@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (("/nonexistent/program",), "/", "cannot start /nonexistent/program: No such file or directory"),
        (("/etc/passwd",), "/", "cannot start /etc/passwd: Permission denied"),
        (("/bin/pwd",), "/nonexistent", "cannot start in /nonexistent: No such file or directory"),
        (("/bin/pwd",), "/etc/passwd", "cannot start in /etc/passwd: Not a directory"),
        (("/bin/echo", "a\0b"), "/", f"cannot start /bin/echo: {spawner.INVALID}"),
        (("/bin/echo", "\ud800"), "/", None),
    ],
)
def test_a_failed_start_has_the_same_reason_with_and_without_the_spawner(
    edge: Edge, argv: tuple[str, ...], cwd: str, reason: str | None
) -> None:
    events = [edge.heard(ProgramNotStarted, edge.start("", user, cwd=cwd, argv=argv)) for user in (None, "nobody")]
    assert events[0].reason == events[1].reason == (reason or events[0].reason)
    assert not events[0].exhausted and not events[1].exhausted
    assert not list(edge.directory.iterdir()), "no output is left"


@as_root
def test_the_working_directory_is_entered_as_the_user(edge: Edge, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert edge.reason(edge.start("pwd", "nobody", cwd=str(closed))) == f"cannot start in {closed}: Permission denied"


@as_root
def test_an_unknown_user_or_group_is_the_reason(edge: Edge) -> None:
    assert edge.reason(edge.start("true", "no-such-user")) == "there is no user `no-such-user` on this machine"
    assert edge.reason(edge.start("true", None, "no-such-group")) == "there is no group `no-such-group` on this machine"


def test_a_failed_look_up_can_be_retried_for_a_bounded_time(make: Make, tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    edge = make(patched(f"spawner.PASSWD = {str(passwd)!r}"))
    event = edge.heard(ProgramNotStarted, edge.start("true", "no-such-user"))
    reason = f"the program's user or group cannot be looked up: {passwd}: No such file or directory"
    assert (event.reason, event.exhausted, event.is_alone) == (reason, True, True)
    for account in edge.requested._failed_look_ups:
        edge.requested._failed_look_ups[account] -= LOOK_UP_PATIENCE_MS
    event = edge.heard(ProgramNotStarted, edge.start("true", "no-such-user"))
    assert (event.reason, event.exhausted) == (reason, False)
    passwd.write_text("")
    assert edge.reason(edge.start("true", "no-such-user")) == "there is no user `no-such-user` on this machine"
    assert edge.output("echo well", OWN) == ["well"]


@as_root
def test_without_root_only_the_own_user_may_be_named(make: Make) -> None:
    edge = make(patched(f"os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)"))
    needs_root = "cannot run as user `root`: the appliance needs root for it"
    assert edge.reason(edge.start("true", "root")) == needs_root
    assert edge.reason(edge.start("true", "4242", "4242")) == needs_root.replace("root`", "4242`")
    assert edge.reason(edge.start("true", None, "root")) == needs_root.replace("user", "group")
    assert edge.output("id -u; id -g", str(NOBODY)) == [str(NOBODY)] * 2
    assert edge.output("id -g", group=str(NOBODY)) == [str(NOBODY)]


def test_the_exit_status_and_the_signal_are_reported(edge: Edge) -> None:
    user = OWN
    assert edge.heard(ProgramEnded, edge.start("exit 3", user)).exit == Exit(status=3)
    assert edge.heard(ProgramEnded, edge.start("kill -9 $$", user)).exit == Exit(signal=9)


def test_programs_outlive_the_spawner_and_report_their_status(edge: Edge, tmp_path: Path) -> None:
    user, gate = OWN, tmp_path / "gate"
    os.mkfifo(gate)
    key = edge.start(f"read line < {gate}; exit 5", user)
    edge.heard(ProgramStarted, key)
    first = edge.process()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not is_running(first), "the end of the spawner")
    assert edge.output("echo more", user) == ["more"], "another spawner is made"
    assert edge.process() != first
    gate.write_text("go\n")
    assert edge.heard(ProgramEnded, key).exit == Exit(status=5)


def test_a_request_that_a_killed_spawner_had_not_read_can_be_retried(edge: Edge) -> None:
    user = OWN
    edge.output("true", user)
    os.kill(edge.process(), signal.SIGSTOP)
    key = edge.start("true", user)
    edge.until(lambda: edge.requested._pending, "the request")
    os.kill(edge.process(), signal.SIGKILL)
    event = edge.heard(ProgramNotStarted, key)
    assert (event.reason, event.exhausted) == ("the spawner ended before it could start the program", True)
    assert edge.output("echo more", user) == ["more"]


def test_a_spawner_that_hangs_is_killed_with_the_program(edge: Edge) -> None:
    user = OWN
    edge.output("true", user)
    os.kill(edge.process(), signal.SIGSTOP)
    key = edge.start("true", user)
    edge.until(lambda: edge.requested._pending, "the request")
    edge.signal(key, signal.SIGTERM)
    edge.signal(key, signal.SIGKILL)
    assert edge.heard(ProgramNotStarted, key).exhausted
    assert edge.output("echo more", user) == ["more"]


SLOW = """
look_up = os.getgrouplist
def slow(name, gid):
    if name == "nobody":
        select.select([], [], [])
    return look_up(name, gid)
os.getgrouplist = slow
"""


@as_root
def test_a_look_up_that_hangs_delays_no_other_start_and_can_be_ended(make: Make) -> None:
    edge = make(patched(SLOW))
    key = edge.start("true", "nobody")
    assert edge.output("echo other", "root") == ["other"]
    assert edge.output("echo plain") == ["plain"]
    edge.signal(key, signal.SIGTERM)
    assert edge.heard(ProgramEnded, key).exit == Exit(signal=signal.SIGTERM)


@as_root
def test_a_signal_waits_for_the_process(make: Make) -> None:
    edge = make(patched(SLOW))
    edge.output("true", "root")
    os.kill(edge.process(), signal.SIGSTOP)
    key = edge.start("true", "nobody")
    edge.until(lambda: edge.requested._pending, "the request")
    edge.signal(key, signal.SIGTERM)
    os.kill(edge.process(), signal.SIGCONT)
    assert edge.heard(ProgramEnded, key).exit == Exit(signal=signal.SIGTERM)


@as_root
def test_a_spawner_that_is_stopped_is_replaced(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A start that it has begun goes on, and is not made again. Those that it has not read can be retried."""
    edge = make(patched(SLOW))
    slow = edge.start("true", "nobody")
    assert edge.output("echo other", "root") == ["other"], "the look-up of the first start has begun"
    first = edge.process()
    os.kill(first, signal.SIGSTOP)
    os.waitid(os.P_PID, first, os.WSTOPPED | os.WNOWAIT)
    waiting = edge.start("true", "root")
    edge.until(lambda: edge.requested._pending.keys() >= {slow, waiting}, "the request")
    edge.turn()
    assert is_running(first), "the time for an answer has not passed"
    edge.clock.late_ms += ANSWER_MS
    assert edge.heard(ProgramNotStarted, waiting).exhausted
    assert f"the spawner, process {first}, was killed, since a signal has stopped it" in caplog.text
    assert edge.output("echo more", "root") == ["more"]
    assert edge.process() != first
    edge.signal(slow, signal.SIGTERM)
    assert edge.heard(ProgramEnded, slow).exit == Exit(signal=signal.SIGTERM)
    assert caplog.text.count("was killed") == 1


# After its first clone, the spawner stops and does not close its end of the report.
STOPPED = """
clone, stops = spawner.clone, [sys.argv.pop(1)]
def clone_and_stop(processor):
    pid = clone(processor)
    if pid and os.path.exists(*stops):
        os.unlink(*stops)
        os.kill(os.getpid(), 19)
    return pid
spawner.clone = clone_and_stop
"""


def test_a_program_that_a_stopped_spawner_has_begun_is_started_once(make: Make, tmp_path: Path) -> None:
    stop, runs = tmp_path / "stop", tmp_path / "runs"
    stop.touch()
    edge = make([*patched(STOPPED), str(stop)])
    key = edge.start(f"echo run >> {runs}", OWN)
    edge.until(lambda: runs.exists() and not stop.exists(), "the program")
    edge.clock.late_ms += ANSWER_MS
    assert edge.heard(ProgramEnded, key).exit == Exit(status=0)
    assert edge.output("echo more", OWN) == ["more"]
    assert runs.read_text() == "run\n"


HANGS = """
def hang(file):
    select.select([], [], [])
spawner.read_request = hang
"""


def test_a_spawner_that_answers_nothing_is_replaced(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    edge = make(patched(HANGS))
    key = edge.start("true", OWN)
    edge.until(lambda: edge.requested._pending, "the request")
    edge.clock.late_ms += ANSWER_MS
    assert edge.heard(ProgramNotStarted, key).exhausted
    assert "was killed, since it has not answered for 10 s; the next start gets a new one" in caplog.text


NO_PROCESS = """
def clone(processor):
    raise OSError(11, os.strerror(11))
spawner.clone = clone
"""


def test_a_start_at_the_limit_of_processes_can_be_retried(make: Make) -> None:
    edge = make(patched(NO_PROCESS))
    event = edge.heard(ProgramNotStarted, edge.start("true", OWN))
    assert (event.reason, event.exhausted) == ("cannot start a process: Resource temporarily unavailable", True)


def test_a_spawner_that_ends_at_once_is_the_reason(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edge = make((sys.executable, "-I", "-S", str(tmp_path / "spawner.py")))
    event = edge.heard(ProgramNotStarted, edge.start("true", OWN))
    missing = f"{tmp_path}/spawner.py is missing; restart the appliance after an upgrade"
    assert event.reason == f"the spawner cannot start: {missing}"
    assert f"can't open file '{tmp_path}/spawner.py'" in caplog.text, "the message itself is in the log"
    assert not event.exhausted
    assert edge.output("echo plain") == ["plain"]


def test_a_spawner_that_cannot_be_started_is_the_reason(make: Make) -> None:
    edge = make(("/nonexistent/python",))
    reason = edge.reason(edge.start("true", OWN))
    assert reason == "cannot start /bin/sh: cannot reach the spawner: No such file or directory"
    assert edge.output("echo plain") == ["plain"]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Leaves so many descriptors that can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + count + 1, hard))
    descriptors: list[int] = []
    try:
        with suppress(OSError):
            while True:
                descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for _ in range(count):
            os.close(descriptors.pop(0))
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# The output; for the spawner also the request, and both ends of the report.
@pytest.mark.parametrize(("user", "needed"), [(None, 1), (OWN, 4)])
def test_a_program_is_started_only_where_a_descriptor_is_left_to_watch_it(
    edge: Edge, user: str | None, needed: int, tmp_path: Path
) -> None:
    assert edge.output("echo well", user) == ["well"], "the spawner is there"
    before = len(os.listdir("/proc/self/fd"))
    for left in range(needed):
        mark = tmp_path / "mark"
        with descriptors_left(left):
            event = edge.heard(ProgramNotStarted, edge.start(f"touch {mark}", user))
        assert event.exhausted and "Too many open files" in event.reason
        assert not mark.exists()
    with descriptors_left(needed):
        assert edge.heard(ProgramEnded, edge.start("true", user)).exit == Exit(status=0)
    edge.until(lambda: len(os.listdir("/proc/self/fd")) <= before, "the return of all descriptors")


@pytest.mark.parametrize("user", [None, OWN])
def test_a_program_that_cannot_be_watched_is_killed(
    edge: Edge, user: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = []

    def fail(pid: int) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", fail)
    reason = edge.reason(edge.start("sleep 60", user))
    assert reason == "cannot watch the process: Too many open files; it was killed"
    edge.until(lambda: not Path(f"/proc/{pids[0]}").exists(), "the end of it, zombie and all")
    monkeypatch.undo()
    assert edge.output("echo more", user) == ["more"]


def test_the_rest_of_a_group_is_killed_after_its_leader_has_ended(edge: Edge) -> None:
    script = "(trap '' TERM; exec sleep 60) & echo $!; wait"
    key = edge.start(script, OWN)
    edge.heard(ProgramStarted, key)
    output = edge.directory / f"{key.run.job}-1-1"
    child = int(eventually(lambda: output.read_text().strip(), "the child"))
    edge.signal(key, signal.SIGTERM)
    assert edge.heard(ProgramEnded, key).exit == Exit(signal=signal.SIGTERM)
    edge.until(lambda: not is_running(child), "the end of the child")
    edge.until(lambda: not edge.supervisor.is_busy(), "the end of the group")


def test_two_hundred_programs_run_at_once_without_a_leak(edge: Edge) -> None:
    before = len(os.listdir("/proc/self/fd"))
    keys = [edge.start("", OWN, argv=("/bin/sleep", "60")) for _ in range(200)]
    pids = {edge.heard(ProgramStarted, key).process.pid for key in keys}
    assert len(pids) == 200
    assert all(map(is_running, pids))
    for key in keys:
        edge.signal(key, signal.SIGTERM)
    assert {edge.heard(ProgramEnded, key).exit for key in keys} == {Exit(signal=signal.SIGTERM)}
    # The spawner itself takes two. The threads may still be closing others.
    edge.until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2, "the return of all other descriptors")
    assert sorted(os.listdir(f"/proc/{edge.process()}/fd")) == ["0", "1", "2"]


def test_the_spawner_ends_with_the_daemon_and_starts_nothing_more(tmp_path: Path) -> None:
    """The daemon is killed while the user is looked up: no daemon would know of the program."""
    marker, looking, gate = tmp_path / "marker", tmp_path / "looking", tmp_path / "gate"
    os.mkfifo(looking)
    os.mkfifo(gate)
    change = f"""
def look_up(name, gid):
    with open({str(looking)!r}, "w") as file:
        file.write(f"{{os.getpid()}} {{os.getppid()}}")
    open({str(gate)!r}).read()
    return [gid]
os.getgrouplist = look_up
"""
    script = f"""
import os, select
from schedappliance.edge.programs.spawner_process import Spawner
spawner = Spawner(100, {patched(change)!r})
argv = ("/bin/touch", {str(marker)!r})
spawner.start((argv, {{}}, {{}}, "/", 0o22, {OWN!r}, None, None, True), os.open(os.devnull, os.O_WRONLY))
print(spawner._process.popen.pid, flush=True)
select.select([], [], [])
"""
    daemon = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout
    with daemon:
        try:
            serving = int(daemon.stdout.readline())
            copy, parent = map(int, looking.read_text().split())
            assert parent == daemon.pid
        finally:
            daemon.kill()
    eventually(lambda: not is_running(serving), "the end of the spawner")
    assert is_running(copy)
    gate.write_text("")
    eventually(lambda: not is_running(copy), "the end of the copy")
    assert not marker.exists()


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def test_the_limit_is_lowered_during_a_start_only() -> None:
    before = limits()
    with lowered(64):
        assert limits() == (64, before[1])
    assert limits() == before
    with pytest.raises(OSError, match="gone"), lowered(64):
        raise OSError("gone")
    assert limits() == before


def test_lowering_never_raises_a_limit() -> None:
    before = limits()
    with lowered(before[0] + 1 if before[0] < before[1] else before[0]):
        assert limits() == before


@pytest.mark.parametrize(("newest", "may"), [(3, True), (31, True), (32, False), (1000, False)])
def test_the_limit_is_not_lowered_when_too_many_descriptors_are_open(newest: int, may: bool) -> None:
    assert may_lower(64, newest) is may
