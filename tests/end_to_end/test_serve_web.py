"""`serve --web`: the page is a child of the daemon, ends with it, and never stops it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.cli.web import NICE
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.doors import read_answer
from tests.support.waiting import PATIENCE_SECONDS, eventually

WEB = "web: { listen: ../var/web.sock }\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, appliance=APPLIANCE_FILE + WEB)
    daemon.options = ["--web"]
    yield daemon
    daemon.end()


def _answer(daemon: Daemon, path: str = "/") -> int:
    """The status of the answer to a request; 0: nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(daemon.var / "web.sock"))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return read_answer(connection)[0]
    except (FileNotFoundError, ConnectionError):
        return 0


def _page(daemon: Daemon) -> int:
    """The process of the page, which answers by now."""
    eventually(lambda: _answer(daemon) == 200, "the page")
    assert daemon.process
    tasks = Path(f"/proc/{daemon.process.pid}/task").glob("*/children")
    children = [pid for task in tasks for pid in task.read_text().split()]
    (page,) = [int(pid) for pid in children if b"--end-with-stdin" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return page


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_page_ends_with_the_daemon(daemon: Daemon) -> None:
    page = _page(daemon.start())
    assert "the page listens on" in daemon.log
    assert daemon.stop() == 0
    assert _has_ended(page) and not (daemon.var / "web.sock").exists()


def test_the_page_ends_with_a_daemon_that_is_killed(daemon: Daemon) -> None:
    page = _page(daemon.start())
    daemon.kill()
    eventually(lambda: _has_ended(page), "the end of the page")
    assert _page(daemon.start()) != page, "the next daemon has a page again"


def test_the_page_lets_the_daemon_go_first(daemon: Daemon) -> None:
    page = _page(daemon.start())
    assert daemon.process
    of_daemon = os.getpriority(os.PRIO_PROCESS, daemon.process.pid)
    assert os.getpriority(os.PRIO_PROCESS, page) == min(of_daemon + NICE, 19)


def test_the_page_takes_no_modules_from_the_working_directory(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there would act as the user of the daemon."""
    folder = tmp_path / "open to all"
    folder.mkdir()
    for name in ("calendar", "uvicorn", "jinja2"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')\n")
    monkeypatch.chdir(folder)
    _page(daemon.start())
    daemon.say("preview")
    assert daemon.stop() == 0
    assert not (tmp_path / "taken").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_process_1_ends_with_its_page(daemon: Daemon) -> None:
    daemon.wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    daemon.start()
    eventually(lambda: _answer(daemon) == 200, "the page")
    daemon.say("shutdown")
    eventually(daemon.ended, "the end")
    assert _answer(daemon) == 0


def test_a_page_that_crashes_starts_again(daemon: Daemon) -> None:
    page = _page(daemon.start())
    os.kill(page, signal.SIGKILL)
    eventually(lambda: _has_ended(page), "the end of the page")
    assert daemon.ask("run --wait hello") == "hello\n"
    assert _page(daemon) != page
    assert "note: the page has ended by signal 9; it starts again in 1 s\n" in daemon.log
    assert daemon.stop() == 0


def test_a_page_that_somebody_stops_does_not_start_again(daemon: Daemon) -> None:
    page = _page(daemon.start())
    os.kill(page, signal.SIGTERM)
    eventually(lambda: _has_ended(page), "the end of the page")
    assert daemon.ask("run --wait hello") == "hello\n"
    assert daemon.stop() == 0
    assert "starts again" not in daemon.log


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_page_of_root_says_so(daemon: Daemon) -> None:
    _page(daemon.start())
    assert "warning: the page runs as root" in daemon.log


def test_a_page_that_cannot_listen_does_not_stop_the_daemon(daemon: Daemon) -> None:
    (daemon.var / "web.sock").write_text("not a socket")
    daemon.start()
    eventually(lambda: "web.sock exists and is not a socket" in daemon.log, "the error of the page")
    assert daemon.ask("run --wait hello") == "hello\n"
    assert daemon.stop() == 0
    assert "starts again" not in daemon.log


def test_a_stopped_page_does_not_delay_the_end_of_the_daemon(daemon: Daemon) -> None:
    page = _page(daemon.start())
    os.kill(page, signal.SIGSTOP)
    assert daemon.stop() == 0
    eventually(lambda: _has_ended(page), "the end of the page")


def test_systemd_hears_from_the_daemon_alone(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(daemon.root / "notify"))
        daemon.wrapper = ["env", f"NOTIFY_SOCKET={daemon.root / 'notify'}"]
        page = _page(daemon.start())
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{page}/environ").read_bytes()


def test_the_page_of_a_user_without_a_name_needs_no_delegate(daemon: Daemon) -> None:
    """A container may run as a number that its image does not know."""
    number = 4_000_000_000
    if subprocess.run(["unshare", "--user", "true"], check=False).returncode:
        pytest.skip("needs user namespaces")
    daemon.wrapper = ["unshare", "--user", f"--map-user={number}", f"--map-group={number}"]
    _page(daemon.start())
    daemon.assert_healthy()


@pytest.mark.parametrize("name", ["a%0ab", "a%01", "a" * 20_000])
@pytest.mark.parametrize("path", ["/jobs/{}", "/runs/{}/1", "/preview?job={}", "/api/v1/jobs/{}"])
def test_the_name_of_a_job_may_be_any_text(daemon: Daemon, path: str, name: str) -> None:
    _page(daemon.start())
    assert 200 <= _answer(daemon, path.format(name)) < 500
