"""The daemon's side of the keeper: what it takes over, from a keeper that a test plays, and what it leaves open."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.edge.programs import keeper_link
from schedappliance.edge.programs.inherited import restore_oom_score
from schedappliance.edge.programs.keeper_files import ENDS, SOCKET
from schedappliance.edge.programs.keeper_link import Ended, KeeperLink, Link, ends_in
from schedappliance.edge.programs.outputs import Outputs
from schedappliance.edge.programs.requested import Asked
from schedappliance.edge.programs.spawner import MESSAGE_BYTES
from tests.support.waiting import PATIENCE_SECONDS

END = "ended {} 7 0 1 2 3 - 0"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a keeper."""
    listener, connection = keeper_link._sockets(tmp_path / SOCKET)
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


def names(reports: list[keeper_link.Report]) -> list[str]:
    return [report.id for report in reports]


def test_damaged_lines_in_the_file_of_ends_are_left_out(tmp_path: Path) -> None:
    """The disk had no room for the end of a line, or the machine lost its power."""
    lines = [END.format("1-1-1-5")[:14] + END.format("2-1-1-5"), "\0\0\0", END.format("3-1-1-5"), "ended 4-1-1-5 7 0"]
    (tmp_path / ENDS).write_text("\n".join(lines))
    assert names(ends_in(tmp_path)) == ["3-1-1-5"]


@pytest.mark.parametrize(("more", "took_ms"), [("", None), (" 4000", 4000), (" 4000 later", 4000)])
def test_the_keeper_says_how_long_a_program_took(tmp_path: Path, more: str, took_ms: int | None) -> None:
    """One of an earlier version does not."""
    (tmp_path / ENDS).write_text(END.format("1-1-1-5") + more)
    (end,) = ends_in(tmp_path)
    assert isinstance(end, Ended)
    assert (end.exit.ended_ms, end.exit.took_ms) == (1, took_ms)


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
    assert names(link.take_over(has_attempts=False)) == ["8-1-1-5"]


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


@pytest.mark.parametrize("call", ["os.memfd_create", "_sockets", "KeeperLink._with_channel"])
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
