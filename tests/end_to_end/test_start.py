"""An appliance that cannot start says why in a few lines, with status 78 and without a traceback."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import APPLIANCE_FILE, Daemon, command
from tests.support.processes import become
from tests.support.waiting import eventually

NOBODY = 65534
AS_NOBODY = partial(become, NOBODY)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user")


def appliance_file(daemon: Daemon, text: str) -> None:
    (daemon.etc / "appliance.yaml").write_text(text)


def test_a_second_appliance_on_the_same_store_is_rejected_with_the_pid_of_the_first(daemon: Daemon) -> None:
    daemon.start()
    appliance_file(daemon, APPLIANCE_FILE.replace("console.sock", "other.sock"))
    error = daemon.serve_rejected()
    assert daemon.process
    assert f"(pid {daemon.process.pid})" in error
    daemon.assert_healthy()


@pytest.mark.parametrize(
    "content", [b"x", b"this is no database, but long enough to be read as one" * 10], ids=["short", "long"]
)
def test_a_store_that_is_not_a_database_is_rejected_and_unchanged(daemon: Daemon, content: bytes) -> None:
    (daemon.var / "sched.db").write_bytes(content)
    daemon.launch()
    eventually(lambda: daemon.ended() or " is ready" in daemon.log, "an outcome")
    assert (daemon.var / "sched.db").read_bytes() == content
    assert "not a SQLite database" in daemon.serve_rejected()
    assert (daemon.var / "sched.db").read_bytes() == content


def test_the_database_of_another_program_is_rejected_and_unchanged(daemon: Daemon) -> None:
    with sqlite3.connect(daemon.var / "sched.db") as other:
        other.execute("CREATE TABLE precious (a)")
    other.close()
    before = (daemon.var / "sched.db").read_bytes()
    assert "belongs to another program" in daemon.serve_rejected()
    assert (daemon.var / "sched.db").read_bytes() == before


def test_a_store_with_a_newer_schema_is_rejected(daemon: Daemon) -> None:
    daemon.start()
    daemon.stop()
    with sqlite3.connect(daemon.var / "sched.db") as store:
        store.execute("PRAGMA user_version = 999")
    store.close()
    assert "has schema 999" in daemon.serve_rejected()


def test_a_damaged_store_is_rejected(daemon: Daemon) -> None:
    daemon.start()
    daemon.stop()
    path = daemon.var / "sched.db"
    data = bytearray(path.read_bytes())
    data[100:8192] = b"\xff" * (8192 - 100)
    path.write_bytes(data)
    daemon.serve_rejected()


def test_a_missing_directory_of_the_store_is_rejected(daemon: Daemon) -> None:
    daemon.conf.write_text(daemon.conf.read_text().replace("../var/sched.db", "../nowhere/sched.db"))
    assert f"mkdir -p {daemon.root}/nowhere" in daemon.serve_rejected()
    assert not (daemon.root / "nowhere").exists()


def test_a_store_that_is_a_directory_is_rejected(daemon: Daemon) -> None:
    (daemon.var / "sched.db").mkdir()
    assert "not a file" in daemon.serve_rejected()


@as_root
def test_an_unwritable_directory_is_rejected(public_daemon: Daemon) -> None:
    daemon = public_daemon
    assert "cannot create" in daemon.serve_rejected(AS_NOBODY)
    (daemon.var / "spool").mkdir()
    os.chown(daemon.var / "spool", NOBODY, NOBODY)
    error = daemon.serve_rejected(AS_NOBODY)
    assert f"not writable: {daemon.var}" in error


@as_root
@pytest.mark.parametrize(
    "name", ["log", "sched.db-wal", "sched.db-shm", "sched.db.lock", "console.sock.lock", "spool/.lock"]
)
def test_a_file_that_a_start_as_root_has_left_is_named(public_daemon: Daemon, name: str) -> None:
    """The errors blamed the directory, which is writable, or the disk, and doctor found nothing."""
    daemon = public_daemon
    config = daemon.etc / "appliance.yaml"
    config.write_text(config.read_text().replace("log: {", "log: { file: ../var/log,"))
    daemon.launch()
    eventually(lambda: (daemon.var / "log").exists() and " is ready" in (daemon.var / "log").read_text(), "the start")
    daemon.kill()
    for path in (daemon.var, *daemon.var.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    path = daemon.var / name
    os.chown(path, 0, 0)
    path.chmod(0o600)
    rejection = daemon.serve_rejected(AS_NOBODY)
    problem = (
        "Permission denied; it belongs to `root` and has mode 0600; change its owner or its permissions for `nobody`"
    )
    assert f"{path} cannot be used: {problem}" in rejection
    finding = f"{path}: E608 `nobody`, the user of the appliance, cannot "
    assert finding in command("doctor", "--config", str(config)).stdout


@as_root
def test_files_that_become_unreadable_leave_the_running_configuration_active(public_daemon: Daemon) -> None:
    """An earlier daemon ended when it could not even stat a path in a directory that it may not enter."""
    daemon = public_daemon
    os.chown(daemon.var, NOBODY, NOBODY)
    daemon.launch(AS_NOBODY)
    daemon.wait_for_log(" is ready")
    daemon.etc.chmod(0o700)
    (daemon.etc / "hint").touch()
    daemon.wait_for_log("cannot read")
    assert daemon.say("config get message_expiration").startswith("Message_Expiration = ")
    daemon.etc.chmod(0o755)
    assert daemon.say("config reload").startswith("OK")
    daemon.assert_healthy()


@as_root
def test_an_unreadable_file_is_rejected(public_daemon: Daemon) -> None:
    daemon = public_daemon
    daemon.conf.chmod(0o600)
    assert "Permission denied" in daemon.serve_rejected(AS_NOBODY)
    daemon.conf.chmod(0o644)
    (daemon.etc / "secret").mkdir(mode=0o700)
    (daemon.etc / "appliance.yaml").chmod(0o600)
    assert "Permission denied" in daemon.serve_rejected(AS_NOBODY)


@as_root
def test_an_include_behind_an_unreadable_directory_is_rejected(public_daemon: Daemon) -> None:
    daemon = public_daemon
    (daemon.etc / "secret").mkdir(mode=0o700)
    daemon.conf.write_text('include "secret/file.conf"\n')
    assert "Permission denied" in daemon.serve_rejected(AS_NOBODY)


@as_root
def test_a_user_without_a_name_can_run_it(public_daemon: Daemon) -> None:
    daemon = public_daemon
    os.chown(daemon.var, 54321, 54321)
    daemon.launch(partial(become, 54321))
    eventually(lambda: daemon.ended() or " is ready" in daemon.log, "an outcome")
    daemon.assert_healthy()


BAD_STANZAS = {
    "an unclosed stanza": ('sched { backing_store = "x"\n', "E10"),
    "an unknown stanza": ("shed { }\n", "did you mean `sched`?"),
    "a missing include": ('include "none.conf"\n', "none.conf"),
    "a circle of includes": ('include "sched.conf"\n', "includes itself"),
    "a binary file": ("\0\1\2", "binary"),
    "a spool without a store": ("A = 1\n", "the spool needs a `backing_store`"),
    "an empty file": ("", "holds no statement"),
}


@pytest.mark.parametrize("mistake", BAD_STANZAS)
def test_a_bad_stanza_file_is_rejected(daemon: Daemon, mistake: str) -> None:
    text, expected = BAD_STANZAS[mistake]
    daemon.conf.write_text(text)
    error = daemon.serve_rejected()
    assert expected in error
    assert "help: " in error
    assert os.listdir(daemon.var) == []


BAD_FILES = {
    "no YAML": ("node: [\n", "E1"),
    "an empty file": ("", "missing key `config`"),
    "a list": ("- a\n- b\n", "not a mapping"),
    "a key twice": ("config: a\nconfig: b\n", "config"),
    "an unknown key": ("config: sched.conf\nconsol: { listen: x }\n", "did you mean `console`?"),
    "binary": ("\0\1", "binary"),
    "a tag": ("config: !!python/object/apply:os.system [ 'true' ]\n", "config"),
    "an anchor bomb": ("a: &a [ x ]\nb: &b [ *a, *a ]\nconfig: *b\n", "error"),
    "an unknown group": (APPLIANCE_FILE.replace("sock }", "sock, group: nonsense }"), "there is no group nonsense"),
    "a socket in a file": (APPLIANCE_FILE.replace("../var/console.sock", "sched.conf/a/b"), "is not a directory"),
    "a spool that is a file": (
        APPLIANCE_FILE.replace("../var/spool", "/proc/version"),
        "is not a directory; move it away",
    ),
    "a socket with a long name": (APPLIANCE_FILE.replace("console.sock", "x" * 120), "shorten it to 80 bytes"),
    "a socket with a name too long": (APPLIANCE_FILE.replace("console.sock", "x" * 300), "too long"),
    "no stanza file": (APPLIANCE_FILE.replace("sched.conf", "none.conf"), "none.conf"),
    "a stanza file that is a directory": (APPLIANCE_FILE.replace("sched.conf", "."), "directory"),
}


@pytest.mark.parametrize("mistake", BAD_FILES)
def test_a_bad_appliance_file_is_rejected(daemon: Daemon, mistake: str) -> None:
    text, expected = BAD_FILES[mistake]
    appliance_file(daemon, text)
    assert expected in daemon.serve_rejected()


def test_a_path_with_two_uses_is_rejected_before_anything_is_made(daemon: Daemon) -> None:
    config = daemon.etc / "appliance.yaml"
    config.write_text(config.read_text().replace("console.sock", "sched.db.lock"))
    assert "error[E216]: `backing_store` and `console.listen` both use" in daemon.serve_rejected()
    assert list(daemon.var.iterdir()) == []


def test_a_missing_appliance_file_is_reported(tmp_path: Path) -> None:
    for arguments in ((), ("--config", "none.yaml"), ("--config", ".")):
        done = command("serve", *arguments, cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[2])})
        assert done.returncode == 78, done.stderr
        assert 1 <= done.stderr.count("\n") <= 4, done.stderr
    assert os.listdir(tmp_path) == []


def test_without_store_and_spool_it_starts_and_warns(daemon: Daemon) -> None:
    appliance_file(daemon, "config: sched.conf\nconsole: { listen: ../var/console.sock }\n")
    daemon.conf.write_text('program "hello" { argv = ( "/bin/echo" "hello" ) }\n')
    daemon.start()
    assert "scheduled jobs cannot be persisted as the backing store was omitted" in daemon.log
    assert "/1" in daemon.say("run hello")
    daemon.wait_for_state("succeeded")
    assert daemon.say("sched in 900 version")
    assert daemon.say("sched list").count("\n") == 2
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.say("sched list").count("\n") == 1


def test_a_path_may_contain_blanks_quotes_and_other_letters(daemon: Daemon) -> None:
    odd = Daemon(daemon.root / "a  b'c%é#?&=+")
    try:
        odd.start()
        odd.say("run append")
        odd.wait_for_state("succeeded")
        odd.drop("a.cmd", "version\n".replace("version", "sched list"))
        odd.result("a.cmd", "done")
        odd.kill()
        odd.start()
        assert odd.say("sched list").count("\n") == 1
        assert sorted(os.listdir(odd.var)) == sorted(
            [
                "console.sock",
                "console.sock.lock",
                "sched.db",
                "sched.db-shm",
                "sched.db-wal",
                "sched.db.lock",
                "sched.db.output",
                "spool",
            ]
        )
    finally:
        odd.end()


def test_a_stop_right_after_the_start_exits_with_status_0(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.start()
        assert daemon.stop() == 0
    eventually(lambda: daemon.log.count("stopped") >= 3)
