"""The daemon under a service manager: a socket of the test takes the place of systemd's."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(PATIENCE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        yield systemd


def report_with(systemd: socket.socket, variable: str) -> dict[str, str]:
    """The next report that has a variable."""
    while True:
        report = dict(line.split("=", 1) for line in systemd.recv(4096).decode().splitlines())
        if variable in report:
            return report


def test_the_daemon_reports_its_phases_and_its_watchdog(daemon: Daemon, systemd: socket.socket) -> None:
    daemon.start()
    opening = report_with(systemd, "EXTEND_TIMEOUT_USEC")
    assert opening["STATUS"] == "opening the store"
    assert report_with(systemd, "READY") == {"READY": "1", "WATCHDOG": "1", "STATUS": "0 jobs, 0 running"}
    assert daemon.process
    daemon.process.send_signal(signal.SIGHUP)
    report_with(systemd, "RELOADING")
    report_with(systemd, "READY")
    # The audit makes a turn while nothing happens.
    alive = report_with(systemd, "WATCHDOG")
    assert "READY" not in alive
    assert "WatchdogSec is 20 s, but an idle appliance reports every " in daemon.log
    # No program inherits the socket.
    daemon.conf.write_text(daemon.conf.read_text() + 'program "env" { argv = ( "/usr/bin/env" ) }\n')
    daemon.say("config reload")
    assert "NOTIFY_SOCKET" not in daemon.say("run --wait env")
    daemon.stop()
    assert report_with(systemd, "STOPPING")["STATUS"].startswith("stopping, ")
