"""Real programs write into the spool: each complete save is done once, and invalid entries delay no other file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually

SHM = Path("/dev/shm")
GOOD = 1000


def spool(daemon: Daemon) -> Path:
    return daemon.var / "spool"


def line(number: int) -> str:
    return f"sched in 90000 config set a {number}\n"


def done(daemon: Daemon) -> Counter[str]:
    """The commands that were scheduled from files, and how often."""
    return Counter(row[0] for row in daemon.rows("SELECT command FROM jobs WHERE origin = 'spool'"))


def answers(daemon: Daemon) -> Counter[tuple[str, int]]:
    return Counter(daemon.rows("SELECT name, accepted FROM drops"))


def do(*command: Path | str, stdin: str = "") -> None:
    """Runs a program, or skips the test if it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    ran = subprocess.run(
        [*map(str, command)], input=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr


def copied(source: Path, target: Path) -> None:
    do("cp", source, target)


def installed(source: Path, target: Path) -> None:
    do("install", "-m", "0640", source, target)


def moved_from_another_file_system(source: Path, target: Path) -> None:
    aside = SHM / f"schedappliance-{os.getpid()}.cmd"
    if not SHM.is_dir() or SHM.stat().st_dev == source.stat().st_dev:
        pytest.skip("there is no second file system")
    shutil.copy(source, aside)
    do("mv", aside, target)


def synchronised(source: Path, target: Path) -> None:
    do("rsync", "-a", source, target)


def synchronised_in_place(source: Path, target: Path) -> None:
    do("rsync", "-a", "--inplace", source, target)


def linked(source: Path, target: Path) -> None:
    aside = target.parent.parent / "tmp" / target.name
    shutil.copy(source, aside)
    do("ln", aside, target)
    aside.unlink()


def written_slowly(source: Path, target: Path) -> None:
    """Writes byte by byte, with a sync after each."""
    do("dd", f"if={source}", f"of={target}", "bs=1", "oflag=sync")


def redirected(source: Path, target: Path) -> None:
    do("sh", "-c", f"while read -r line; do echo \"$line\"; sleep 0.02; done < '{source}' > '{target}'")


def edited(source: Path, target: Path) -> None:
    do("ed", "-s", target, stdin=f"a\n{source.read_text()}.\nw\nq\n")


def edited_with_vim(source: Path, target: Path) -> None:
    do(shutil.which("vim") or "vim.tiny", "-u", "NONE", "-es", "-c", f"0r {source}", "-c", "wq!", target)


WAYS: list[Callable[[Path, Path], None]] = [
    *(copied, installed, moved_from_another_file_system, synchronised, synchronised_in_place, linked),
    *(written_slowly, redirected, edited, edited_with_vim),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_file_written_by_a_program_is_taken_whole_and_once(daemon: Daemon, way: Callable[[Path, Path], None]) -> None:
    """Saves twice under one name: each save is one drop."""
    daemon.start()
    for number in range(2):
        source = daemon.root / f"source-{number}"
        source.write_text(line(2 * number) + line(2 * number + 1))
        way(source, spool(daemon) / "new" / "a.cmd")
        wanted = Counter({f"config set a {n}": 1 for n in range(2 * number + 2)})
        eventually(lambda wanted=wanted: done(daemon) == wanted or daemon.ended(), f"save {number}")  # type: ignore[misc]
    eventually(lambda: not os.listdir(spool(daemon) / "work"), "an empty work/")
    assert answers(daemon) == {("a.cmd", 1): 2}
    daemon.assert_healthy()


def poison(daemon: Daemon) -> set[str]:
    """Makes one entry of each kind that is rejected; returns the names of their results."""
    new = spool(daemon) / "new"
    (new / "link.cmd").symlink_to("/etc/passwd")
    (new / "directory.cmd").mkdir()
    os.mkfifo(new / "fifo.cmd")
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(new, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/socket.cmd")
        os.close(directory)
    plain = {
        "empty.cmd": "",
        "large.cmd": "# x\n" * (300 * 1024),
        "binary.cmd": "version\0\n",
        "nonsense.cmd": "nonsense\n",
        "forbidden.cmd": "shutdown\n",
        "half.cmd": f"{line(10**6)}run nowhere\n",
        "noending": line(10**6),
        "a blank.cmd": line(10**6),
    }
    for name, text in plain.items():
        daemon.drop(name, text)
    if os.geteuid() == 0:
        os.mknod(new / "device.cmd", 0o600 | 0o020000, os.makedev(1, 8))
    bad = {"noending": "noending~refused", "a blank.cmd": "a_blank.cmd~refused"}
    devices = {"device.cmd"} if os.geteuid() == 0 else set()
    return {bad.get(name, name) for name in plain} | {"link.cmd", "directory.cmd", "fifo.cmd", "socket.cmd"} | devices


def test_invalid_entries_among_a_thousand_files_are_answered_and_delay_none(daemon: Daemon) -> None:
    daemon.start()
    for number in range(GOOD // 2):
        daemon.drop(f"{number:04}.cmd", line(number))
    bad = poison(daemon)
    for number in range(GOOD // 2, GOOD):
        daemon.drop(f"{number:04}.cmd", line(number))
    eventually(lambda: sum(answers(daemon).values()) == GOOD + len(bad) or daemon.ended(), "all answers", 120)
    assert answers(daemon) == {**{(f"{n:04}.cmd", 1): 1 for n in range(GOOD)}, **{(name, 0): 1 for name in bad}}
    assert done(daemon) == {f"config set a {n}": 1 for n in range(GOOD)}
    eventually(lambda: not os.listdir(spool(daemon) / "work"), "an empty work/")
    assert os.listdir(spool(daemon) / "new") == []
    for name in bad:
        assert daemon.result(name, "failed")["diagnostics"][0]["help"], name
        assert "failed" in daemon.say(f"spool why {name}")
    assert daemon.data("summary")["spool_failed"] == len(bad)
    daemon.assert_healthy()


def test_spool_retry_takes_a_failed_file_again(daemon: Daemon) -> None:
    daemon.start()
    daemon.drop("late.cmd", "run later\n")
    daemon.result("late.cmd", "failed")
    eventually(lambda: (spool(daemon) / "failed" / "late.cmd").exists())
    with daemon.conf.open("a") as file:
        file.write('program "later" { argv = ( "/bin/echo" ) }\n')
    daemon.say("config reload")
    assert daemon.say("spool retry late") == "late.cmd is retried\n"
    assert daemon.result("late.cmd", "done")["accepted"]
    eventually(lambda: os.listdir(spool(daemon) / "failed") == [], "an empty failed/")
    assert daemon.say("spool retry late").startswith("error: late.cmd was accepted at ")
    assert [row["state"] for row in daemon.data("spool why late")] == ["done", "failed"]


def test_files_that_are_being_written_are_listed(daemon: Daemon) -> None:
    daemon.start()
    eventually(lambda: daemon.data("summary")["spool_waiting"] == 0, "the first look")
    with (spool(daemon) / "new" / "slow.cmd").open("w"):
        eventually(lambda: daemon.data("summary")["spool_waiting"] == 1, "a file that waits")
        assert daemon.data("spool list")[0]["answer"] == "is being written"
        (spool(daemon) / "new" / ".hidden").touch()
        eventually(lambda: daemon.data("summary")["spool_in_progress"] == 1, "work in progress")
    daemon.result("slow.cmd", "failed")


def test_the_limits_are_those_of_the_appliance_file(tmp_path: Path) -> None:
    daemon = Daemon(
        tmp_path, appliance=APPLIANCE_FILE.replace("../var/spool", "../var/spool, max_bytes: 100, keep_results: 3")
    )
    try:
        daemon.start()
        daemon.drop("large.cmd", "# x\n" * 26 + "version\n")
        assert "at most 100 bytes" in daemon.result("large.cmd", "failed")["diagnostics"][0]["help"]
        for number in range(10):
            daemon.drop(f"{number}.cmd", line(number))
            daemon.result(f"{number}.cmd", "done")
        eventually(lambda: len(os.listdir(spool(daemon) / "done")) == 6, "three files with their results")
        assert os.listdir(spool(daemon) / "failed") == []
    finally:
        daemon.end()


def test_files_dropped_one_after_the_other_do_not_wait_for_a_poll(daemon: Daemon) -> None:
    """Even on a busy machine, they take far less than one audit poll each."""
    daemon.start()
    for number in range(60):
        daemon.drop(f"{number}.cmd", line(number))
        daemon.result(f"{number}.cmd", "done")
    daemon.assert_healthy()
