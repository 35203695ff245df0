"""Starts of programs, as the own user and as another one: credentials, environment, failures, signals, ends."""

from __future__ import annotations

import logging
import os
import pwd
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from schedappliance.boot.process import reset_signals
from schedappliance.clock import SystemClock
from schedappliance.edge import linux
from schedappliance.edge.loop import Loop
from schedappliance.edge.programs import accounts, keeper
from schedappliance.edge.programs.accounts import Credentials
from schedappliance.edge.programs.keeper_files import ENDS, SOCKET
from schedappliance.edge.programs.keeper_link import PARTS, KeeperLink
from schedappliance.edge.programs.launcher import LOOK_UP_PATIENCE_MS, Launcher
from schedappliance.edge.programs.outputs import MODE, Collector, Outputs
from schedappliance.edge.programs.start_failures import INVALID
from schedappliance.edge.programs.supervisor import Supervisor
from schedappliance.edge.programs.survivors import start_ticks
from schedappliance.edge.threads import Inbox, Worker
from schedappliance.edge.users import LookUps
from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import ReadOutput, SignalProgram, StartProgram
from schedappliance.engine.events import (
    Event,
    OutputRead,
    OutputsChecked,
    ProgramEnded,
    ProgramNotStarted,
    ProgramStarted,
)
from schedappliance.engine.output_parts import NOTHING
from schedappliance.engine.records import AttemptKey, RunKey
from tests.support.daemon import is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually

OWN = pwd.getpwuid(os.geteuid()).pw_name
NOBODY = 65534
LIMIT = 500

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as another user")

Kind = TypeVar("Kind", bound=Event)


def without_package(script: str) -> Sequence[str]:
    """The command of a Python that runs a script with the modules of the keeper, but without the package, as the keeper."""
    place = str(Path(keeper.__file__).parent)
    parts = [f"import {part}; sys.modules['schedappliance.edge.programs.{part}'] = {part}" for part in PARTS]
    loaded = "\n".join([f"sys.path.insert(0, {place!r})", *parts, "import keeper"])
    return (sys.executable, "-I", "-S", "-c", f"import ctypes, errno, os, select, signal, sys\n{loaded}\n{script}")


def patched(change: str) -> Sequence[str]:
    """The command of a keeper that runs `change` before it serves."""
    return without_package(f"{change}\nkeeper.main()")


def spawners(edge: Edge) -> list[int]:
    """The spawners of this keeper that run. Each is a copy of it."""
    pids = list(map(int, filter(str.isdigit, os.listdir("/proc"))))
    command = _command(edge.process())
    return [pid for pid in pids if pid != edge.process() and _command(pid) == command and is_running(pid)]


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class Edge:
    """Launcher and supervisor with all their threads, and a loop that turns while a test waits."""

    def __init__(self, directory: Path, stack: ExitStack, command: Sequence[str] | None = None) -> None:
        self.loop = Loop(SystemClock(), Inbox())
        stack.callback(self.loop.inbox.close)
        stack.callback(self.loop.close)
        self.directory = directory
        outputs = Outputs(directory)
        self.keeper = KeeperLink(outputs, LIMIT, command=command)
        stack.callback(self.keeper.close)
        worker, collector = (Worker(name, self.loop.inbox) for name in ("programs", "collector"))
        stack.callback(worker.close)
        stack.callback(collector.close)
        logger = logging.getLogger("launcher")
        self.supervisor = Supervisor(
            self.loop, outputs, Collector(self.loop, outputs, collector, logger), self.keeper, logger
        )
        self.launcher = Launcher(self.loop, outputs, self.supervisor, worker, self.keeper, LookUps(), logger)
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
        self.launcher.signal(SignalProgram(key, number, kill_after_ms=100, why="cancelled"))

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
        """The pid of the keeper."""
        assert self.keeper.link is not None
        return self.keeper.link.pid

    def left(self) -> list[str]:
        """The outputs that are left."""
        return sorted({path.name for path in self.directory.iterdir()} - {SOCKET, ENDS})


Make = Callable[..., Edge]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda command=None: Edge(tmp_path, stack, command)


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
        "SCHED_STARTED_MS": "0",
    }


@as_root
def test_a_program_of_another_user_inherits_no_more_than_one_of_the_own_user(edge: Edge) -> None:
    """Descriptors, session and signals equal those of a program of the own user."""
    look = (
        "for n in /proc/$$/fd/*; do readlink $n; done; grep -E '^(Sig[^Q]|Shd|Cap|NoNew)' /proc/self/status; ulimit -a"
    )
    described = [edge.output(look, user) for user in (None, "nobody", "root")]
    # The C library uses signal 32 itself. A parent that started the test by posix_spawn() has left it ignored.
    internal = "SigIgn:\t0000000080000000", "SigIgn:\t0000000000000000"
    described = [[line.replace(*internal) for line in lines] for lines in described]
    places = [[line.replace(f"/{n}-1-1", "/output") for line in lines] for n, lines in enumerate(described, 1)]
    assert places[0] == places[2]
    assert [line for line in places[0] if "Cap" not in line] == [line for line in places[1] if "Cap" not in line]
    assert [line for line in places[1] if line.startswith("CapEff")] == ["CapEff:\t0000000000000000"]
    output = str(edge.directory / "output")
    assert [line for line in places[1] if line.startswith("/")][:3] == ["/dev/null", output, output]
    pid, _, _, parent, group, session, terminal, *_ = edge.output("cat /proc/$$/stat", "nobody")[0].split()
    assert (group, session, terminal, parent) == (pid, pid, "0", str(edge.process()))
    assert os.getsid(edge.process()) == edge.process() != os.getsid(0)


def test_a_file_that_an_earlier_store_has_left_is_not_the_output_of_a_start_to_come(edge: Edge) -> None:
    key = AttemptKey(RunKey(1, 1), 1)
    Path(Outputs(edge.directory).path(key)).write_bytes(b"of another run")
    edge.supervisor.read_output(ReadOutput(1, key, 0, 100))
    assert edge.heard(OutputRead, key).part == NOTHING
    assert edge.output("echo begun") == ["begun"]


def test_bytes_in_the_environment_arrive_as_they_are(edge: Edge) -> None:
    """The output of a failed run is a variable for `on_failure`, and may be any bytes."""
    for user in (None, OWN):
        key = edge.start("", user, env=(("A", "\udcff\u20ac"),), argv=("/usr/bin/printenv", "A"))
        assert edge.heard(ProgramEnded, key).output == b"\xff\xe2\x82\xac\n"


@pytest.fixture
def own_signals() -> Iterator[None]:
    """The signals as a daemon has them, also if the tests were started with nohup."""
    ignored = [n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
    reset_signals()
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.usefixtures("own_signals")
def test_a_program_gets_its_directory_umask_limit_and_default_signals(edge: Edge) -> None:
    where, before = Path.cwd(), os.umask(0o077)
    look = "pwd; umask; ulimit -n; for n in 0 1 2 3; do readlink /proc/$$/fd/$n; done; grep -E '^Sig[BI]' /proc/self/status"
    output = str(edge.directory / "1-1-1")
    none = [f"Sig{what}:\t{0:016x}" for what in ("Blk", "Ign")]
    assert edge.output(look, cwd="/usr") == ["/usr", "0027", str(LIMIT), "/dev/null", output, output, *none]
    assert (Path.cwd(), os.umask(before)) == (where, 0o077)
    assert Path(f"/proc/{edge.process()}/cwd").readlink() == Path("/"), "the file system can be unmounted"


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
    eventually(lambda: f"ended {key.run.job}-" in (edge.directory / ENDS).read_text(), "its end")
    ended = edge.heard(ProgramEnded, key)
    started = edge.heard(ProgramStarted, key)
    assert edge.events[-2:] == [started, ended]
    assert ended == ProgramEnded(key, Exit(status=0), b"", 0)
    assert ended.exit.took_ms is not None, "the keeper measures it"


@as_root
def test_another_user_can_open_standard_output_by_its_name(edge: Edge) -> None:
    assert edge.output("echo a; echo b >> /dev/stdout; echo c >> /dev/stderr", "nobody") == ["a", "b", "c"]


@as_root
def test_supplementary_groups_are_looked_up_at_each_start(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    membership = [4242, 4243]
    monkeypatch.setattr(linux, "groups_of", lambda _name, gid: [gid, *membership])
    assert edge.output("id -G", "nobody") == [f"{pwd.getpwnam('nobody').pw_gid} 4242 4243"]
    membership[:] = [4244]
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
        (("/bin/pwd",), "/proc/nowhere", "cannot start in /proc/nowhere: No such file or directory"),
        (("/bin/pwd",), "/etc/passwd", "cannot start in /etc/passwd: Not a directory"),
        (("/bin/echo", "a\0b"), "/", f"cannot start /bin/echo: {INVALID}"),
        (("/bin/echo", "\ud800"), "/", None),
    ],
)
def test_a_failed_start_has_the_same_reason_for_each_user(
    edge: Edge, argv: tuple[str, ...], cwd: str, reason: str | None
) -> None:
    events = [edge.heard(ProgramNotStarted, edge.start("", user, cwd=cwd, argv=argv)) for user in (None, "nobody")]
    assert events[0].reason == events[1].reason == (reason or events[0].reason)
    assert not events[0].exhausted and not events[1].exhausted
    assert not edge.left(), "no output is left"


@as_root
def test_the_working_directory_is_entered_as_the_user(edge: Edge, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert edge.reason(edge.start("pwd", "nobody", cwd=str(closed))) == f"cannot start in {closed}: Permission denied"


@as_root
def test_an_unknown_user_or_group_is_the_reason(edge: Edge) -> None:
    assert edge.reason(edge.start("true", "no-such-user")) == "there is no user `no-such-user` on this machine"
    assert edge.reason(edge.start("true", None, "no-such-group")) == "there is no group `no-such-group` on this machine"


def test_a_failed_look_up_can_be_retried_for_a_bounded_time(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwd = tmp_path / "passwd"
    monkeypatch.setattr(accounts, "PASSWD", str(passwd))
    event = edge.heard(ProgramNotStarted, edge.start("true", "no-such-user"))
    reason = f"the program's user or group cannot be looked up: {passwd}: No such file or directory"
    assert (event.reason, event.exhausted, event.is_alone) == (reason, True, True)
    for account in edge.launcher._failed_look_ups:
        edge.launcher._failed_look_ups[account] -= LOOK_UP_PATIENCE_MS
    event = edge.heard(ProgramNotStarted, edge.start("true", "no-such-user"))
    assert (event.reason, event.exhausted) == (reason, False)
    passwd.write_text("root:x:0:0::/:\n")
    assert edge.reason(edge.start("true", "no-such-user")) == "there is no user `no-such-user` on this machine"
    assert edge.output("echo well", OWN) == ["well"]


# Each copy loses the rights of root, as if the spawner had none.
NOT_ROOT = f"""
become = spawner.become
def become_without_root(*wanted):
    os.setgroups([])
    os.setresgid(*[{NOBODY}] * 3)
    os.setresuid(*[{NOBODY}] * 3)
    become(*wanted)
spawner.become = become_without_root
"""


@as_root
def test_without_root_only_the_own_user_may_be_named(make: Make) -> None:
    edge = make(patched(NOT_ROOT))
    needs_root = "cannot run as user `root`: the appliance needs root for it"
    assert edge.reason(edge.start("true", "root")) == needs_root
    assert edge.reason(edge.start("true", "4242", "4242")) == needs_root.replace("root`", "4242`")
    assert edge.reason(edge.start("true", None, "root")) == needs_root.replace("user", "group")
    assert edge.output("id -u; id -g", str(NOBODY)) == [str(NOBODY)] * 2


def test_the_exit_status_and_the_signal_are_reported(edge: Edge) -> None:
    user = OWN
    assert edge.heard(ProgramEnded, edge.start("exit 3", user)).exit == Exit(status=3)
    assert edge.heard(ProgramEnded, edge.start("kill -9 $$", user)).exit == Exit(signal=9)


def killed(edge: Edge) -> int:
    """Kills the keeper, and returns its pid."""
    link = edge.keeper.link
    assert link is not None
    os.kill(link.pid, signal.SIGKILL)
    edge.until(lambda: link.is_lost, "the end of the keeper")
    return link.pid


def test_programs_outlive_a_killed_keeper_and_their_end_is_unknown(
    edge: Edge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    keys = [edge.start(f"echo a; read line < {gate}; exit 5", user) for user in (None, OWN)]
    pids = [edge.heard(ProgramStarted, key).process.pid for key in keys]
    # Until then, a copy of the spawner may not have become the program, and ends with the keeper.
    eventually(lambda: all((edge.directory / f"{number}-1-1").read_text() for number in (1, 2)), "the programs")
    first = killed(edge)
    assert edge.output("echo more", OWN) == ["more"], "another keeper is made"
    assert edge.process() != first
    edge.until(
        lambda: f"process {first}, was killed; the exit statuses of 2 running programs are" in caplog.text,
        "the message",
    )
    assert all(map(is_running, pids))
    with gate.open("w") as file:
        file.write("go\ngo\n")
    for key in keys:
        ended = edge.heard(ProgramEnded, key)
        assert (ended.exit, ended.output) == (Exit(), b"a\n")


def test_a_program_without_a_keeper_can_be_ended(edge: Edge) -> None:
    key = edge.start("sleep 60")
    pid = edge.heard(ProgramStarted, key).process.pid
    killed(edge)
    edge.until(lambda: edge.supervisor._processes[key].pidfd is not None, "the search for it")
    edge.signal(key, signal.SIGTERM)
    assert edge.heard(ProgramEnded, key).exit == Exit()
    assert not is_running(pid)


def stopped(edge: Edge) -> int:
    """Stops the keeper, and returns its pid."""
    pid = edge.process()
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    return pid


def requested(edge: Edge, key: AttemptKey) -> None:
    processes = edge.supervisor._processes
    edge.until(lambda: key in processes and processes[key].link is not None, "the request")


def test_an_earlier_output_has_its_own_path_in_the_log(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """The start that sets it aside fails, and the next start reports it."""
    edge.directory.mkdir(exist_ok=True)
    earlier = edge.directory / "1-1-1"
    earlier.touch(MODE)
    with earlier.open("w"):
        edge.reason(edge.start("embedded \0"))
        edge.output("true")
        edge.until(lambda: "an earlier output" in caplog.text, "the warning")
    assert f"an earlier output {earlier};" in caplog.text


def test_a_request_that_a_killed_keeper_may_have_read_is_not_made_again(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whether the program ran, so it does not count as running."""
    edge.output("true")
    stopped(edge)
    key = edge.start("true")
    requested(edge, key)
    killed(edge)
    assert edge.heard(ProgramEnded, key).exit == Exit()
    assert "the exit statuses of 0 running programs are lost" in caplog.text
    assert edge.output("echo more") == ["more"]


def test_a_keeper_that_is_stopped_is_continued(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    edge.output("true")
    pid = stopped(edge)
    key = edge.start("exit 3")
    requested(edge, key)
    edge.supervisor.check_keeper()
    assert edge.heard(ProgramEnded, key).exit == Exit(status=3)
    assert f"the keeper, process {pid}, was continued, since a signal had stopped it" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO])
def test_a_signal_without_a_meaning_does_not_end_the_keeper(edge: Edge, number: signal.Signals) -> None:
    """It does not end the daemon either. With the keeper, the exit statuses of all programs would be lost."""
    edge.output("true")
    pid = edge.process()
    os.kill(pid, number)
    assert edge.output("echo more") == ["more"]
    assert edge.process() == pid


def test_a_keeper_that_does_not_answer_is_replaced(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    edge = make(patched("signal.pthread_sigmask(signal.SIG_BLOCK, [2]); signal.sigwait([2])"))
    key = edge.start("true")
    requested(edge, key)
    for _ in range(2):
        edge.supervisor.check_keeper()
    event = edge.heard(ProgramNotStarted, key)
    assert (event.reason, event.exhausted) == ("the keeper ended before it could start the program", True)
    assert "was killed, since it does not answer" in caplog.text


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The groups of nobody cannot be looked up while the test runs."""
    look_up, end = linux.groups_of, Flag()

    def groups_of(name: str, gid: int) -> list[int]:
        if name == "nobody":
            end.wait(PATIENCE_SECONDS)
        return look_up(name, gid)

    monkeypatch.setattr(linux, "groups_of", groups_of)
    yield
    end.set()


@as_root
@pytest.mark.usefixtures("slow")
def test_a_look_up_that_hangs_delays_no_other_start_and_can_be_ended(edge: Edge) -> None:
    keys = [edge.start("true", "nobody") for _ in range(2)]
    assert edge.output("echo other", "root") == ["other"]
    assert edge.output("echo plain") == ["plain"]
    for key in keys:
        edge.signal(key, signal.SIGTERM)
        assert edge.heard(ProgramNotStarted, key).exhausted


@as_root
@pytest.mark.usefixtures("slow")
def test_starts_that_wait_for_a_look_up_at_a_stop_are_left_to_the_next_daemon(edge: Edge) -> None:
    keys = [edge.start("true", "nobody") for _ in range(2)]
    edge.launcher.leave()
    assert edge.launcher.is_busy()
    for key in keys:
        event = edge.heard(ProgramNotStarted, key)
        assert (event.reason, event.exhausted) == ("the appliance was stopped before the start", True)
    assert not edge.launcher.is_busy()


def test_a_signal_right_after_a_look_up_comes_after_the_start(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher, tasks, look_ups = edge.launcher, list[Any](), list[Any]()
    monkeypatch.setattr(launcher, "worker", SimpleNamespace(submit=tasks.append))
    monkeypatch.setattr(launcher, "look_ups", SimpleNamespace(submit=look_ups.append))
    key = edge.start("true", "nobody")

    class Lock:
        """A lock that is free for one signal as soon as the start does not wait for its look-up any more."""

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            if not launcher._awaiting and look_ups:
                look_ups.clear()
                edge.signal(key, signal.SIGTERM)

    monkeypatch.setattr(launcher, "_lock", Lock())
    launcher._release(("nobody", None), Credentials(NOBODY, NOBODY, [], {}))
    start, _signal_again = tasks
    assert start.func == launcher._start_on_worker


def test_a_signal_before_the_start_prevents_or_ends_the_program(edge: Edge) -> None:
    edge.output("true")
    pid = stopped(edge)
    key = edge.start("sleep 60")
    requested(edge, key)
    edge.signal(key, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    edge.until(lambda: [e for e in edge.events if isinstance(e, ProgramEnded | ProgramNotStarted)][1:], "the end")
    event = edge.events[-1]
    if isinstance(event, ProgramNotStarted):
        assert event.exhausted
    else:
        assert event == ProgramEnded(key, Exit(signal=signal.SIGTERM), b"", 0)


NO_PROCESS = "spawner.Spawner.clone = lambda self: -11"


def test_a_start_at_the_limit_of_processes_can_be_retried(make: Make) -> None:
    edge = make(patched(NO_PROCESS))
    event = edge.heard(ProgramNotStarted, edge.start("true", OWN))
    assert (event.reason, event.exhausted) == (
        "cannot start /bin/sh: cannot start a process: Resource temporarily unavailable",
        True,
    )


def test_a_keeper_that_ends_at_once_is_the_reason(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    edge = make((sys.executable, "-I", "-S", str(tmp_path / "keeper.py")))
    event = edge.heard(ProgramNotStarted, edge.start("true"))
    why = "the keeper cannot start: the log has its message"
    assert (event.reason, event.exhausted) == (why, True), "no program is the cause, so each is started later"
    assert edge.reason(edge.start("true")) == f"no program can be started: {why}"
    assert OutputsChecked(f"no program can be started: {why}") in edge.events
    (tmp_path / "keeper.py").write_text("import time; time.sleep(600)")
    edge.until(lambda: edge.keeper.link and not edge.keeper.link.is_lost, "another keeper")
    assert OutputsChecked(None) not in edge.events, "it has not answered yet"
    edge.keeper.command = None
    os.kill(edge.process(), signal.SIGKILL)
    edge.until(lambda: OutputsChecked(None) in edge.events, "the end of the trouble")
    assert edge.output("echo well") == ["well"]
    assert caplog.text.count(f"can't open file '{tmp_path}/keeper.py'") == 1


def test_a_keeper_that_cannot_be_started_is_the_reason(make: Make) -> None:
    edge = make(("/nonexistent/python",))
    event = edge.heard(ProgramNotStarted, edge.start("true", OWN))
    reason = "no program can be started: cannot reach the keeper: /nonexistent/python: No such file or directory"
    assert (event.reason, event.exhausted) == (reason, True)
    assert OutputsChecked(reason) in edge.events
    assert edge.left() == []
    edge.keeper.command = None
    edge.until(lambda: OutputsChecked(None) in edge.events, "the end of the trouble")
    assert edge.output("echo well") == ["well"]


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


# The output; for the look-up of a user also a database.
@pytest.mark.parametrize("user", [None, OWN])
def test_a_program_is_started_only_where_a_descriptor_is_left(edge: Edge, user: str | None, tmp_path: Path) -> None:
    assert edge.output("echo well", user) == ["well"], "the keeper is there"
    before = len(os.listdir("/proc/self/fd"))
    mark = tmp_path / "mark"
    with descriptors_left(0):
        event = edge.heard(ProgramNotStarted, edge.start(f"touch {mark}", user))
    assert event.exhausted and "Too many open files" in event.reason
    assert not mark.exists()
    with descriptors_left(1 if user is None else 2):
        assert edge.heard(ProgramEnded, edge.start("true", user)).exit == Exit(status=0)
    edge.until(lambda: len(os.listdir("/proc/self/fd")) <= before, "the return of all descriptors")


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
    edge.output("true", OWN)
    before, kept = len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{edge.process()}/fd"))
    keys = [edge.start("", user, argv=("/bin/sleep", "60")) for user in (None, OWN) for _ in range(100)]
    pids = {edge.heard(ProgramStarted, key).process.pid for key in keys}
    assert len(pids) == 200
    assert all(map(is_running, pids))
    for key in keys:
        edge.signal(key, signal.SIGTERM)
    assert {edge.heard(ProgramEnded, key).exit for key in keys} == {Exit(signal=signal.SIGTERM)}
    edge.until(lambda: len(os.listdir("/proc/self/fd")) <= before, "the return of all descriptors")
    assert len(os.listdir(f"/proc/{edge.process()}/fd")) <= kept


def test_another_directory_of_outputs_is_told_once(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody moves the old one, say. The outputs of running programs are not found then."""
    audit = edge.launcher._audit_outputs
    edge.keeper.outputs.make()
    audit()
    edge.directory.rename(edge.directory.with_name("moved"))
    edge.directory.mkdir(mode=0o700)
    audit()
    audit()
    (message,) = caplog.messages
    assert message == (
        f"another directory has the name {edge.directory} now; what programs have written to the last one is lost, unless it "
        "is back when they end"
    )
    edge.directory.rename(edge.directory.with_name("moved again"))
    audit()
    assert caplog.messages[1:] == [f"the directory {edge.directory} was missing and was made again"]
    audit()
    assert len(caplog.messages) == 2


def test_trouble_with_the_files_of_the_keeper_is_told_once(
    edge: Edge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each audit logged Python's own text."""

    def fail(_keeper: KeeperLink) -> bool:
        raise PermissionError(13, "Permission denied", "/var/sched.db.output/keeper.ends")

    monkeypatch.setattr(KeeperLink, "restore_files", fail)
    for _ in range(2):
        edge.launcher._audit_outputs()
    message = "cannot make the files of the keeper again: /var/sched.db.output/keeper.ends: Permission denied"
    assert caplog.messages == [message]
