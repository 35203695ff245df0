"""Look-ups of users that fail or hang: an error is no answer, and nobody waits for the look-up of another user."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, command

OWN = pwd.getpwuid(os.geteuid()).pw_name
# Not nobody, whom some services know without the file.
OTHER = next((entry.pw_name for entry in pwd.getpwall() if 0 < entry.pw_uid < 60_000), "nobody")
STANZAS = f"""\
sched {{ backing_store = "../var/sched.db" }}
program "own" {{ argv = ( "/bin/echo" "own" ) }}
program "other" {{ argv = ( "/bin/echo" "other" ) user = "{OTHER}" }}
Authorization {{ Role "all" {{ allow = ( "." ) users = ( "{OWN}" ) }} }}
"""


@pytest.fixture
def users(daemon: Daemon) -> Path:
    """A daemon, not yet started, with users of its own. Returns the way to its /etc."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        pytest.skip("only root can give the daemon a file of users of its own")
    etc = daemon.root / "copy"
    etc.mkdir()
    for name in ("passwd", "group", "nsswitch.conf"):
        if Path("/etc", name).exists():
            shutil.copy(f"/etc/{name}", etc / name)
    script = f'mount --make-rprivate / && mount --bind {etc} /etc && exec "$@"'
    daemon.wrapper = [unshare, "--mount", "sh", "-c", script, "sh"]
    return etc


@contextmanager
def emptied(users: Path) -> Iterator[None]:
    shutil.copy(users / "passwd", users / "kept")
    os.truncate(users / "passwd", 0)
    try:
        yield
    finally:
        (users / "kept").rename(users / "passwd")


@contextmanager
def away(users: Path) -> Iterator[None]:
    (users / "passwd").rename(users / "away")
    try:
        yield
    finally:
        (users / "away").rename(users / "passwd")


@pytest.mark.parametrize(("harm", "problem"), [(away, ": No such file or directory"), (emptied, " is empty")])
def test_without_the_file_of_users_jobs_wait(
    daemon: Daemon, users: Path, harm: Callable[[Path], AbstractContextManager[None]], problem: str
) -> None:
    daemon.conf.write_text(STANZAS)
    daemon.start()
    assert daemon.say("run other").startswith("example.com-")
    daemon.wait_for_state("succeeded")
    with harm(users):
        daemon.say("run other")
        daemon.say("run own")
        daemon.wait_for_log(f"the program's user or group cannot be looked up: /etc/passwd{problem}")
        daemon.wait_for_state("succeeded", 2)
    runs = daemon.wait_for_state("succeeded", 3)
    assert {run["attempts"] for run in runs} == {1}
    daemon.assert_healthy()


@pytest.mark.parametrize(("harm", "problem"), [(away, ": No such file or directory"), (emptied, " is empty")])
def test_without_the_file_of_users_the_console_answers(
    daemon: Daemon, users: Path, harm: Callable[[Path], AbstractContextManager[None]], problem: str
) -> None:
    """An image may have none. Without `files` alone, a service of systemd might know root."""
    (users / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    with harm(users):
        daemon.start()
        done = command("health", "--ready", "--config", str(daemon.etc / "appliance.yaml"))
        assert (done.returncode, done.stdout) == (0, "ok\n"), done
        daemon.wait_for_log(f"the console calls user 0 `uid-0`: look-up failed: /etc/passwd{problem}")
        daemon.say("run hello")
        daemon.wait_for_log("user=uid-0 uid=0 origin=console command='run hello' ok")
    daemon.assert_healthy()
