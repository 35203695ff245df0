"""Claiming and publishing in a real directory with a manual clock."""

from __future__ import annotations

import errno
import fcntl
import grp
import json
import logging
import os
import signal
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schedappliance.clock import ManualClock
from schedappliance.diagnostics import Unusable
from schedappliance.edge.spool import choosing, claiming, entries, reading
from schedappliance.edge.spool.claiming import BATCH, Claimer
from schedappliance.edge.spool.folders import SHARED, folder_problem, make_folders, missing_folders
from schedappliance.edge.spool.publishing import Publisher
from schedappliance.edge.users import group_number
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.events import DropClaimed
from schedappliance.engine.intake import GIVEN_UP_MS, MOST_NAMED, MOST_OPEN, SETTLED_MS, WRITTEN_MS, Keep, Rules
from schedappliance.engine.records import KnownUser

LINE = "sched in 900 version\n"
HOUR = 3_600_000
# A user whose only group is the group of the shared spools here.
NOBODY = 65534
NOGROUP = grp.getgrgid(NOBODY).gr_name


class Directory:
    """A spool with its claimer, which runs on the thread of the test."""

    def __init__(self, path: Path, group: str | None = None, max_waiting: int = 10_000) -> None:
        self.path = path
        self.new, self.work = path / "new", path / "work"
        self.clock = ManualClock(1_700_000_000_000, boot=1000)
        self.log = logging.getLogger("test.spool")
        self.rules = Rules(os.geteuid(), group_number(group, "") if group else None, 1000, max_waiting)
        self.restart()

    def restart(self, last_mark: str | None = None) -> None:
        self.claimer = Claimer(self.path, self.rules, self.log)
        self.claimer.resume(last_mark)

    def write(self, name: str, text: str = LINE) -> Path:
        path = self.new / name
        path.write_text(text)
        return path

    def look(self, after_ms: int = 0) -> list[DropClaimed]:
        self.clock.advance(after_ms)
        return self.claimer.look(self.clock.moment())

    def claimed_names(self, after_ms: int = 0) -> list[str]:
        """The names of the claimed files without a mistake."""
        return [drop.name for drop in self.look(after_ms) if not drop.mistakes]

    def rejections(self, after_ms: int = 0) -> dict[str, str]:
        return {drop.name: drop.mistakes[0].message for drop in self.look(after_ms) if drop.mistakes}

    def next_look(self) -> int | None:
        """Milliseconds until the next look; None if only an event causes one."""
        at = self.claimer.next_look(self.clock.moment())
        return None if at is None else at - self.clock.moment().boot


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(made(tmp_path / "spool"))


def made(path: Path, group: str | None = None) -> Path:
    path.mkdir()
    make_folders(path, group)
    return path


@pytest.fixture
def without_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for files of other users, or on a file system without leases."""
    for module in (choosing, reading):
        monkeypatch.setattr(module, "writer_of", lambda _descriptor: None)


def later(path: Path, than: Path) -> None:
    """Renames a file into new/ until it arrives there later than another file by the clock of the file system."""
    aside = path.parent.parent / "tmp" / path.name
    while path.stat().st_ctime_ns <= than.stat().st_ctime_ns:
        path.rename(aside)
        aside.rename(path)


def test_files_are_claimed_in_the_order_of_their_arrival(directory: Directory) -> None:
    """Whatever their names, and whenever they were written: the last command has to win."""
    b, c, a = (directory.write(f"{name}.cmd") for name in "bca")
    later(c, b)
    later(a, c)
    drops = directory.look()
    assert [drop.mark for drop in drops] == [f"{n:012d}~{name}.cmd" for n, name in enumerate("bca", 1)]
    assert sorted(os.listdir(directory.work)) == [drop.mark for drop in drops]
    assert {drop.user.uid for drop in drops} == {os.geteuid()}
    assert (os.listdir(directory.new), directory.look(), directory.next_look()) == ([], [], None)


def test_files_that_arrive_in_one_instant_are_claimed_in_the_order_of_their_names(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "_arrival", lambda file: (7, file.name))
    for name in "bca":
        directory.write(f"{name}.cmd")
    assert directory.claimed_names() == ["a.cmd", "b.cmd", "c.cmd"]


def test_the_time_of_arrival_is_that_of_the_file_not_of_its_claim(directory: Directory) -> None:
    arrived_ms = directory.write("a.cmd").stat().st_ctime_ns // 1_000_000
    (drop,) = directory.look(HOUR)
    assert drop.arrived_ms == arrived_ms


def test_numbering_continues_after_a_restart(directory: Directory) -> None:
    (directory.work / "000000000007~a.cmd").write_text(LINE)
    (directory.path / "failed" / "000000000009~b").write_text(LINE)
    directory.restart("000000000008~c.cmd")
    directory.write("d.cmd")
    assert [drop.mark for drop in directory.look()] == ["000000000007~a.cmd", "000000000010~d.cmd"]


def test_a_file_that_is_open_for_writing_is_taken_when_it_is_closed(directory: Directory) -> None:
    with (directory.new / "a.cmd").open("w") as file:
        assert directory.claimed_names() == []
        file.write(LINE[:7])
        file.flush()
        assert directory.claimed_names(HOUR // 2) == []
        file.write(LINE[7:])
    assert directory.claimed_names() == ["a.cmd"]


def test_a_writer_that_opened_the_file_before_its_claim_is_waited_for(directory: Directory) -> None:
    with directory.write("a.cmd").open("a") as file:
        (directory.new / "a.cmd").rename(directory.work / "000000000001~a.cmd")
        directory.restart()
        assert directory.claimed_names() == []
        assert directory.next_look() == SETTLED_MS
        file.write(LINE)
    (drop,) = directory.look(SETTLED_MS)
    assert len(drop.lines) == 2


def claimed_and_open(directory: Directory, stack: ExitStack, count: int) -> None:
    """Claimed files of one owner that stay open for writing."""
    for number in range(1, count + 1):
        path = directory.work / f"{number:012d}~{number:04}.cmd"
        path.write_text(LINE)
        stack.enter_context(path.open("a"))
    directory.restart()


def test_claimed_files_that_stay_open_do_not_block_others(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, they take no place in the batch. Only a few of each owner are waited for."""
    monkeypatch.setattr(claiming, "BATCH", 5)
    with ExitStack() as stack:
        claimed_and_open(directory, stack, MOST_OPEN + 3)
        directory.write("a.cmd")
        rejections = [drop.name for _ in range(5) for drop in directory.look() if drop.mistakes]
        assert rejections == [f"{number:04}.cmd" for number in range(MOST_OPEN + 1, MOST_OPEN + 4)]
        assert os.listdir(directory.new) == []
        backlog = directory.claimer.backlog()
        assert (backlog.waiting, len(backlog.held)) == (MOST_OPEN, MOST_OPEN)
        assert {held.why for held in backlog.held} == {"is being written"}
        assert directory.next_look() == SETTLED_MS


def test_a_claimed_file_that_stays_open_is_rejected_after_a_minute(directory: Directory) -> None:
    with ExitStack() as stack:
        claimed_and_open(directory, stack, 2)
        directory.write("a.cmd")
        assert directory.claimed_names() == ["a.cmd"]
        assert directory.look(GIVEN_UP_MS - 1) == []
        message = "a process has the file open for writing"
        assert directory.rejections(1) == {"0001.cmd": message, "0002.cmd": message}
        assert directory.claimer.backlog().waiting == 0


@pytest.fixture
def without_sigio() -> Iterator[None]:
    """A holder of a lease gets SIGIO when somebody opens the file."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


@pytest.mark.usefixtures("without_sigio")
def test_a_write_lease_counts_as_a_writer(directory: Directory) -> None:
    """Opening such a file would block until its owner gives up the lease."""
    with directory.write("a.cmd").open("r+") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert directory.claimed_names() == []
        assert [held.why for held in directory.claimer.backlog().held] == ["is being written"]
        (directory.new / "a.cmd").rename(directory.work / "000000000001~a.cmd")
        directory.restart()
        assert directory.claimed_names() == []
        assert [held.why for held in directory.claimer.backlog().held] == ["is being written"]
    assert directory.claimed_names() == ["a.cmd"]


def test_a_file_just_written_in_new_may_still_change_its_mode(directory: Directory) -> None:
    """`install` closes the file, then changes its mode by name; that would fail after a claim."""
    closed = [{"a.cmd"}]
    directory.claimer.closed = lambda: closed.pop() if closed else set()
    directory.write("a.cmd")
    directory.write("moved.cmd")
    assert directory.claimed_names() == ["moved.cmd"]
    assert [held.why for held in directory.claimer.backlog().held] == ["was written just now"]
    assert directory.next_look() == WRITTEN_MS
    assert directory.claimed_names(WRITTEN_MS - 1) == []
    assert directory.next_look() == 1
    closed.append({"a.cmd"})
    assert directory.claimed_names(1) == [], "the file was written again"
    assert directory.claimed_names(WRITTEN_MS) == ["a.cmd"]


@pytest.mark.usefixtures("without_leases")
def test_without_leases_a_file_must_not_change_for_two_seconds(directory: Directory) -> None:
    path = directory.write("a.cmd")
    assert directory.claimed_names() == []
    assert directory.next_look() == SETTLED_MS
    with path.open("a") as file:
        file.write(LINE)
    assert directory.claimed_names(SETTLED_MS) == [], "the file has just changed"
    assert directory.claimed_names(SETTLED_MS - 1) == []
    assert directory.claimed_names(1) == ["a.cmd"]


@pytest.mark.usefixtures("without_leases")
def test_without_leases_a_text_without_a_last_newline_is_rejected_after_a_minute(directory: Directory) -> None:
    directory.write("a.cmd", LINE.rstrip())
    assert (directory.look(), directory.look(SETTLED_MS)) == ([], [])
    assert directory.next_look() == GIVEN_UP_MS - SETTLED_MS
    assert directory.rejections(GIVEN_UP_MS - SETTLED_MS) == {"a.cmd": "the last line does not end in a newline"}


def poison(directory: Directory) -> dict[str, str]:
    """One file of each kind that is rejected, with the name that it gets."""
    new = directory.new
    (new / "link.cmd").symlink_to("/etc/passwd")
    (new / "dangling.cmd").symlink_to("nowhere")
    os.mkfifo(new / "fifo.cmd")
    (new / "directory.cmd").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(new / "socket.cmd"))
    if os.geteuid() == 0:
        os.mknod(new / "device.cmd", 0o600 | 0o020000, os.makedev(1, 8))
    for name in ("empty.cmd", "large.cmd", "noending", "bad name.cmd", "-dash.cmd"):
        directory.write(name, "" if name == "empty.cmd" else "# x\n" * 300 if name == "large.cmd" else LINE)
    kinds = {name: name for name in os.listdir(new) if name.endswith(".cmd") and name[0] != "-" and " " not in name}
    return {
        **kinds,
        "noending": "noending~refused",
        "bad name.cmd": "bad_name.cmd~refused",
        "-dash.cmd": "-dash.cmd~refused",
    }


def test_poison_is_rejected_when_it_has_settled_and_delays_no_other_file(directory: Directory) -> None:
    poisoned = poison(directory)
    assert len(poisoned) >= 10
    directory.write("good.cmd")
    assert directory.claimed_names() == ["good.cmd"]
    assert directory.look(SETTLED_MS - 1) == []
    assert {held.name for held in directory.claimer.backlog().held} == set(poisoned)
    assert directory.rejections(1).keys() == set(poisoned.values())
    assert os.listdir(directory.new) == []


def test_poison_that_was_claimed_before_a_crash_is_rejected_again(directory: Directory) -> None:
    poisoned = poison(directory)
    directory.look()
    first = directory.rejections(SETTLED_MS)
    directory.restart()
    assert directory.rejections().keys() == first.keys() == set(poisoned.values())


def test_a_file_that_becomes_valid_before_it_has_settled_is_claimed(directory: Directory) -> None:
    empty = directory.write("empty.cmd", "")
    directory.write("right").rename(directory.new / "right.cmd")
    directory.write("wrong")
    assert directory.claimed_names() == ["right.cmd"]
    empty.write_text(LINE)
    (directory.new / "wrong").unlink()
    assert directory.claimed_names(SETTLED_MS) == ["empty.cmd"]
    assert directory.rejections(SETTLED_MS) == {}
    assert directory.next_look() is None


def test_work_in_progress_is_counted_and_warned_about_once(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    names = [".a.cmd", "a.cmd~", "#a.cmd#", "a.tmp"]
    for name in names:
        directory.write(name)
    assert directory.look() == []
    waiting = directory.claimer.backlog()
    assert (waiting.waiting, waiting.in_progress, waiting.held, directory.next_look()) == (0, 4, (), None)
    assert {one.name for one in waiting.unfinished} == set(names)
    assert {one.why for one in waiting.unfinished} == {"is ignored, since its name means work in progress"}
    directory.look(HOUR - 1)
    assert caplog.messages == []
    directory.look(1)
    directory.look(HOUR)
    assert len(caplog.messages) == 4 and all("for an hour" in message for message in caplog.messages)
    assert sorted(os.listdir(directory.new)) == sorted(names)


def test_nothing_is_asked_about_much_work_in_progress(
    directory: Directory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member of a shared spool delayed all drops by thousands of such files."""
    for number in range(MOST_NAMED + 20):
        directory.write(f".{number}")
    directory.write("a.cmd")
    asked: list[str] = []

    def arrival(file: os.DirEntry[str]) -> tuple[int, str]:
        asked.append(file.name)
        return 0, file.name

    monkeypatch.setattr(choosing, "_arrival", arrival)
    assert directory.claimed_names() == ["a.cmd"]
    assert asked == ["a.cmd"]
    directory.look(HOUR)
    assert caplog.messages[MOST_NAMED:] == ["spool: 20 more files in new/ have been waiting for an hour"]


def test_work_in_progress_counts_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 450,000 such files of one member, everybody's drops took up to 26 seconds, and the daemon grew by 150 MB."""
    monkeypatch.setattr(choosing, "MOST_REMEMBERED", 2)
    monkeypatch.setattr(choosing, "MOST_SURPLUS", 3)
    directory = Directory(made(tmp_path / "spool"), max_waiting=5)
    names = [f".{number}" for number in range(11)]
    for name in names:
        directory.write(name)
    (directory.new / ".d").mkdir()
    directory.write("a.cmd")
    message = "5 other files of this owner were waiting"
    rejected = {drop.name: drop.mistakes[0].message for drop in directory.look()}
    assert rejected.pop("a.cmd") == message
    assert (len(rejected), set(rejected.values())) == (3, {message}), "a few at a time"
    assert len(directory.rejections()) == 3
    assert len(directory.rejections()) == 1
    assert (directory.rejections(), directory.claimer.backlog().in_progress) == ({}, 5)
    assert len(directory.claimer._chooser._in_progress.first) <= 4
    for name in os.listdir(directory.new)[1:]:
        (directory.new / name).rename(directory.path / "tmp" / name)
    directory.write("b.cmd")
    assert directory.claimed_names() == ["b.cmd"]


def test_work_in_progress_of_one_owner_does_not_reject_the_drops_of_others(shared: Directory) -> None:
    shared.claimer._chooser.rules = replace(shared.rules, max_waiting=5)
    for number in range(9):
        os.chown(shared.write(f".{number}"), NOBODY, -1)
    os.chown(shared.write("a.cmd"), 1, -1)
    drops = shared.look()
    shared.write(".new")
    drops += shared.look(SETTLED_MS)
    assert Counter(drop.user.uid for drop in drops) == {1: 1, NOBODY: 4}
    assert [drop.mistakes[0].message for drop in drops if drop.name == "a.cmd"] != [
        "5 other files of this owner were waiting"
    ]
    assert shared.claimer.backlog().in_progress == 6


def test_one_listing_keeps_few_names_and_the_oldest(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST_LISTED", 3)
    monkeypatch.setattr(choosing, "_arrival", lambda file: (int(file.name.partition(".")[0]), file.name))
    names = [f"{number}.cmd" for number in range(10)]
    for name in names:
        directory.write(name)
    claimed: list[str] = []
    for _ in range(4):
        claimed += directory.claimed_names()
    assert claimed == names


@pytest.mark.parametrize("call", ["scandir", "lstat"])
def test_a_look_that_fails_is_repeated_soon(directory: Directory, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """When a shortage of descriptors was over, drops waited for the next audit."""
    directory.write("a.cmd")

    def no_descriptor(_path: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, no_descriptor)
        assert directory.look() == []
        assert directory.next_look() == SETTLED_MS
    assert directory.claimed_names(SETTLED_MS) == ["a.cmd"]
    assert directory.next_look() is None


def test_a_look_claims_one_batch_and_does_not_list_the_rest_again(directory: Directory) -> None:
    for number in range(BATCH + 20):
        directory.write(f"{number:05}.cmd")
    assert len(directory.look()) == BATCH
    assert directory.claimer.has_more
    (directory.new / f"{BATCH + 5:05}.cmd").unlink()
    directory.write("00000.cmd")
    assert directory.claimed_names() == [f"{n:05}.cmd" for n in range(BATCH, BATCH + 20) if n != BATCH + 5]
    assert directory.claimed_names() == ["00000.cmd"], "the next list shows new files"


def test_the_files_of_an_owner_above_the_limit_are_rejected(tmp_path: Path) -> None:
    directory = Directory(made(tmp_path / "spool"), max_waiting=3)
    for number in range(5):
        directory.write(f"{number}.cmd")
    drops = directory.look()
    assert [(drop.name, len(drop.mistakes)) for drop in drops] == [(f"{n}.cmd", int(n >= 3)) for n in range(5)]
    directory.write("5.cmd")
    assert directory.claimed_names() == ["5.cmd"]


def test_a_claim_that_cannot_be_synced_is_not_read(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path, _flags: int) -> None:
        raise OSError(5, "Input/output error")

    directory.write("a.cmd")
    with monkeypatch.context() as broken:
        broken.setattr(claiming, "fsync_path", fail)
        assert (directory.look(), directory.look()) == ([], [])
        assert directory.next_look() == SETTLED_MS
        (held,) = directory.claimer.backlog().held
        assert (held.name, held.why) == (
            "a.cmd",
            "cannot be read before its name is on the disk: Input/output error",
        )
        trouble = f"no drop is taken: {directory.path} cannot be synced: Input/output error"
        assert directory.claimer.trouble == trouble
    assert directory.claimed_names() == ["a.cmd"]
    assert directory.claimer.trouble is None


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (errno.EROFS, "no drop is taken: files in {0}/new cannot be moved to {0}/work: Read-only file system"),
        (errno.ENOSPC, "no drop is taken: files in {0}/new cannot be moved to {0}/work: No space left on device"),
        # Only this file cannot be moved, or its owner has removed it.
        (errno.EPERM, None),
        (errno.ENOENT, None),
    ],
)
def test_a_claim_that_fails_for_every_file_is_a_trouble(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, number: int, trouble: str | None
) -> None:
    def fail(_source: str, _target: str) -> None:
        raise OSError(number, os.strerror(number))

    directory.write("a.cmd")
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", fail)
        assert directory.look() == []
        assert directory.claimer.trouble == (trouble.format(directory.path) if trouble else None)
        assert directory.next_look() == SETTLED_MS
    assert directory.claimed_names(SETTLED_MS) == ["a.cmd"]
    assert directory.claimer.trouble is None


@pytest.mark.parametrize("is_writable", [False, True])
def test_an_error_of_permissions_is_a_trouble_if_the_directory_cannot_be_written(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    """A user may drop a directory that another user cannot move."""

    def fail(_source: str, _target: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    directory.write("a.cmd")
    monkeypatch.setattr(os, "access", lambda _path, _mode: is_writable)
    monkeypatch.setattr(os, "rename", fail)
    assert directory.look() == []
    assert (directory.claimer.trouble is None) == is_writable


def test_a_listing_that_fails_is_a_trouble(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "scandir", fail)
        directory.look()
        assert directory.claimer.trouble == f"no drop is taken: {directory.new} cannot be read: Input/output error"
    directory.look()
    assert directory.claimer.trouble is None


def published(drop: DropClaimed, accepted: bool = False) -> PublishResult:
    return PublishResult(drop.mark, drop.name, accepted, json.dumps({"file": drop.name}))


@pytest.fixture
def publisher(directory: Directory) -> Publisher:
    return Publisher(directory.path, False, Keep(), directory.log)


def now_ms(directory: Directory) -> int:
    return (directory.path / "done").stat().st_ctime_ns // 1_000_000


def test_a_failed_file_is_put_back_under_a_new_number(directory: Directory, publisher: Publisher) -> None:
    directory.write("a.cmd", "nonsense\n")
    (drop,) = directory.look()
    publisher.publish([published(drop)], now_ms(directory))
    assert sorted(os.listdir(directory.path / "failed")) == ["a.cmd", "a.result"]
    assert directory.claimer.put_back("a.cmd", os.geteuid()) is None
    (again,) = directory.look()
    assert (again.mark, again.name) == ("000000000002~a.cmd", "a.cmd")
    publisher.publish([published(again, accepted=True)], now_ms(directory))
    assert os.listdir(directory.path / "failed") == []
    assert sorted(os.listdir(directory.path / "done")) == ["a.cmd", "a.result"]
    assert directory.claimer.put_back("a.cmd", os.geteuid()) == "its file was removed"


def test_a_file_that_was_put_back_survives_a_crash(directory: Directory, publisher: Publisher) -> None:
    directory.write("a.cmd", "nonsense\n")
    (drop,) = directory.look()
    publisher.publish([published(drop)], now_ms(directory))
    assert directory.claimer.put_back("a.cmd", os.geteuid()) is None
    directory.restart("000000000001~a.cmd")
    assert [drop.mark for drop in directory.look()] == ["000000000002~a.cmd"]


def test_a_result_that_cannot_be_written_is_written_later(
    directory: Directory, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    directory.write("a.cmd")
    (drop,) = directory.look()
    (directory.path / "done").rename(directory.path / "away")
    for _ in range(3):
        publisher.publish([published(drop, accepted=True)], 0)
    assert len([message for message in caplog.messages if "a.cmd" in message]) == 1
    assert os.listdir(directory.work) == [drop.mark]
    (directory.path / "away").rename(directory.path / "done")
    publisher.publish([], now_ms(directory))
    assert sorted(os.listdir(directory.path / "done")) == ["a.cmd", "a.result"]
    assert os.listdir(directory.work) == []


def test_a_disk_without_room_for_results_is_a_trouble(
    directory: Directory, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write("a.cmd")
    (drop,) = directory.look()

    def fail(_source: str, _target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", fail)
        publisher.publish([published(drop, accepted=True)], 0)
        trouble = f"no result is published: {directory.path}/done cannot be written: No space left on device"
        assert publisher.trouble == trouble
    publisher.publish([], now_ms(directory))
    assert publisher.trouble is None
    assert sorted(os.listdir(directory.path / "done")) == ["a.cmd", "a.result"]


def rejected_directory(directory: Directory, publisher: Publisher) -> Path:
    """Rejects the directory new/a.cmd; returns its place in failed/."""
    (drop,) = directory.look() or directory.look(SETTLED_MS)
    publisher.publish([published(drop)], now_ms(directory))
    assert sorted(os.listdir(directory.path / "failed")) == sorted([drop.mark, "a.result"])
    return directory.path / "failed" / drop.mark


def remaining(directory: Directory, publisher: Publisher) -> list[str]:
    """The names in failed/ that stay after the files of an hour have become too old."""
    for _ in range(10):
        publisher.prune(now_ms(directory) + 2 * HOUR)
    return os.listdir(directory.path / "failed")


@pytest.fixture
def hourly(directory: Directory) -> Publisher:
    return Publisher(directory.path, False, Keep(age_ms=HOUR), directory.log)


def test_a_rejected_directory_is_removed_as_files_are(directory: Directory, hourly: Publisher) -> None:
    inside = directory.new / "a.cmd"
    (inside / "b" / "c" / "d").mkdir(parents=True)
    (inside / "b" / "c" / "file").write_text(LINE)
    (inside / "link").symlink_to(directory.path / "done")
    (inside / "b" / "c").chmod(0o500)
    for number in range(500):
        (inside / f"{number}").touch()
    other = directory.path / "done" / "other.cmd"
    other.write_text(LINE)
    path = rejected_directory(directory, hourly)
    hourly.prune(now_ms(directory))
    assert (path / "b" / "c" / "file").exists(), "it is not old yet"
    (path / "new").touch()
    assert remaining(directory, hourly) == []
    assert other.exists()


@pytest.mark.slow
def test_a_directory_of_any_depth_is_removed(directory: Directory, hourly: Publisher) -> None:
    (directory.new / "a.cmd").mkdir()
    inside = os.open(directory.new / "a.cmd", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=inside)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = deeper
    os.close(inside)
    rejected_directory(directory, hourly)
    assert remaining(directory, hourly) == []


def test_a_deep_directory_keeps_neither_files_nor_directories_of_others(directory: Directory) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    publisher = Publisher(directory.path, True, Keep(age_ms=HOUR), directory.log)
    failed = directory.path / "failed"
    deep = Path(*("d" for _ in range(400)))
    for owner, inside in ((1000, deep), (1001, Path("a/b"))):
        rejected = failed / f"{owner:012}~{owner}"
        (rejected / inside).mkdir(parents=True)
        for path in (rejected, *rejected.rglob("*")):
            os.chown(path, owner, -1)
    (failed / "1001~x.cmd").touch()
    publisher.list_published()
    publisher.prune(now_ms(directory) + 2 * HOUR)
    (left,) = os.listdir(failed)
    assert (failed / left).stat().st_uid == 1000
    assert remaining(directory, publisher) == []


def test_a_file_that_cannot_be_removed_keeps_no_others(
    directory: Directory, hourly: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may have removed it meanwhile, or made it immutable."""
    inside = directory.new / "a.cmd"
    for number in range(5):
        (inside / f"{number}" / "deep").mkdir(parents=True)
    (inside / "stays").touch()
    path = rejected_directory(directory, hourly)
    unlink = os.unlink

    def refuse(name: str, *arguments: Any, **options: Any) -> None:
        if name == "stays":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert remaining(directory, hourly) == [path.name]
    assert os.listdir(path) == ["stays"]


def test_files_of_other_users_in_a_rejected_directory_stay(directory: Directory, hourly: Publisher) -> None:
    """The owner of the directory may move them there, but may not remove them."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (directory.new / "a.cmd").mkdir()
    (directory.new / "a.cmd" / "own").touch()
    (directory.new / "a.cmd" / "others").mkdir()
    (directory.new / "a.cmd" / "others" / "file").touch()
    os.chown(directory.new / "a.cmd" / "others", NOBODY, -1)
    path = rejected_directory(directory, hourly)
    assert remaining(directory, hourly) == [path.name]
    assert [os.listdir(path), os.listdir(path / "others")] == [["others"], ["file"]]


@pytest.mark.parametrize("accepted", [(True, False), (False, True), (True, True)])
def test_two_drops_of_one_name_that_are_published_together_leave_the_last_result(
    directory: Directory, publisher: Publisher, accepted: tuple[bool, bool]
) -> None:
    effects = []
    for number in range(2):
        directory.write("a.cmd", f"{LINE}# {number}\n")
        (drop,) = directory.look()
        effects.append(PublishResult(drop.mark, drop.name, accepted[number], f"{number}"))
    publisher.publish(effects, now_ms(directory))
    last = directory.path / ("done" if accepted[1] else "failed")
    assert (last / "a.result").read_text() == "1"
    assert (last / "a.cmd").read_text().endswith("# 1\n")
    assert sum(len(os.listdir(directory.path / name)) for name in ("done", "failed", "work")) == 2


def test_only_the_appliance_can_read_the_results_of_a_private_spool(directory: Directory, publisher: Publisher) -> None:
    directory.write("a.cmd")
    publisher.publish([published(directory.look()[0], True)], now_ms(directory))
    assert [(directory.path / name).stat().st_mode & 0o777 for name in ("done", "failed")] == [0o700, 0o700]
    assert (directory.path / "done" / "a.result").stat().st_mode & 0o777 == 0o600


def many(directory: Directory, publisher: Publisher, count: int) -> None:
    for number in range(count):
        directory.write(f"{number:03}.cmd")
    publisher.publish([published(drop, True) for drop in directory.look()], now_ms(directory))


@pytest.mark.parametrize("after_restart", [False, True])
def test_old_files_are_removed_by_number(directory: Directory, after_restart: bool) -> None:
    publisher = Publisher(directory.path, False, Keep(number=10), directory.log)
    many(directory, publisher, 30)
    if after_restart:
        publisher = Publisher(directory.path, False, Keep(number=10), directory.log)
        publisher.list_published()
    publisher.prune(now_ms(directory))
    left = sorted(os.listdir(directory.path / "done"))
    assert left == sorted(f"{n:03}.{ending}" for n in range(20, 30) for ending in ("cmd", "result"))


def test_old_files_are_removed_by_age_and_few_at_once(directory: Directory) -> None:
    publisher = Publisher(directory.path, False, Keep(age_ms=HOUR), directory.log)
    many(directory, publisher, 150)
    publisher.prune(now_ms(directory) + HOUR - 60_000)
    assert len(os.listdir(directory.path / "done")) == 300
    publisher.prune(now_ms(directory) + 2 * HOUR)
    assert 0 < len(os.listdir(directory.path / "done")) < 300
    publisher.prune(now_ms(directory) + 2 * HOUR)
    assert os.listdir(directory.path / "done") == []


OF_THE_SPOOL = (
    *("a.cmd", "a.result", ".a.result.tmp", "1001~a.cmd", "1001~a.result", ".1001~a.result.tmp", "_b~refused"),
    *("_b~refused.result", "1001~_b~refused", "000000000012~a.cmd", "000000000012~_b~refused", "000000000012~4711"),
)


def test_files_that_the_spool_did_not_publish_stay(directory: Directory) -> None:
    others = ["tax.pdf", ".a.cmd", ".tmp", "a b.cmd", "backup~", "a.result.tmp"]
    for name in (*OF_THE_SPOOL, *others):
        (directory.path / "done" / name).touch()
    publisher = Publisher(directory.path, False, Keep(age_ms=HOUR), directory.log)
    publisher.list_published()
    publisher.prune(now_ms(directory) + 2 * HOUR)
    assert sorted(os.listdir(directory.path / "done")) == sorted(others)


def test_a_newer_file_is_not_removed_with_the_older_of_its_name(directory: Directory) -> None:
    publisher = Publisher(directory.path, False, Keep(number=1), directory.log)
    for _ in range(2):
        many(directory, publisher, 1)
    assert sorted(os.listdir(directory.path / "done")) == ["000.cmd", "000.result"]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Directory]:
    if os.geteuid() != 0:
        pytest.skip("only root can drop as somebody else")
    yield Directory(made(tmp_path / "spool", NOGROUP), NOGROUP)


def test_a_shared_spool_belongs_to_its_group(shared: Directory) -> None:
    for name, mode in SHARED.items():
        status = (shared.path / name).stat()
        assert (name, oct(status.st_mode & 0o7777)) == (name, oct(mode))
        assert status.st_gid == (0 if name == "work" else shared.new.stat().st_gid)
    assert shared.new.stat().st_gid != 0


def test_a_shared_spool_rejects_files_of_root_and_gives_results_to_owners(shared: Directory) -> None:
    shared.write("root.cmd")
    os.chown(shared.write("other.cmd"), NOBODY, -1)
    os.link(shared.write("linked.cmd"), shared.path / "tmp" / "second")
    os.chown(shared.new / "linked.cmd", NOBODY, -1)
    (drop,) = shared.look()
    assert (drop.name, drop.user.uid) == ("other.cmd", NOBODY)
    assert shared.rejections(SETTLED_MS) == {
        "root.cmd": "a file of uid 0 is not trusted in a shared spool",
        "linked.cmd": "the file has another name (hard link)",
    }
    Publisher(shared.path, True, Keep(), shared.log).publish([published(drop, True)], now_ms(shared))
    assert sorted(os.listdir(shared.path / "done")) == [f"{NOBODY}~other.cmd", f"{NOBODY}~other.result"]
    status = (shared.path / "done" / f"{NOBODY}~other.result").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (NOBODY, 0o600)


def test_two_users_with_one_name_get_a_result_each(shared: Directory) -> None:
    publisher = Publisher(shared.path, True, Keep(), shared.log)
    for uid in (NOBODY, 1):
        os.chown(shared.write("a.cmd"), uid, -1)
        drops = shared.look() or shared.look(SETTLED_MS)
        publisher.publish([published(drops[0])], now_ms(shared))
    names = [f"{uid}~a.{ending}" for uid in (1, NOBODY) for ending in ("cmd", "result")]
    assert sorted(os.listdir(shared.path / "failed")) == names
    assert shared.claimer.put_back("a.cmd", NOBODY) is None
    assert sorted(os.listdir(shared.path / "failed")) == sorted({*names} - {f"{NOBODY}~a.cmd"})


@pytest.mark.parametrize("after_restart", [False, True])
def test_the_files_of_the_owner_with_the_most_are_removed_first(shared: Directory, after_restart: bool) -> None:
    """Any member could remove the results of everybody, by dropping files that are rejected."""

    def new_publisher() -> Publisher:
        return Publisher(shared.path, True, Keep(number=10), shared.log)

    publisher = new_publisher()
    os.chown(shared.write("a.cmd"), NOBODY, -1)
    publisher.publish([published(drop, True) for drop in shared.look()], now_ms(shared))
    for number in range(30):
        os.chown(shared.write(f"{number:03}.cmd"), 1, -1)
    shared.look()
    drops = shared.look(SETTLED_MS)
    if after_restart:
        publisher.publish([published(drop) for drop in drops[:20]], now_ms(shared))
        publisher = new_publisher()
        publisher.list_published()
        drops = drops[20:]
    publisher.publish([published(drop) for drop in drops], now_ms(shared))
    assert sorted(os.listdir(shared.path / "done")) == [f"{NOBODY}~a.cmd", f"{NOBODY}~a.result"]
    left = sorted(os.listdir(shared.path / "failed"))
    assert left == [f"1~{n:03}.{ending}" for n in range(21, 30) for ending in ("cmd", "result")]


def test_a_shared_spool_rejects_the_files_of_others(shared: Directory) -> None:
    """Somebody may have changed a file that the group may write, or moved a file from elsewhere."""
    os.chown(shared.write("stranger.cmd"), 1, -1)
    os.chown(shared.write("moved.cmd"), NOBODY, 1)
    os.chown(shared.write("writable.cmd"), NOBODY, -1)
    (shared.new / "writable.cmd").chmod(0o664)
    aside = shared.path / "tmp" / "aside"
    aside.write_text(LINE)
    os.chown(aside, NOBODY, -1)
    aside.rename(shared.new / "good.cmd")
    drops = {drop.name: drop.mistakes for drop in shared.look()}
    assert drops.pop("good.cmd") == ()
    assert [mistakes[0].message for mistakes in drops.values()] == [
        "the file is writable by its group or by everybody"
    ], "at once"
    rejections = shared.rejections(SETTLED_MS)
    assert rejections["stranger.cmd"] == "a file of uid 1, which is not in the spool's group, is not trusted"
    assert rejections["moved.cmd"] == "the file does not belong to the spool's group"


def test_a_file_whose_owner_cannot_be_looked_up_waits(shared: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(shared.write("a.cmd"), NOBODY, -1)
    os.chown(shared.write("b.cmd"), NOBODY, -1)
    (shared.new / "b.cmd").rename(shared.work / "000000000001~b.cmd")
    shared.restart()
    with monkeypatch.context() as failing:
        unknown = KnownUser(NOBODY, f"uid-{NOBODY}", problem="Connection refused")
        failing.setattr(entries, "known_after_tries", lambda *_arguments, **_options: unknown)
        assert (shared.look(), shared.look(HOUR)) == ([], [])
        why = "cannot be taken: the look-up of its owner failed"
        waiting = shared.claimer.backlog().held
        assert [(drop.name, drop.why) for drop in waiting] == [("a.cmd", why), ("b.cmd", why)]
        assert shared.next_look() == SETTLED_MS
    assert sorted(shared.claimed_names(SETTLED_MS)) == ["a.cmd", "b.cmd"]


def test_a_file_that_an_acl_lets_others_write_is_rejected(shared: Directory) -> None:
    """The mask of an ACL is shown as the mode of the group."""
    path = shared.write("acl.cmd")
    os.chown(path, NOBODY, -1)
    everyone = 0xFFFFFFFF
    entries = [(0x01, 6, everyone), (0x02, 6, 1), (0x04, 4, everyone), (0x10, 6, everyone), (0x20, 0, everyone)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", acl)
    assert shared.rejections() == {"acl.cmd": "the file is writable by its group or by everybody"}


def test_an_unknown_group_is_reported(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    with pytest.raises(Unusable, match="there is no group nowhere"):
        make_folders(tmp_path / "spool", "nowhere")


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_folder_that_is_a_link_is_rejected(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool" / name).symlink_to(tmp_path / target)
    with pytest.raises(Unusable, match="is a symbolic link"):
        make_folders(tmp_path / "spool", None)


@pytest.mark.parametrize("name", SHARED)
def test_a_folder_that_is_replaced_by_a_link_is_noticed(directory: Directory, name: str) -> None:
    folder = directory.path / name
    assert folder_problem(directory.path) is None
    folder.rmdir()
    assert folder_problem(directory.path) is None, "a missing directory is made again"
    assert missing_folders(directory.path) == [folder]
    folder.symlink_to("/")
    assert f": {folder} is a symbolic link, which is not followed; make it" in str(folder_problem(directory.path))
    assert missing_folders(directory.path) == []


def test_a_folder_that_is_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "work").touch()
    with pytest.raises(Unusable, match="is not a directory"):
        make_folders(tmp_path / "spool", None)


def flood(shared: Directory, number: int) -> list[str]:
    """Files of uid 1, which is not in the group: they are rejected when they have settled."""
    names = [f"{n:05}.cmd" for n in range(number)]
    for name in names:
        os.chown(shared.write(name), 1, -1)
    return names


def drop_of_nobody(shared: Directory, name: str = "late.cmd") -> None:
    os.chown(shared.write(name), NOBODY, -1)


def test_many_files_of_one_owner_delay_the_drop_of_another_by_one_batch(shared: Directory) -> None:
    """Any member could delay the drops of everybody by minutes, with files that were rejected one by one."""
    names = flood(shared, BATCH + 20)
    assert shared.look() == []
    assert [drop.name for drop in shared.look(SETTLED_MS)] == names[:BATCH]
    drop_of_nobody(shared)
    drops = shared.look()
    assert "late.cmd" in [drop.name for drop in drops[:2]]
    assert [drop.name for drop in drops if drop.user.uid == 1] == names[BATCH:], "in the order of their arrival"
    assert (shared.look(), os.listdir(shared.new)) == ([], [])


def test_what_is_too_much_for_one_owner_is_rejected_after_the_files_of_others(shared: Directory) -> None:
    shared.claimer._chooser.rules = replace(shared.rules, max_waiting=2)
    flood(shared, 4)
    shared.look()
    for name in ("x.cmd", "y.cmd", "z.cmd"):
        drop_of_nobody(shared, name)
    drops = [drop.name for drop in shared.look(SETTLED_MS)]
    assert set(drops[:4]) == {"00000.cmd", "00001.cmd", "x.cmd", "y.cmd"}
    assert [name for name in drops if name < "a"] == sorted(name for name in drops if name < "a")
    assert set(drops[4:]) == {"00002.cmd", "00003.cmd", "z.cmd"}


def test_a_file_that_is_closed_or_has_settled_meanwhile_does_not_wait_for_all_files_of_another(
    shared: Directory,
) -> None:
    flood(shared, 3 * BATCH + 20)
    with (shared.new / "late.cmd").open("w") as file:
        os.chown(shared.new / "late.cmd", NOBODY, -1)
        file.write(LINE)
        shared.look()
        assert len(shared.look(SETTLED_MS)) == BATCH
    shared.claimer.note_written({"late.cmd"}, shared.clock.moment())
    assert "late.cmd" not in [drop.name for drop in shared.look()], "it was written just now"
    assert "late.cmd" in shared.claimed_names(WRITTEN_MS)
    assert shared.claimer.has_more


def test_files_are_not_listed_again_before_enough_of_the_last_listing_are_decided_about(
    shared: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "MOST_LISTED_AGAIN", 1)
    flood(shared, 3 * BATCH)
    shared.look()
    shared.look(SETTLED_MS)
    drop_of_nobody(shared)
    assert shared.claimed_names() == [], "a third is decided about"
    shared.look()
    assert shared.claimed_names() == ["late.cmd"]


def test_the_oldest_names_of_a_listing_are_kept_for_each_owner(
    shared: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "MOST_LISTED", 4)
    names = flood(shared, 20)
    drop_of_nobody(shared)
    assert shared.claimed_names() == ["late.cmd"]
    shared.clock.advance(SETTLED_MS)
    rejected: list[str] = []
    while drops := shared.look() or shared.look(SETTLED_MS):
        rejected += [drop.name for drop in drops]
    assert rejected == names


def test_a_look_decides_about_few_files_and_counts_each_once(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "MOST_DECIDED", 2)
    for number in range(5):
        directory.write(f"{number}.cmd", "")
    for after_ms in (0, 0, 0, 1):
        assert directory.look(after_ms) == []
        assert directory.claimer.backlog().waiting == 5
