"""`top` on a terminal, with a real daemon: what it draws, its keys, and how it leaves the terminal."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager

import pytest

from tests.end_to_end.test_people import STANZAS, person
from tests.support.daemon import Daemon
from tests.support.terminal import Terminal, terminal

LEAVE = "\x1b[?25h\x1b[?1049l"


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(daemon.conf.read_text() + STANZAS)
    return daemon.start()


def top(daemon: Daemon, columns: int = 80, lines: int = 24, **environment: str) -> AbstractContextManager[Terminal]:
    return terminal("top", "--endpoint", str(daemon.socket_path), columns=columns, lines=lines, **environment)


def test_a_run_is_seen_and_stopped_and_a_job_paused(appliance: Daemon) -> None:
    with top(appliance) as screen:
        before = screen.mode()
        screen.wait_for("nightly")
        run = appliance.say("run hangs").strip()
        screen.wait_for(run)
        screen.type("\x1b[B")
        screen.wait_for("> ")
        screen.type("s")
        screen.wait_for(f"stop run {run}? y/n")
        screen.type("n")
        screen.wait_for("not stopped")
        screen.type("s")
        screen.wait_for("y/n")
        screen.type("y")
        screen.wait_for(f"{run}: stopped")
        appliance.wait_for_state("cancelled")
        screen.wait_for("0 programs run")
        screen.type("j")
        screen.wait_for("> ")
        screen.type("p")
        screen.wait_for("paused")
        assert [job["name"] for job in appliance.data("sched list") if job["paused"]] == ["nightly"]
        screen.type("q")
        assert screen.end() == 0
        assert screen.shown.endswith(LEAVE) and screen.mode() == before


def test_a_restart_is_seen(appliance: Daemon) -> None:
    with top(appliance) as screen:
        screen.wait_for("nightly")
        appliance.kill()
        screen.wait_for("not connected since ")
        appliance.start()
        appliance.say("run hangs")
        screen.wait_for("1 programs run")
        assert "not connected" not in screen.wait_for("\x1b[J")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_restores_the_terminal(appliance: Daemon, number: signal.Signals) -> None:
    with top(appliance, columns=30, lines=8, NO_COLOR="1") as screen:
        before = screen.mode()
        frame = screen.wait_for("\x1b[J").partition("\x1b[H")[2].replace("\x1b[K", "").removesuffix("\x1b[J")
        assert len(frame.splitlines()) <= 8 and max(map(len, frame.splitlines())) <= 30
        screen.process.send_signal(number)
        assert screen.end() == 128 + number
        assert screen.shown.endswith(LEAVE) and screen.mode() == before


def test_without_a_terminal_that_can_be_drawn_on_the_screen_is_shown_once(appliance: Daemon) -> None:
    once = person(appliance, "top")
    assert (once.returncode, once.stderr) == (0, "")
    assert once.stdout.startswith("no trouble\n") and "\x1b" not in once.stdout
    with top(appliance, TERM="dumb") as screen:
        screen.wait_for("note: this terminal cannot update a screen")
        assert screen.end() == 0
        assert LEAVE not in screen.shown
    appliance.stop()
    assert person(appliance, "top", "--once").returncode == 69
