"""The keeper by itself: what it loads, how it becomes another user, and what it keeps for the next daemon."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from schedappliance.clock import SystemClock
from schedappliance.edge.programs import keeper, keeper_files, keeper_programs, keeper_starts, spawner, supervisor
from schedappliance.edge.programs.keeper_files import ENDS, SOCKET
from schedappliance.edge.programs.keeper_link import PARTS
from schedappliance.edge.programs.keeper_reports import Ended, Report, RunsNow, Unstarted, attempt_id
from schedappliance.edge.programs.requested import Asked
from schedappliance.edge.programs.survivors import is_stopped
from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import DiscardOutput, StartProgram
from schedappliance.engine.events import ProgramEnded, ProgramStarted
from schedappliance.engine.records import AttemptKey, RunKey
from tests.edge.programs.test_launcher import (
    NOBODY,
    Edge,
    Make,
    as_root,
    edge,
    make,
    patched,
    requested,
    without_package,
)
from tests.support.daemon import group, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually

__all__ = ["edge", "make"]


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with the modules of the keeper in a process of its own, which may change its credentials."""
    command = without_package(script)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@pytest.mark.parametrize("part", [keeper, keeper_files, keeper_programs, keeper_starts, spawner])
def test_they_load_few_modules_and_none_of_the_package(part: ModuleType) -> None:
    text = Path(str(part.__file__)).read_text()
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in imports} <= {
        "__future__",
        *(f"schedappliance.edge.programs.{name}" for name in PARTS),
    }
    done = run("print(*sys.modules)")
    assert "keeper" in done.stdout.split(), done.stderr
    assert not {"typing", "subprocess", "dataclasses", "re", "site", "threading"} & set(done.stdout.split())


def test_a_full_disk_leaves_the_ends_in_memory(tmp_path: Path) -> None:
    """The file of ends cannot be written again, and the daemon is served as before. It takes the ends when there is room."""
    path = tmp_path / ENDS
    done = run(f"""
import resource
os.dup2(os.open({str(path)!r}, os.O_RDWR | os.O_CREAT | os.O_APPEND), 1)
keeper.BYTES_PER_END, one = 0, keeper.Keeper(0)
for name in ("1-1-1-5", "2-1-1-5"):
    one.keep_end(name, b"ended " + name.encode())
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
one.forget(["1-1-1-5"])
one.keep_end("3-1-1-5", b"ended 3-1-1-5")
print(*one.ends, os.fstat(1).st_size, file=sys.stderr)
for limit in (20, resource.RLIM_INFINITY):  # The first one has room for a part.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    one.write_ends()
""")
    assert done.stderr == "2-1-1-5 3-1-1-5 0\n"
    assert {"ended 2-1-1-5", "ended 3-1-1-5"} <= set(path.read_text().splitlines())


@pytest.mark.parametrize("foreign", [b"ended \xff 1 2 3", b"   ", b"hello big world", bytes(range(256)) * 12])
def test_a_keeper_starts_with_a_damaged_file_of_ends(tmp_path: Path, foreign: bytes) -> None:
    path = tmp_path / ENDS
    path.write_bytes(b"\n%s\n\nended 2-1-1-5 7 0 1 2 3 - 0 50\n\nended 3-1-1-5 7 0 1 2 3 - 0 4" % foreign)
    done = run(f"""
os.dup2(os.open({str(path)!r}, os.O_RDWR | os.O_APPEND), 1)
print(keeper.Keeper(0).ends, file=sys.stderr)
""")
    assert done.stderr == "{'2-1-1-5': b'ended 2-1-1-5 7 0 1 2 3 - 0 50'}\n"


def test_a_file_system_that_has_become_read_only_leaves_the_daemon_its_keeper() -> None:
    done = run("""
import socket
def read_only(*_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
os.ftruncate = read_only
os.dup2(os.memfd_create("ends"), 1)
one = keeper.Keeper(0)
end, daemon = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
one.greet(end)
one.keep_end("1-1-1-5", b"ended 1-1-1-5")
daemon.send(b"forget 1-1-1-5")
one.hear()
print(one.ends, one.daemon is end, file=sys.stderr)
""")
    assert done.stderr == "{} True\n"


# The disk is full at the first five attempts to write an end.
FULL_AT_FIRST = """
keeper.LONGEST_MS, write, full = 50, os.write, [1] * 5
def write_unless_full(descriptor, data):
    if descriptor == 1 and full:
        raise OSError(full.pop(), "the disk is full")
    return write(descriptor, data)
os.write = write_unless_full
"""


def test_a_keeper_stays_until_the_file_has_the_ends(make: Make, tmp_path: Path) -> None:
    """The disk is full, and the daemon is killed."""
    edge, gate = make(patched(FULL_AT_FIRST)), tmp_path / "gate"
    os.mkfifo(gate)
    key = edge.start(f"read line < {gate}; exit 4")
    edge.heard(ProgramStarted, key)
    pid = edge.process()
    left(edge)
    gate.write_text("go\n")
    eventually(lambda: not is_running(pid), "the end of the keeper")
    (report,) = ends(edge)
    assert isinstance(report, Ended)
    assert (report.id, report.exit) == (attempt_id(key, 0), Exit(status=4))


def left(edge: Edge) -> None:
    """The daemon is gone, as after kill -9."""
    edge.supervisor.collector.worker.close()
    assert edge.keeper.link is not None
    edge.loop.unwatch(edge.keeper.link.control.fileno())
    edge.keeper.link.close()
    edge.keeper.link = None


def next_daemon(make: Make, keys: list[AttemptKey]) -> tuple[Edge, dict[AttemptKey, Report]]:
    """Another daemon, and what the keeper tells it about the attempts."""
    edge = make()
    edge.started = 10
    known = edge.supervisor.take_over({attempt_id(key, 0): key for key in keys}, dict.fromkeys(keys, 65_536))
    return edge, known


def ends(edge: Edge) -> list[Report]:
    return edge.keeper.ends()


def test_the_next_daemon_gets_the_running_programs_and_the_ends(make: Make, tmp_path: Path) -> None:
    edge, gate = make(), tmp_path / "gate"
    os.mkfifo(gate)
    running, short = edge.start(f"echo a; read line < {gate}; exit 5"), edge.start(f"exec 0<{gate}; exit 3")
    pid = edge.heard(ProgramStarted, running).process.pid
    edge.heard(ProgramStarted, short)
    keeper_pid = edge.process()
    left(edge)
    with gate.open("w") as file:
        eventually(lambda: ends(edge), "the end of the second program")
        edge, known = next_daemon(make, [running, short])
        assert edge.process() == keeper_pid
        begun, over = known[running], known[short]
        assert isinstance(begun, RunsNow)
        assert isinstance(over, Ended)
        assert (begun.pid, over.exit) == (pid, Exit(status=3))
        file.write("go\n")
    ended = edge.heard(ProgramEnded, running)
    assert (ended.exit, ended.output) == (Exit(status=5), b"a\n")
    assert edge.output("echo more") == ["more"], "the keeper starts programs for it"
    for key in (running, short, AttemptKey(RunKey(edge.started, 1), 1)):
        edge.supervisor.discard(DiscardOutput(key))
    edge.until(lambda: not ends(edge), "the ends are forgotten")


def test_a_later_end_with_the_same_key_is_not_forgotten(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that failed is tried again with the same key."""
    monkeypatch.setattr(supervisor, "DISCARD_AFTER_MS", 3_600_000)
    edge = make()
    key = edge.start("exit 3")
    edge.heard(ProgramEnded, key)
    edge.supervisor.discard(DiscardOutput(key))
    edge.events.clear()
    edge.launcher.start(StartProgram(key, ("/bin/false",), (), "/", 0o022, 65_536, started_ms=5))
    edge.heard(ProgramEnded, key)
    edge.supervisor.discard_all()
    left(edge)
    known = make().supervisor.take_over({attempt_id(key, 0): key, attempt_id(key, 5): key}, {key: 65_536})
    assert [report.id for report in known.values()] == [attempt_id(key, 5)]


@pytest.mark.parametrize("make_other", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_has_the_name_of_the_file_of_ends_is_not_opened(make: Make, make_other: Callable[[Path], None]) -> None:
    edge = make()
    edge.directory.mkdir(exist_ok=True)
    make_other(edge.directory / ENDS)
    assert ends(edge) == []
    key = edge.start("exit 3")
    edge.heard(ProgramEnded, key)
    (report,) = ends(edge)
    assert report.id == attempt_id(key, 0)


def test_a_keeper_that_is_stopped_is_continued_by_the_next_daemon(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    edge = make()
    key = edge.start("read line; sleep 0.1; exit 4")
    edge.heard(ProgramStarted, key)
    pid = edge.process()
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(pid), "the stop")
    left(edge)
    edge, known = next_daemon(make, [key])
    assert (edge.process(), set(known)) == (pid, {key})
    assert f"the keeper, process {pid}, was continued" in caplog.text


def test_a_keeper_without_daemon_and_programs_ends_and_leaves_the_ends(make: Make) -> None:
    edge = make(patched("keeper.LONGEST_MS = 200"))
    key = edge.start("read line; sleep 0.1; exit 4")
    edge.heard(ProgramStarted, key)
    pid = edge.process()
    left(edge)
    eventually(lambda: not is_running(pid), "the end of the keeper")
    edge, known = next_daemon(make, [key])
    report = known[key]
    assert isinstance(report, Ended)
    assert report.exit == Exit(status=4)
    assert edge.keeper.link is None
    assert edge.output("echo more") == ["more"], "another keeper is started"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_keeper_without_daemon_and_files_makes_others(make: Make, tmp_path: Path, is_replaced: bool) -> None:
    """A cleaner of files removed them after the daemon was killed. The next daemon starts at once."""
    edge, gate = make(), tmp_path / "gate"
    os.mkfifo(gate)
    running = edge.start(f"read line < {gate}; exit 5")
    edge.heard(ProgramStarted, running)
    short = edge.start("exit 3")
    edge.heard(ProgramEnded, short)
    pid = edge.process()
    left(edge)
    for name in (SOCKET, ENDS):
        (edge.directory / name).unlink()
    if is_replaced:
        (edge.directory / SOCKET).touch()
    edge, known = next_daemon(make, [running, short])
    assert (edge.process(), set(known)) == (pid, {running, short})
    left(edge)
    eventually(lambda: {report.id for report in ends(edge)} == {attempt_id(short, 0)}, "the end in the new file")
    edge, _ = next_daemon(make, [running])
    gate.write_text("go\n")
    assert edge.heard(ProgramEnded, running).exit == Exit(status=5)
    # It does not wait for another daemon: a second run of this test at the same path would find it.
    link = edge.keeper.link
    assert link is not None
    edge.loop.unwatch(link.control.fileno())
    link.leave(PATIENCE_SECONDS)
    edge.keeper.link = None
    eventually(lambda: not is_running(pid), "the end of the keeper")


# The first attempts to make the directory again fail. The keeper would wait 50 ms for a daemon, and looks each 10 ms.
NO_INODE_AT_FIRST = """
keeper.LONGEST_MS, keeper.LOOK_FOR_FILES_MS, mkdir, full = 50, 10, os.mkdir, [28] * 20
def mkdir_unless_full(path, mode):
    if full:
        raise OSError(full.pop(), "no free inode")
    return mkdir(path, mode)
os.mkdir = mkdir_unless_full
"""


def test_a_keeper_stays_until_it_can_make_the_directory_of_the_ends_again(make: Make, tmp_path: Path) -> None:
    edge, gate = make(patched(NO_INODE_AT_FIRST)), tmp_path / "gate"
    os.mkfifo(gate)
    key = edge.start(f"read line < {gate}; rm -rf {edge.directory}; exit 4")
    edge.heard(ProgramStarted, key)
    pid = edge.process()
    left(edge)
    gate.write_text("go\n")
    eventually(lambda: not is_running(pid), "the end of the keeper")
    assert {report.id for report in ends(edge)} == {attempt_id(key, 0)}


def test_a_keeper_waits_for_the_next_daemon_after_one_was_killed(make: Make) -> None:
    """The first one is killed while its keeper begins, and before anything is requested."""
    edge, before = make(patched("keeper.LONGEST_MS = 3_600_000")), SystemClock().moment().boot
    edge.keeper.prepare()
    pid = edge.process()
    left(edge)
    edge, _ = next_daemon(make, [])
    asked, link = edge.keeper.asked, edge.keeper.link
    assert edge.process() == pid
    assert asked is not None and asked.started_at <= before + 1, "no attempt of the first daemon is earlier"
    assert asked.ids == frozenset()
    assert link is not None
    edge.loop.unwatch(link.control.fileno())
    link.leave(PATIENCE_SECONDS)
    edge.keeper.link = None
    eventually(lambda: not is_running(pid), "the end of the keeper, since its daemon has stopped")


def test_the_keeper_tells_the_latest_requests_even_those_of_an_earlier_version(make: Make) -> None:
    """A daemon of an earlier version sends no time, so the request may be as late as its arrival."""
    edge = make()
    edge.output("true")
    now = SystemClock().moment().boot
    starts = [
        StartProgram(AttemptKey(RunKey(job, 1), 1), ("/bin/true",), (), "/", 0o022, 65_536, started_at=now + later)
        for job, later in ((7, 0), (8, 5), (9, 5), (6, 3))
    ]
    for start in starts:
        edge.launcher.start(start)
    for start in starts:
        edge.heard(ProgramEnded, start.key)
    left(edge)
    edge, _ = next_daemon(make, [])
    assert edge.keeper.asked == Asked(now + 5, frozenset(attempt_id(starts[place].key, 0) for place in (1, 2)))
    done = run(r"""
before, one = keeper_programs.boot_ms(), keeper_programs.Program(b"1-1-1-5 0 0 all 18 - 0 1\0user\0/\0/bin/true")
print(before <= one.started_at <= keeper_programs.boot_ms())
""")
    assert done.stdout == "True\n", done.stderr


def test_a_timeout_that_passes_without_a_daemon_is_enforced(make: Make, tmp_path: Path) -> None:
    edge, heard = make(), tmp_path / "heard"
    script = f"trap 'echo heard >> {heard}' TERM; echo ready; while :; do sleep 0.05; done"
    key = AttemptKey(RunKey(1, 1), 1)
    start = StartProgram(key, ("/bin/sh", "-c", script), (), "/", 0o022, 65_536)
    now = SystemClock().moment().boot
    edge.launcher.start(replace(start, term_at=now + 300, kill_after_ms=200))
    edge.heard(ProgramStarted, key)
    left(edge)
    eventually(lambda: ends(edge), "the end")
    (report,) = ends(edge)
    assert isinstance(report, Ended) and (report.exit, report.why) == (Exit(signal=signal.SIGKILL), "timeout")
    assert heard.read_text() == "heard\n", "TERM came first"


def test_the_timeout_of_a_program_that_the_next_daemon_does_not_know_is_enforced(make: Make) -> None:
    """Its store was restored from a backup."""
    edge, key = make(), AttemptKey(RunKey(1, 1), 1)
    start = StartProgram(key, ("/bin/sleep", "3600"), (), "/", 0o022, 65_536)
    edge.launcher.start(replace(start, term_at=SystemClock().moment().boot + 300))
    pid = edge.heard(ProgramStarted, key).process.pid
    left(edge)
    edge, known = next_daemon(make, [])
    assert not known
    edge.until(lambda: not is_running(pid) and not ends(edge), "the end, which nobody waits for")


# Of its own session, with a parent that has ended; the last one has no variables either, but its session.
DAEMONS = """
(setsid sleep 60 &)
setsid setsid sleep 60 &
(env -i sleep 60 &)
trap '' HUP
sleep 60
"""


# The programs end while the keeper looks for the processes that are to get the signal.
ENDED_MEANWHILE = """
processes = keeper.Processes
def late(programs):
    for program in programs:
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    return processes(programs)
keeper.Processes = late
"""


@pytest.mark.parametrize("code", ["", ENDED_MEANWHILE])
def test_a_program_that_has_ended_before_the_signal_has_ended_by_itself(make: Make, code: str) -> None:
    """Short programs that had ended well in the moment of a stop were called interrupted, and ran again."""
    edge = make(patched(code))
    fifo = edge.directory / "fifo"
    os.mkfifo(fifo)
    key = edge.start(f"read line < {fifo}")
    pid = edge.heard(ProgramStarted, key).process.pid
    if not code:
        # Then the keeper sees the end and the signal at once.
        os.kill(edge.process(), signal.SIGSTOP)
        fifo.write_text("line\n")
        eventually(lambda: not is_running(pid), "the end")
    edge.signal(key, signal.SIGTERM)
    if code:
        fifo.write_text("line\n")
    else:
        os.kill(edge.process(), signal.SIGCONT)
    end = edge.heard(ProgramEnded, key).exit
    assert (end, end.by_itself) == (Exit(0), True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_all_descendants(edge: Edge, number: int) -> None:
    marks, more = ((("SCHED_STORE", "s"), ("SCHED_RUN_ID", run), ("SCHED_ATTEMPT", "1")) for run in ("n/1", "n/2"))
    key, other = edge.start(DAEMONS, env=marks), edge.start("(setsid sleep 60 & echo $!); sleep 60", env=more)
    leader = edge.heard(ProgramStarted, key).process.pid
    stranger = int(eventually(lambda: (edge.directory / "2-1-1").read_text().strip(), "the other program"))

    def sleepers() -> list[int]:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if is_running(pid) and writes_to(pid, edge.directory / "1-1-1")]

    eventually(lambda: len(sleepers()) == 5, "the descendants")
    edge.signal(key, number)
    assert edge.heard(ProgramEnded, key).exit == Exit(signal=number)
    edge.until(lambda: not sleepers() and not edge.supervisor.is_busy(), "the end of all")
    assert not is_running(leader)
    assert is_running(stranger), "that of another program goes on"
    edge.signal(other, signal.SIGKILL)
    edge.until(lambda: not is_running(stranger), "the end of the other one")


# Each orphan is in the middle of its exec while it is looked at for the first two times.
IN_EXEC = """
marked, looks = keeper_programs.Processes._named, {}
def in_exec(processes, pid):
    looks[pid] = looks.get(pid, 0) + 1
    processes.is_unsure |= looks[pid] < 3
    return None if looks[pid] < 3 else marked(processes, pid)
keeper_programs.Processes._named = in_exec
"""


def test_an_orphan_whose_variables_cannot_be_read_for_a_moment_is_not_overlooked(make: Make) -> None:
    edge, marks = make(patched(IN_EXEC)), (("SCHED_STORE", "s"), ("SCHED_RUN_ID", "n/1"), ("SCHED_ATTEMPT", "1"))
    key = edge.start("(setsid sh -c 'echo $$; exec sleep 60' &); exec sleep 60", env=marks)
    edge.heard(ProgramStarted, key)
    orphan = int(eventually(lambda: (edge.directory / "1-1-1").read_text().strip(), "its child"))
    edge.signal(key, signal.SIGKILL)
    edge.heard(ProgramEnded, key)
    edge.until(lambda: not is_running(orphan) and not edge.supervisor.is_busy(), "the end of the orphan")


def test_an_orphan_that_belongs_to_no_known_program_goes_on_and_is_named_once(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """With a session and variables of its own, nothing shows whose it is."""
    script = "(setsid env -i sleep 60 & echo $!); (setsid sleep 60 & echo $!); exec sleep 60"
    outputs = {
        key: edge.directory / f"{key.run.job}-1-1"
        for key in (marked(edge, script, 1), marked(edge, "exec sleep 60", 2))
    }
    first, second = outputs
    edge.heard(ProgramStarted, first)
    eventually(lambda: len(outputs[first].read_text().split()) == 2, "both children")
    words = outputs[first].read_text().split()
    stray, other = map(int, words)
    eventually(lambda: os.getsid(stray) == stray and _is_sleep(stray) and _is_sleep(other), "their sessions")
    text = f"process {stray} (sleep 60) was left behind by a program, and nothing shows by which; no timeout and no stop ends it"
    edge.signal(first, signal.SIGTERM)
    edge.heard(ProgramEnded, first)
    edge.until(lambda: text in caplog.text, "the warning")
    assert not is_running(other)
    edge.signal(second, signal.SIGTERM)
    edge.heard(ProgramEnded, second)
    edge.until(lambda: not edge.supervisor._will_look, "the second look")
    assert caplog.text.count("was left behind") == 1
    assert is_running(stray)
    os.kill(stray, signal.SIGKILL)


def marked(edge: Edge, script: str, number: int) -> AttemptKey:
    """Starts a program with the variables that name its attempt."""
    return edge.start(script, env=(("SCHED_STORE", "s"), ("SCHED_RUN_ID", f"n/{number}"), ("SCHED_ATTEMPT", "1")))


def _is_sleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")


def test_a_signal_ends_only_the_group_if_the_program_says_so(edge: Edge) -> None:
    key = AttemptKey(RunKey(1, 1), 1)
    script = "setsid sleep 60 & echo $!; sleep 60 & wait"
    edge.launcher.start(StartProgram(key, ("/bin/sh", "-c", script), (), "/", 0o022, 65_536, tree="group"))
    leader = edge.heard(ProgramStarted, key).process.pid
    outside = int(eventually(lambda: (edge.directory / "1-1-1").read_text().strip(), "its child"))
    eventually(lambda: os.getsid(outside) == outside and len(group(leader)) == 2, "both sleepers")
    edge.signal(key, signal.SIGTERM)
    edge.heard(ProgramEnded, key)
    edge.until(lambda: not group(leader) and not edge.supervisor.is_busy(), "the end of the group")
    assert is_running(outside)
    os.kill(outside, signal.SIGKILL)


def writes_to(pid: int, path: Path) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/fd/1").samefile(path)
    return False


@as_root
def test_nobody_but_the_own_user_may_speak_to_the_keeper(edge: Edge) -> None:
    edge.output("true")
    path = edge.directory / SOCKET
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    edge.directory.chmod(0o711)
    script = f"""
import os, socket
directory = os.open({str(edge.directory)!r}, os.O_PATH)
os.setgroups([])
os.setresuid(*[{NOBODY}] * 3)
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(f"/proc/self/fd/{{directory}}/{SOCKET}")
print(connection.recv(1000))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "b''\n", done.stderr
    assert edge.output("echo more") == ["more"], "the daemon is not disturbed"


def test_starts_are_not_lost_if_the_daemon_ends_before_the_keeper_has_begun(make: Make) -> None:
    """The connections of both daemons wait when the keeper begins to serve."""
    edge = make(patched("select.select([], [], [], 0.5)"))
    keys = [edge.start("exit 3") for _ in range(3)]
    requested(edge, keys[-1])
    left(edge)
    edge, known = next_daemon(make, keys)
    assert known.keys() == set(keys)


def test_a_failed_start_is_not_lost_if_the_daemon_ends_before_the_keeper_has_begun(make: Make) -> None:
    edge = make(patched("select.select([], [], [], 0.5)"))
    key = AttemptKey(RunKey(7, 1), 1)
    edge.launcher.start(StartProgram(key, ("/nowhere",), (), "/", 0o022, 65_536))
    requested(edge, key)
    left(edge)
    edge, known = next_daemon(make, [key])
    assert isinstance(known[key], Unstarted)


def test_the_last_lines_of_a_daemon_that_was_killed_with_reports_unread_are_read() -> None:
    done = run("""
import socket
os.dup2(os.memfd_create("ends"), 1)
one = keeper.Keeper(0)
end, daemon = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
one.greet(end)
one.flush()
one.ends["1-1-1-5"] = b"ended 1-1-1-5"
daemon.send(b"forget 1-1-1-5")
daemon.close()
one.hear()
print(one.ends, one.daemon, file=sys.stderr)
""")
    assert done.stderr == "{} None\n"


@pytest.mark.parametrize(
    ("completion", "line"),
    [
        ("one.starts.programs[os.getpid()] = program", "running 1-1-1-5"),
        ('one.starts.failed.append(("1-1-1-5", b"unstarted 1-1-1-5 2 program No"))', "unstarted 1-1-1-5"),
    ],
)
def test_a_start_that_completes_while_a_daemon_is_greeted_is_reported(completion: str, line: str) -> None:
    done = run(f"""
import socket
os.dup2(os.memfd_create("ends"), 1)
class Completes:
    is_outdated = True
    @property
    def current(self):
        {completion}
one, program = keeper.Keeper(0), keeper_programs.Program(b"1-1-1-5 0 0 all 18 - 0 1 0\\0user\\0/\\0/bin/true")
one.starters = [Completes()]
one.greet(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0])
print(*one.outbox, sep="\\n", file=sys.stderr)
""")
    assert line in done.stderr


# The start of a program hangs until the gate is opened, as with a file system that does not answer.
HANGS = """
spawn, gate = keeper_starts.spawn, sys.argv.pop(1)
def hang(program, *descriptors):
    if b"hang" in program.argv:
        open(gate).close()
    return spawn(program, *descriptors)
keeper_starts.spawn = hang
"""


@pytest.mark.slow
def test_a_start_that_hangs_delays_no_end_and_no_next_daemon(make: Make, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    edge = make([*patched(HANGS), str(gate)])
    hung, behind = AttemptKey(RunKey(9, 1), 1), AttemptKey(RunKey(8, 1), 1)
    first = edge.start("sleep 60")
    edge.heard(ProgramStarted, first)
    now = SystemClock().moment().boot
    for key, script in ((hung, "exit 6"), (behind, f"touch {tmp_path}/begun")):
        start = StartProgram(key, ("/bin/sh", "-c", script, "hang"), (), "/", 0o022, 65_536, started_at=now)
        edge.launcher.start(start)
    requested(edge, behind)
    edge.signal(first, signal.SIGTERM)
    assert edge.heard(ProgramEnded, first).exit == Exit(signal=signal.SIGTERM)
    left(edge)
    edge, known = next_daemon(make, [hung, behind])
    assert known == {hung: RunsNow(attempt_id(hung, 0), 0, 0, None)}
    assert edge.keeper.asked == Asked(now, frozenset([attempt_id(hung, 0)])), "the start behind it is dropped"
    assert edge.output("echo more") == ["more"]
    gate.write_text("")
    assert edge.heard(ProgramEnded, hung).exit == Exit(status=6)
    assert not (tmp_path / "begun").exists()


def test_a_start_that_hangs_does_not_share_its_directory_with_others() -> None:
    """It may go on during a start of another starter, between the change of the directory and the start."""
    done = run("""
import socket
# Its alarm, 10 ms after the start, is for the main thread of a keeper.
signal.signal(signal.SIGALRM, signal.SIG_IGN)
keeper_starts.spawn = lambda *_: os.chdir("/usr") or os.umask(0o111) or 0
channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
directory, _ = os.getcwd(), os.umask(0o022)
starter = keeper_starts.Starter(keeper_starts.Starts(0), peer)
socket.send_fds(channel, [b"1-1-1-5 0 0 all 18 - 0 1 0\\0user\\0/\\0/bin/true"], [0, 0])
channel.close()
starter.alive.acquire()
print(os.getcwd() == directory, oct(os.umask(0)), len(starter.starts.programs))
""")
    assert done.stdout == "True 0o22 1\n", done.stderr


def test_a_process_that_has_got_the_pid_of_an_ended_program_is_not_its_descendant() -> None:
    done = run("""
import time
child = os.fork()
if child == 0:
    os.setsid()
    time.sleep(600)
while os.getsid(child) != child:
    pass
request = b"%d-1-1-5 0 0 all 18 - 0 1 1\\0user\\0/\\0/bin/true"
ended, living = keeper_programs.Program(request % 1), keeper_programs.Program(request % 2)
ended.pid, ended.has_ended, living.pid = child, True, child
print(keeper_programs.Processes([ended]).of(ended), keeper_programs.Processes([ended, living]).of(living) == [child])
os.kill(child, 9)
""")
    assert done.stdout == "[] True\n", done.stderr


@pytest.mark.parametrize("is_temporary", [True, False])
def test_a_keeper_without_a_store_and_a_daemon_removes_its_directory(make: Make, is_temporary: bool) -> None:
    """Each crash of an appliance without a store left a directory."""
    edge = make(patched("keeper.LONGEST_MS = 100"))
    edge.keeper.outputs.is_temporary = is_temporary
    os.mkfifo(edge.directory / "fifo")
    key = edge.start("echo x; read line < fifo", cwd=str(edge.directory))
    edge.heard(ProgramStarted, key)
    pid = edge.process()
    left(edge)
    (edge.directory / "fifo").write_text("\n")
    eventually(lambda: not is_running(pid), "the end of the keeper")
    assert edge.directory.exists() is not is_temporary
