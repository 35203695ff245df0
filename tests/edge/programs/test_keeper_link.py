"""The daemon's side of the keeper: what it takes over, from a keeper that a test plays, and what it leaves open."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from schedappliance import kinds
from schedappliance.diagnostics import Unusable
from schedappliance.edge.programs import keeper_link, keeper_paths
from schedappliance.edge.programs.inherited import restore_oom_score
from schedappliance.edge.programs.keeper_files import ENDS, MOST_BYTES, SOCKET
from schedappliance.edge.programs.keeper_link import KeeperLink, Link
from schedappliance.edge.programs.keeper_paths import KeeperUnreachable, ends_file, sockets_in
from schedappliance.edge.programs.keeper_reports import Ended, Report, ends_in
from schedappliance.edge.programs.outputs import Outputs
from schedappliance.edge.programs.requested import Asked
from schedappliance.edge.programs.spawner import MESSAGE_BYTES
from tests.support.waiting import PATIENCE_SECONDS

END = "ended {} 7 0 1 2 3 - 0"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a keeper."""
    listener, connection = sockets_in(tmp_path)
    listener.accept()[0].close()
    connection.close()
    with listener:
        yield listener


@pytest.fixture
def link(tmp_path: Path) -> Iterator[KeeperLink]:
    (tmp_path / ENDS).write_text(END.format("8-1-1-5") + "\n")
    link = KeeperLink(Outputs(tmp_path), 100, command=("/bin/cat",))
    yield link
    link.close()


def names(reports: list[Report]) -> list[str]:
    return [report.id for report in reports]


def test_damaged_lines_in_the_file_of_ends_are_left_out(tmp_path: Path) -> None:
    """The disk had no room for the end of a line, or the machine lost its power."""
    lines = [END.format("1-1-1-5")[:14] + END.format("2-1-1-5"), "\0\0\0", END.format("3-1-1-5"), "ended 4-1-1-5 7 0"]
    (tmp_path / ENDS).write_text("\n\n".join(lines))
    assert names(ends_in(tmp_path)) == ["3-1-1-5"]


@pytest.mark.parametrize("cut", ["ended 1-1-1-5 7 0 1 2 3 - 0 40", "ended 1-1-1-5 7 0 1 2 3 - 0 4000"])
@pytest.mark.parametrize("after", ["", "\nended 2-1-1-5 7 0 1 2 3 - 0 5\n"])
def test_a_line_that_was_cut_within_its_last_number_is_no_shorter_time(tmp_path: Path, cut: str, after: str) -> None:
    """The disk was full in the middle of a line. A keeper begins each line after a line end."""
    (tmp_path / ENDS).write_text(f"\nended 3-1-1-5 7 0 1 2 3 - 0 6\n\n{cut}{after}")
    assert names(ends_in(tmp_path)) == ["3-1-1-5", *(["2-1-1-5"] if after else [])]


FOREIGN = [
    *(b"ended \xff 1 2 3", b"ended \xff 7 0 1 2 3 - 0", b"   ", b"ended world 7 0 1 2 3 - 0", b"hello big world"),
    *(
        b"ended 1-1-1 7 0 1 2 3 - 0",
        b"ended 1-1-1-5-9 7 0 1 2 3 - 0",
        b"ended 1-1--5 7 0 1 2 3 - 0",
        b"\xff\xfe \0 \x80 \r",
    ),
    *(b"ended " + b"9" * 5000 + b"-1-1-5 7 0 1 2 3 - 0", b"ended 1-1-1-5 7 0 1 2 99999999999999999 - 0"),
]


@pytest.mark.parametrize("line", FOREIGN)
def test_a_foreign_line_in_the_file_of_ends_is_left_out(tmp_path: Path, line: bytes) -> None:
    (tmp_path / ENDS).write_bytes(b"\n%s\n\n%s\n" % (line, END.format("3-1-1-5").encode()))
    assert names(ends_in(tmp_path)) == ["3-1-1-5"]


def unreadable(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[OSError]:
    """So many reads of the file of ends fail. Returns the errors that are left."""
    errors, read = [OSError(number, os.strerror(number))] * times, kinds.read_head

    def read_head(path: Path, size: int) -> bytes:
        if errors:
            raise errors.pop()
        return read(path, size)

    monkeypatch.setattr(keeper_paths, "read_head", read_head)
    monkeypatch.setattr(keeper_link, "ANSWER_SECONDS", 0.01)
    return errors


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_an_error_of_reading_is_not_taken_for_a_file_without_ends(
    link: KeeperLink, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    unreadable(monkeypatch, number, 50)
    assert names(link.take_over()) == ["8-1-1-5"]


def test_ends_that_stay_unreadable_are_given_up_with_a_warning(
    link: KeeperLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    link.warn = warnings.append
    unreadable(monkeypatch, errno.EIO, 1000)
    assert link.take_over() == []
    path = link.outputs.directory / ENDS
    assert warnings == [f"cannot read {path}: Input/output error; the exit statuses that it holds are lost"]
    assert link.take_over(has_attempts=False) == []
    assert len(warnings) == 1, "no run needs them"
    unreadable(monkeypatch, errno.EMFILE, 1000)
    with pytest.raises(OSError, match="Too many open files"):
        link.take_over()


@pytest.mark.parametrize("kind", ["directory", "link", "FIFO", "socket", "huge"])
def test_what_is_no_file_of_ends_is_moved_aside(tmp_path: Path, kind: str) -> None:
    path, warnings = tmp_path / ENDS, list[str]()
    (tmp_path / "elsewhere").write_text("\n" + END.format("1-1-1-5") + "\n")
    if kind == "directory":
        path.mkdir()
        (path / "precious").touch()
    elif kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        path = make_socket(path)
    else:
        path.touch()
        os.truncate(path, MOST_BYTES + 1)
    before = path.lstat().st_ino
    assert ends_in(tmp_path) == []
    os.close(ends_file(tmp_path, warnings.append))
    (aside,) = tmp_path.glob(f"{ENDS}.*")
    assert (aside.name, aside.lstat().st_ino) == (f"{ENDS}.{before}", before)
    assert stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size == 0
    (warning,) = warnings
    assert warning.startswith(f"{path} cannot be used (") and warning.endswith(
        f"; it was moved to {aside}, and is made again"
    )
    os.close(ends_file(tmp_path, warnings.append))
    assert len(warnings) == 1


def make_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


def test_a_shortage_moves_no_file_of_ends_aside(link: KeeperLink, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_ends(_directory: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(keeper_paths, "open_ends", open_ends)
    with pytest.raises(KeeperUnreachable, match="Too many open files"):
        link.start(b"", [], lambda _link: None)
    assert os.listdir(link.outputs.directory) == [ENDS]
    assert link.trouble is None, "it passes by itself"


def test_a_directory_in_place_of_the_socket_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / SOCKET / "precious").mkdir(parents=True)
    listener, connection = sockets_in(tmp_path)
    with listener, connection:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert len(list(tmp_path.glob(f"{SOCKET}.*/precious"))) == 1


@pytest.mark.parametrize(
    ("more", "took_ms", "inode"),
    [("", None, None), (" 4000", 4000, None), (" 4000 77", 4000, 77), (f" 4000 {2**64 - 1} later", 4000, 2**64 - 1)],
)
def test_the_keeper_says_how_long_a_program_took_and_where_its_output_is(
    tmp_path: Path, more: str, took_ms: int | None, inode: int | None
) -> None:
    """One of an earlier version does not."""
    (tmp_path / ENDS).write_text(END.format("1-1-1-5") + more + "\n")
    (end,) = ends_in(tmp_path)
    assert isinstance(end, Ended)
    assert (end.exit.ended_ms, end.exit.took_ms, end.inode) == (1, took_ms, inode)


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        (["keeper 1 9 1000", "asked 1-1-1-5"], Asked(1000, frozenset(["1-1-1-5"]))),
        (["keeper 1 9 7"], Asked(7, frozenset())),
        (["keeper 1 9"], None),
    ],
)
def test_reports_may_follow_those_of_the_take_over_at_once(
    link: KeeperLink, listener: socket.socket, lines: list[str], asked: Asked | None
) -> None:
    connections: list[socket.socket] = []

    def serve() -> None:
        connections.append(listener.accept()[0])
        more = ["running 1-1-1-5 7 8 -", "ready", END.format("1-1-1-5"), "gone 1-1-1-5"]
        connections[0].send("\n".join(lines + more).encode())

    thread = Thread(target=serve)
    thread.start()
    (report,) = link.take_over()
    thread.join()
    assert isinstance(report, Ended) and report.id == "1-1-1-5", "the last report counts"
    assert link.asked == asked
    connections[0].close()


@pytest.mark.usefixtures("listener")
def test_a_keeper_that_does_not_answer_prevents_the_start(link: KeeperLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs must not count as ended."""
    monkeypatch.setattr(keeper_link, "ANSWER_SECONDS", 0.01)
    with pytest.raises(Unusable, match=f"the keeper of the running programs does not answer: .*/{SOCKET}"):
        link.take_over()


def test_a_keeper_that_makes_no_socket_again_prevents_the_start_if_it_is_needed(
    link: KeeperLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_link, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(keeper_link, "keepers_of", lambda _directory: [7])
    with pytest.raises(Unusable, match=f"the keeper of the running programs, process 7, makes no socket: .*/{SOCKET}"):
        link.take_over()
    assert link.take_over(has_attempts=False) == [], "no run needs its ends"


def test_a_keeper_that_ends_meanwhile_leaves_its_ends(
    link: KeeperLink, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peer_uid(_connection: socket.socket) -> int:
        listener.close()
        return os.geteuid()

    monkeypatch.setattr(keeper_link, "peer_uid", peer_uid)
    assert names(link.take_over()) == ["8-1-1-5"]


def test_a_shortage_is_not_taken_for_the_end_of_the_keeper(link: KeeperLink, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_words: object, **_options: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert names(link.take_over()) == ["8-1-1-5"], "without a keeper"
    monkeypatch.setattr(keeper_link, "connect", connect)
    with pytest.raises(OSError, match="Too many open files"):
        link.take_over()


@pytest.mark.parametrize("call", ["os.memfd_create", "sockets_in", "KeeperLink._with_channel"])
def test_a_keeper_that_cannot_be_started_leaves_no_descriptor_open(
    link: KeeperLink, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_words: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(f"schedappliance.edge.programs.keeper_link.{call}", fail)
    with pytest.raises(OSError, match="cannot reach the keeper"):
        link.start(b"", [], lambda _link: None)
    assert os.listdir("/proc/self/fd") == before


def test_lines_that_wait_for_the_keeper_arrive_one_by_one() -> None:
    """A keeper reads at most MESSAGE_BYTES of a message."""
    control, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(PATIENCE_SECONDS)
    with control, peer:
        connection, ids = Link(control, control), [f"123456789-{number}-1-1795370460000" for number in range(500)]
        lines = [f"forget {place}-1-1-5 {' '.join(ids)}" for place in range(50)]
        for line in lines:
            connection.say(line)
        assert not connection.flush(), "the socket is full"
        arrived: list[str] = []
        while len(arrived) < len(lines):
            arrived += peer.recv(MESSAGE_BYTES).decode().split("\n")
            connection.flush()
    assert arrived == lines


@pytest.mark.parametrize(("before", "after"), [("-500\n", "0"), ("0\n", "0\n"), ("300\n", "300\n")])
def test_programs_do_not_get_the_daemons_protection_from_the_lack_of_memory(
    tmp_path: Path, before: str, after: str
) -> None:
    file = tmp_path / "oom_score_adj"
    file.write_text(before)
    restore_oom_score(file)
    assert file.read_text() == after
    restore_oom_score(tmp_path / "missing")
