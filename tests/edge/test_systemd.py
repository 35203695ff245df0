"""Reports to systemd: where they go, and that none blocks or fails."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from schedappliance.edge.systemd import NotifySocket, notify_socket


def test_a_report_is_one_datagram_with_a_variable_in_each_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        reports = NotifySocket(str(tmp_path / "notify"))
        reports.send(READY=1, STATUS="degraded: `é\udc80\nSTOPPING=1\r` is no file")
        text = "READY=1\nSTATUS=degraded: `é\\u{dc80}\\u{a}STOPPING=1\\u{d}` is no file"
        assert systemd.recv(1000) == text.encode()
        reports.close()


def test_the_address_may_be_abstract() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")
        reports = notify_socket({"NOTIFY_SOCKET": "@" + systemd.getsockname()[1:].decode()}, 7)
        assert reports
        reports.send(STOPPING=1)
        assert systemd.recv(1000) == b"STOPPING=1"
        reports.close()


def test_a_manager_that_reads_nothing_or_is_gone_delays_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        reports = NotifySocket(str(tmp_path / "notify"))
        for _ in range(10_000):
            reports.send(WATCHDOG=1)
    (tmp_path / "notify").unlink()
    reports.send(WATCHDOG=1)
    reports.close()


@pytest.mark.parametrize(
    ("variables", "watchdog_ms"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60_000),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60_000),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_counts_for_the_process_that_it_names(variables: dict[str, str], watchdog_ms: int | None) -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/", **variables}
    reports = notify_socket(environ, 7)
    assert reports and reports.watchdog_ms == watchdog_ms
    assert environ == {"HOME": "/"}
    reports.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_socket_nothing_is_reported(address: str) -> None:
    assert notify_socket({"NOTIFY_SOCKET": address}, 7) is None
