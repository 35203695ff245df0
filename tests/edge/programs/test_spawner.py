"""The spawner by itself: how a copy becomes another user, and what happens if the spawner or a copy is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from schedappliance.edge.programs.survivors import is_stopped
from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import StartProgram
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import AttemptKey, RunKey
from tests.edge.programs.test_keeper import run
from tests.edge.programs.test_launcher import NOBODY, OWN, Edge, Make, as_root, edge, make, patched, requested, spawners
from tests.support.daemon import is_running

__all__ = ["edge", "make"]


@as_root
def test_root_cannot_be_regained() -> None:
    done = run(f"""
spawner.become({NOBODY}, 4242, [4242, 4243, 4244], "user `nobody`")
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))
for regain in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setegid(0), lambda: os.setgroups([0])):
    try:
        regain()
        print("regained")
    except PermissionError:
        pass
""")
    assert done.stdout == f"({NOBODY}, {NOBODY}, {NOBODY}) (4242, 4242, 4242) [4242, 4243, 4244]\n", done.stderr


@as_root
def test_credentials_that_could_be_reversed_are_unusable() -> None:
    """SECBIT_NO_SETUID_FIXUP keeps the capabilities when the user changes, as a misconfigured container may do."""
    done = run(f"""
assert spawner._libc.prctl(28, 1 << 2, 0, 0, 0) == 0, "PR_SET_SECUREBITS"
try:
    spawner.become({NOBODY}, {NOBODY}, [], "user `nobody`")
except spawner.Unfit as error:
    print(error)
""")
    assert done.stdout == "cannot run as user `nobody`: the program could regain the appliance's rights\n", done.stderr


NOT_ROOT = f"os.setgroups([4242]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid(*[{NOBODY}] * 3)\n"


@as_root
@pytest.mark.parametrize(
    ("uid", "gid", "output"),
    [
        (NOBODY, NOBODY, "[4242]"),
        (0, NOBODY, "cannot run as it: the appliance needs root for it"),
        (NOBODY, 0, "cannot run as it: the appliance needs root for it"),
    ],
)
def test_without_root_only_the_own_credentials_are_possible(uid: int, gid: int, output: str) -> None:
    done = run(f"""
{NOT_ROOT}
try:
    spawner.become({uid}, {gid}, [], "it")
    print(os.getgroups())
except spawner.Unfit as error:
    print(error)
""")
    assert done.stdout == output + "\n", done.stderr


@as_root
@pytest.mark.parametrize(
    ("uid", "output"), [(0, "0 [4242]"), (NOBODY, "cannot run as it: Operation not permitted")], ids=["own", "other"]
)
def test_root_without_capabilities_can_be_itself(uid: int, output: str) -> None:
    """As in a container that drops all of them. A program with a limit needs no other user."""
    done = run(f"""
import ctypes
os.setgroups([4242])
no_capabilities = (ctypes.c_uint32 * 6)()
assert spawner._libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), no_capabilities) == 0
try:
    spawner.become({uid}, 0, [0], "it")
    print(os.getuid(), os.getgroups())
except spawner.Unfit as error:
    print(error)
""")
    assert done.stdout == output + "\n", done.stderr


def test_one_that_was_killed_is_started_again(edge: Edge) -> None:
    assert edge.output("echo a", OWN) == ["a"]
    (first,) = spawners(edge)
    os.kill(first, signal.SIGKILL)
    edge.until(lambda: not is_running(first), "its end")
    assert edge.output("echo b", OWN) == ["b"]
    assert spawners(edge) != [first]


def test_one_that_is_stopped_is_continued(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing started any more, not even a program without a user, and nothing said why."""
    assert edge.output("echo a", OWN) == ["a"]
    (one,) = spawners(edge)
    os.kill(one, signal.SIGSTOP)
    edge.until(lambda: is_stopped(one), "the stop")
    keys = []
    for user in (OWN, None):
        keys.append(edge.start("exit 3", user))
        requested(edge, keys[-1])
    edge.supervisor.check_keeper()
    assert [edge.heard(ProgramEnded, key).exit for key in keys] == [Exit(status=3)] * 2
    assert f"the spawner, process {one}, was continued, since a signal had stopped it" in caplog.text


def test_it_ends_with_the_keeper_and_its_programs_go_on(edge: Edge) -> None:
    key = edge.start("sleep 60", OWN)
    pid = edge.heard(ProgramStarted, key).process.pid
    (one,) = spawners(edge)
    os.kill(edge.process(), signal.SIGKILL)
    edge.until(lambda: not is_running(one), "its end")
    edge.until(lambda: edge.supervisor._processes[key].pidfd is not None, "the search for the program")
    edge.signal(key, signal.SIGTERM)
    assert edge.heard(ProgramEnded, key).exit == Exit()
    assert not is_running(pid)


# Each change is made to all spawners of a keeper. The mark says that a spawner was killed before.
KILLED_BEFORE = """
clone = spawner.Spawner.clone
def die(self):
    if not os.path.exists({mark!r}):
        open({mark!r}, "w").close()
        os.kill(os.getpid(), 9)
    return clone(self)
spawner.Spawner.clone = die
"""
KILLED_AFTER = """
clone = spawner.Spawner.clone
def die(self):
    if pid := clone(self):
        os.kill(os.getpid(), 9)
    return pid
spawner.Spawner.clone = die
"""
COPY_KILLED = """
def die(self, *_):
    os.kill(os.getpid(), 9)
spawner.Spawner.become_program = die
"""
ALWAYS_KILLED = "spawner.Spawner.clone = lambda self: os.kill(os.getpid(), 9)"
# As with a filter that hides clone3, and with one that hides clone too.
NO_CLONE3 = "spawner._CLONE3 = 0xFFFF"
NO_CLONE = "spawner._CLONE3, spawner._CLONE = 0xFFFF, {}"
# The keeper is killed as soon as it has forked the spawner, which has a request to read then.
ORPHAN = """
settle = spawner.Spawner.settle
def wait(self):
    select.select([self.channel], [], [])
    os.kill(self.keeper, 9)
    while os.getppid() == self.keeper:
        pass
    settle(self)
spawner.Spawner.settle = wait
"""


def test_a_request_is_made_again_if_nobody_has_answered(make: Make, tmp_path: Path) -> None:
    edge = make(patched(KILLED_BEFORE.format(mark=str(tmp_path / "mark"))))
    assert edge.output("echo a", OWN) == ["a"]
    assert (tmp_path / "mark").exists()


def test_no_request_is_made_again_if_a_copy_has_answered(make: Make) -> None:
    edge = make(patched(KILLED_AFTER))
    assert [edge.output(f"echo {number}", OWN) for number in range(5)] == [[str(number)] for number in range(5)]


def test_a_copy_that_was_killed_is_a_program_that_was_killed(make: Make) -> None:
    edge = make(patched(COPY_KILLED))
    assert edge.heard(ProgramEnded, edge.start("true", OWN)).exit == Exit(signal=signal.SIGKILL)


def test_a_start_whose_spawners_are_all_killed_can_be_retried(make: Make) -> None:
    edge = make(patched(ALWAYS_KILLED))
    event = edge.heard(ProgramNotStarted, edge.start("true", OWN))
    reason = "cannot start /bin/sh: the process that starts programs as other users was killed"
    assert (event.reason, event.exhausted) == (reason, True)


@pytest.mark.parametrize("change", [NO_CLONE3, NO_CLONE])
def test_a_system_without_the_call_starts_programs_too(make: Make, change: str) -> None:
    edge = make(patched(change))
    keys = [edge.start("echo $0; exit 3", OWN) for _ in range(3)]
    assert [edge.heard(ProgramEnded, key).exit for key in keys] == [Exit(status=3)] * 3
    assert edge.heard(ProgramNotStarted, edge.start("", OWN, argv=("/nonexistent",))).reason


def test_no_program_starts_after_the_end_of_the_keeper(make: Make, tmp_path: Path) -> None:
    edge = make(patched(ORPHAN))
    key = edge.start(f"touch {tmp_path}/begun", OWN)
    assert edge.heard(ProgramEnded, key).exit == Exit()
    assert not (tmp_path / "begun").exists()


def test_a_spawner_keeps_no_descriptor_of_the_keeper(edge: Edge) -> None:
    edge.output("true", OWN)
    (one,) = spawners(edge)
    targets = [str(path.readlink()) for path in Path(f"/proc/{one}/fd").iterdir()]
    assert sorted(target.partition(":")[0] for target in targets) == [
        "/dev/null",
        "/dev/null",
        "/memfd",
        "pipe",
        "socket",
    ]
    assert Path(f"/proc/{one}/cwd").readlink() == Path("/")


def test_a_long_request_is_passed_on(edge: Edge) -> None:
    """More than a message holds. Its descriptor is that of a file in memory."""
    env = tuple((f"LONG_{number}", "x" * 60_000) for number in range(4))
    key = edge.start("echo $LONG_0$LONG_3 | wc -c", OWN, env=env)
    assert edge.heard(ProgramEnded, key).output == b"120001\n"


def test_a_signal_before_the_copy_leads_its_group_is_not_lost(make: Make) -> None:
    """Also if only the group of the program is signalled, which does not exist yet."""
    edge = make(patched("setsid = os.setsid\nos.setsid = lambda: (select.select([], [], [], 0.5), setsid())"))
    key = AttemptKey(RunKey(1, 1), 1)
    start = StartProgram(
        key, ("/bin/sleep", "60"), (), "/", 0o022, 65_536, user=OWN, tree="group", kill_after_ms=60_000
    )
    edge.launcher.start(start)
    edge.heard(ProgramStarted, key)
    edge.signal(key, signal.SIGTERM)
    assert edge.heard(ProgramEnded, key).exit == Exit(signal=signal.SIGTERM)
