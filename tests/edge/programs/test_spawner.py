"""The spawner by itself: how a copy becomes another user, and what happens if the spawner or a copy is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from schedappliance.engine.attempts import Exit
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, ProgramStarted
from tests.edge.programs.test_keeper import run
from tests.edge.programs.test_launcher import NOBODY, OWN, Edge, as_root, edge, make, patch_spawner, spawners
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


def test_one_that_was_killed_is_started_again(edge: Edge) -> None:
    assert edge.output("echo a", OWN) == ["a"]
    (first,) = spawners(edge)
    os.kill(first, signal.SIGKILL)
    edge.until(lambda: not is_running(first), "its end")
    assert edge.output("echo b", OWN) == ["b"]
    assert spawners(edge) != [first]


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


KILLED_BEFORE = """
clone = spawner.Spawner.clone
def die(self):
    if not os.path.exists({mark!r}):
        open({mark!r}, "w").close()
        os.kill(os.getpid(), 9)
    return clone(self)
spawner.Spawner.clone = die
"""


def test_a_request_of_one_that_was_killed_is_made_again(edge: Edge, tmp_path: Path) -> None:
    patch_spawner(edge, KILLED_BEFORE.format(mark=str(tmp_path / "mark")))
    assert edge.output("echo a", OWN) == ["a"]
    assert (tmp_path / "mark").exists()


# The copy has answered: the program runs, and the keeper knows it.
KILLED_AFTER = """
clone = spawner.Spawner.clone
def die(self):
    if pid := clone(self):
        os.kill(os.getpid(), 9)
    return pid
spawner.Spawner.clone = die
"""


def test_no_program_runs_twice_if_it_was_killed_after_the_start(edge: Edge) -> None:
    patch_spawner(edge, KILLED_AFTER)
    assert [edge.output(f"echo {number}", OWN) for number in range(5)] == [[str(number)] for number in range(5)]


# The copy is killed before it has answered.
COPY_KILLED = """
live = spawner.Spawner.live
def die(self, *words):
    os.kill(os.getpid(), 9)
spawner.Spawner.live = die
"""


def test_a_copy_that_was_killed_is_a_program_that_was_killed(edge: Edge) -> None:
    patch_spawner(edge, COPY_KILLED)
    assert edge.heard(ProgramEnded, edge.start("true", OWN)).exit == Exit(signal=signal.SIGKILL)


ALWAYS_KILLED = "spawner.Spawner.clone = lambda self: os.kill(os.getpid(), 9)"


def test_a_start_that_is_killed_again_and_again_can_be_retried(edge: Edge) -> None:
    patch_spawner(edge, ALWAYS_KILLED)
    event = edge.heard(ProgramNotStarted, edge.start("true", OWN))
    assert (event.reason, event.exhausted) == ("cannot start /bin/sh: the spawner was killed", True)


# As in a container whose filter hides clone3.
NO_CLONE3 = "spawner._CLONE3 = 0xFFFF"


def test_a_system_without_clone3_uses_clone(edge: Edge) -> None:
    patch_spawner(edge, NO_CLONE3)
    assert edge.output("echo a", OWN) == ["a"]


def test_a_long_request_is_passed_on(edge: Edge) -> None:
    """More than a message holds. Its descriptor is that of a file in memory."""
    env = tuple((f"LONG_{number}", "x" * 60_000) for number in range(4))
    key = edge.start("echo $LONG_0$LONG_3 | wc -c", OWN, env=env)
    assert edge.heard(ProgramEnded, key).output == b"120001\n"
