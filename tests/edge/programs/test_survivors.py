"""Process groups: which members are alive. The boot id, and survivors of a boot whose id was hidden."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from schedappliance.edge.programs.keeper_files import ENDS
from schedappliance.edge.programs.survivors import (
    boot_id,
    clock_offset,
    find_survivors,
    in_group,
    keepers_of,
    start_ticks,
)
from schedappliance.engine.attempts import Exit
from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from schedappliance.store.runs import Attempt
from tests.support.waiting import eventually


def test_in_group_lists_living_members_without_zombies() -> None:
    script = "sleep 3600 & echo $!; wait"
    leader = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert leader.stdout
        child = int(leader.stdout.readline())
        assert sorted(in_group(leader.pid)) == sorted([leader.pid, child])
        leader.kill()
        eventually(lambda: in_group(leader.pid) == [child], "the zombie")
        assert os.getpgid(leader.pid) == leader.pid, "a zombie has its group"
    finally:
        os.killpg(leader.pid, signal.SIGKILL)
        leader.communicate()
    eventually(lambda: in_group(leader.pid) == [], "the end of the group")


ID = "3f1c1f9e-0000-4000-8000-000000000001"


def test_the_boot_id_of_this_machine_is_shown_or_hidden() -> None:
    assert len(boot_id()) in (0, len(ID))


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda path: path.write_text(f"{ID}\n"), ID),
        (Path.absolute, ""),
        (Path.touch, ""),
        (Path.mkdir, ""),
        (os.mkfifo, ""),
        (lambda path: path.symlink_to("/dev/null"), ""),
        (lambda path: path.symlink_to("/dev/zero"), ""),
        (lambda path: path.write_text("none\n"), ""),
        (lambda path: path.write_bytes(b"\xff" * len(ID)), ""),
    ],
    ids=["shown", "missing", "empty", "directory", "FIFO", "null", "zero", "text", "bytes"],
)
def test_anything_else_than_an_id_is_a_hidden_boot_id(
    tmp_path: Path, make: Callable[[Path], object], shown: str
) -> None:
    """A FIFO does not block it."""
    make(tmp_path / "boot_id")
    assert boot_id(tmp_path / "boot_id") == shown


@pytest.mark.parametrize(
    ("recorded", "writes", "is_found"),
    [
        ("this", False, True),
        ("former", False, True),
        ("unknown-1", True, True),
        ("unknown-1", False, False),
        ("other", True, False),
    ],
)
def test_a_process_of_an_unknown_boot_must_write_to_the_output_of_its_run(
    recorded: str, writes: bool, is_found: bool
) -> None:
    key, process = AttemptKey(RunKey(1, 1), 1), ProcessKey(os.getpid(), start_ticks(os.getpid()))
    attempt = Attempt(
        key, "p", "started", None, process, recorded, 0, 0, None, Exit(None, None), False, None, None, None
    )
    boot = ThisBoot("this", has_ticked=True, former="former")
    survivors = find_survivors(
        [attempt], "n", "identity", boot, lambda _key, _pid, must_write: writes or not must_write
    )
    assert survivors == ({key: process} if is_found else {})


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("monotonic           0         0\nboottime            0         0\n", ""),
        ("monotonic          -5         0\nboottime       100000 500000000\n", "+100000.500000000"),
        ("monotonic           0         0\nboottime           -3         0\n", "+-3.000000000"),
        ("nonsense\n", ""),
        (None, ""),
    ],
)
def test_a_time_namespace_has_boots_of_its_own(tmp_path: Path, text: str | None, offset: str) -> None:
    if text is not None:
        (tmp_path / "offsets").write_text(text)
    assert clock_offset(tmp_path / "offsets") == offset


PARTS = "spawner=5,keeper_files=6"


@pytest.mark.parametrize(
    ("words", "output", "user", "is_keeper"),
    [
        (("cat", "-", PARTS, "{}"), f"moved/{ENDS}", None, True),
        (("cat", "-", PARTS, "{}"), f"open/{ENDS}", None, False),
        (("cat", "-", PARTS, "{}"), ENDS, None, True),
        (("cat", "-", PARTS, "{}"), "other", None, False),
        (("cat", "-", PARTS, "{}"), ENDS, 65534, False),
        (("cat", "-", PARTS, "{}/more"), ENDS, None, False),
        (("cat", "-", PARTS, "/gone{}"), ENDS, None, True),
        (("cat", "-", "spawner=5", "{}"), ENDS, None, False),
        (("{}",), ENDS, None, False),
    ],
    ids=[
        "a moved file",
        "a file for others",
        "a keeper",
        "another output",
        "another user",
        "another directory",
        "a renamed directory",
        "an earlier version",
        "one word",
    ],
)
def test_a_keeper_is_known_by_what_nobody_else_can_have(
    tmp_path: Path, words: tuple[str, ...], output: str, user: int | None, is_keeper: bool
) -> None:
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root may start a process of another user")
    (tmp_path / output).parent.mkdir(exist_ok=True)
    with (tmp_path / output).open("wb") as file:
        os.fchmod(file.fileno(), 0o644 if output.startswith("open") else 0o600)
        arguments = [word.format(tmp_path) for word in words]
        process = subprocess.Popen(
            arguments,
            executable="/bin/cat",
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=user,
        )
    try:
        # The kernel sets the arguments a moment after it has told Popen of the exec.
        eventually(Path(f"/proc/{process.pid}/cmdline").read_bytes, "the arguments")
        assert keepers_of(tmp_path) == [process.pid] * is_keeper
    finally:
        process.communicate()
