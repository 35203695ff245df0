"""The prompt of `console` on a terminal: its history, its completion, its transactions and its keys."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from tests.end_to_end.test_people import STANZAS
from tests.support.daemon import Daemon
from tests.support.terminal import Terminal, terminal


def prompt(daemon: Daemon) -> AbstractContextManager[Terminal]:
    return terminal("console", "--endpoint", str(daemon.socket_path), XDG_STATE_HOME=str(daemon.root / "state"))


def test_a_person_types_at_the_prompt(daemon: Daemon) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + STANZAS)
    daemon.start()
    with prompt(daemon) as typed:
        typed.wait_for("console.sock> ")
        typed.type("sched wh\tnig\t\n")
        typed.wait_for("sched why nightly")
        typed.wait_for("console.sock> ")
        typed.type("run --wait ta")
        # The key discards what the program has not read yet, which then waits for another letter, and for no signal.
        typed.wait_for("run --wait ta")
        typed.interrupt("console.sock> ")
        typed.type("run --wait hel\t\n")
        typed.wait_for("\nhello")
        typed.wait_for("console.sock> ")
        typed.type("config begin\n")
        typed.wait_for("console.sock (transaction)> ")
        typed.type("\x04")
        typed.wait_for("note: a transaction is open")
        typed.wait_for("console.sock (transaction)> ")
        typed.type("\x04")
        assert typed.end() == 0
    path = daemon.root / "state" / "schedappliance" / "history"
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert lines == ["sched why nightly", "run --wait hello", "config begin"]
    with prompt(daemon) as typed:
        typed.wait_for("console.sock> ")
        typed.type("\x1b[A\x1b[A\x1b[A\n")
        typed.wait_for("sched why nightly")
        typed.wait_for("console.sock> ")
        typed.type("quit\n")
        assert typed.end() == 0


def test_a_fifo_in_place_of_the_history_stops_nobody(daemon: Daemon) -> None:
    daemon.start()
    path = daemon.root / "state" / "schedappliance" / "history"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with prompt(daemon) as typed:
        typed.wait_for("console.sock> ")
        typed.type("version\n")
        typed.wait_for("console.sock> ")
        typed.type("quit\n")
        assert typed.end() == 0
