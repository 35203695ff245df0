"""`doctor` on real files, mounts, users and appliances: what it reports and prints, and that it changes nothing."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from schedappliance.cli.main import main
from schedappliance.client.places import VARIABLE
from schedappliance.doctor import running
from schedappliance.edge.console.listener import ListeningSocket
from tests.support.daemon import APPLIANCE_FILE, STANZAS, Daemon, command
from tests.support.waiting import eventually

NOBODY = 65534
WELL = "checked 2 files, 3 programs, the store, the spool, the console's socket, inotify: no problems found\n"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners and become another user")

# Takes every inotify instance of a user, then runs doctor; the user is an argument.
EXHAUSTED = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.setresuid(int(sys.argv[1]), int(sys.argv[1]), 0)
while libc.inotify_init1(os.O_CLOEXEC) >= 0:
    pass
os.setresuid(0, 0, 0)
from schedappliance.cli.main import main
sys.exit(main(["doctor", "--config", sys.argv[2]]))
"""

# Runs doctor as a user who is unrelated to the appliance; its modules are imported before the change of the user.
AS_ANOTHER = """
import os, sys
from pathlib import Path
import watchdog.events, watchdog.observers
from schedappliance.cli import doctor
from schedappliance.model.loading import load
from schedappliance.model.appliance_file import read_appliance_file
config = Path(sys.argv[1])
load(read_appliance_file(config)[0].config)
os.setgroups([])
os.setresgid(61234, 61234, 61234)
os.setresuid(61234, 61234, 61234)
sys.exit(doctor.run(doctor.parse(["--config", str(config)])))
"""

Printed = tuple[int, list[str]]
Doctor = Callable[..., Printed]


# The finding about an appliance that stands still.
SILENT = "W631 etc/appliance.yaml"


@pytest.fixture
def doctor(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs doctor on the daemon's files; returns the status, and for each finding its code and path below the root."""
    daemon.is_copy = False  # doctor knows a daemon by its command

    def run(config: Path = daemon.etc / "appliance.yaml") -> Printed:
        status = main(["doctor", "--config", str(config)])
        *lines, last = capsys.readouterr().out.replace(f"{daemon.root}/", "").splitlines()
        assert last.startswith("checked 2 files, ") and (" no problems found" in last) == (not lines)
        findings = []
        for line in lines:
            place, rest = line.split(": ", 1)
            assert "; " in rest, "a remedy"
            findings.append(f"{rest.split()[0]} {place}")
        return status, findings

    return run


@pytest.fixture
def mounted() -> Iterator[Callable[..., None]]:
    """Mounts file systems; the end of the test unmounts them."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount")
    points: list[Path] = []

    def call(*options: str, what: str | Path, point: Path) -> None:
        done = subprocess.run([mount, *options, what, point], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.decode().strip()}")
        points.append(point)

    yield call
    for point in reversed(points):
        subprocess.run(["umount", "-l", point], check=True)


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    """All paths with mode, size and time of change, to compare before and after."""
    entries = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        entries.append((str(path), status.st_mode, status.st_size, status.st_mtime_ns))
    return entries


def test_no_problems_are_found_before_the_first_start_and_while_it_runs(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["doctor", "--config", str(daemon.etc / "appliance.yaml")]
    before = snapshot(daemon.root)
    assert (main(command), capsys.readouterr()) == (0, (WELL, ""))
    assert snapshot(daemon.root) == before, "doctor creates nothing"
    daemon.start()
    daemon.say("sched in 900 version")
    assert (main(command), capsys.readouterr()) == (0, (WELL, ""))
    assert daemon.say("sched list").count("\n") == 2
    daemon.kill()
    before = snapshot(daemon.root)
    assert (main(command), capsys.readouterr()) == (0, (WELL, ""))
    assert snapshot(daemon.root) == before


def test_findings_as_data_have_the_form_of_the_linter(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + 'program "x" { argv = ( /nowhere/x ) }\n')
    daemon.conf.chmod(0o666)
    assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml"), "--format", "json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["code"], first["severity"], first["file"]) == ("E606", "error", str(daemon.conf))
    assert (second["code"], second["severity"], second["line"]) == ("W403", "warning", 6)
    assert first.keys() == second.keys() > {"message", "help", "column"}


@pytest.mark.parametrize(
    ("text", "error"), [(None, "error[E307]: cannot read"), ("config: [\n", "error[E111]"), ("", "error[E205]")]
)
def test_an_unreadable_configuration_is_reported(
    text: str | None, error: str, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    config = daemon.etc / "appliance.yaml"
    config.unlink()
    if text is not None:
        config.write_text(text)
    assert main(["doctor", "--config", str(config)]) == 78
    printed = capsys.readouterr()
    assert (printed.out, printed.err[: len(error)]) == ("", error)


def test_a_missing_stanza_file_is_reported(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.conf.unlink()
    assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 78
    assert "error[E307]: cannot read" in capsys.readouterr().err


def test_mistakes_in_the_files_are_findings_too(daemon: Daemon, doctor: Doctor) -> None:
    daemon.conf.write_text("sched { backing_stor = x }\n")
    daemon.etc.chmod(0o777)
    status, findings = doctor()
    assert status == 1 and {"E606 etc", "E202 etc/sched.conf:1:9"} <= set(findings)


def test_permissions_that_are_too_wide_are_found(daemon: Daemon, doctor: Doctor) -> None:
    daemon.start()
    daemon.conf.chmod(0o646)
    daemon.var.chmod(0o777)
    (daemon.var / "sched.db").chmod(0o644)
    (daemon.var / "spool" / "new").chmod(0o755)
    daemon.socket_path.chmod(0o777)
    wide = ["W609 var/console.sock", "W609 var/sched.db", "W609 var/spool/new"]
    assert doctor() == (1, ["E606 etc/sched.conf", "E606 var", *wide])


def test_locks_that_others_can_take_are_found_and_a_restart_mends_them(daemon: Daemon, doctor: Doctor) -> None:
    daemon.start()
    names = ["var/console.sock.lock", "var/sched.db.lock", "var/spool/.lock"]
    for name in names:
        (daemon.root / name).chmod(0o644)
    assert doctor() == (1, [f"W609 {name}" for name in names])
    daemon.stop()
    daemon.start()
    assert doctor() == (0, [])


def test_removed_directories_of_the_spool_are_found(
    daemon: Daemon, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.1)
    spool = daemon.var / "spool"
    spool.mkdir()
    assert doctor() == (0, []), "the first start fills an empty directory"
    daemon.start()
    with daemon.frozen():
        (spool / "new").rmdir()
        (spool / "tmp").rmdir()
        assert doctor() == (1, [SILENT, "E615 var/spool/new", "E615 var/spool/tmp"])
        shutil.rmtree(spool)
        assert doctor() == (1, [SILENT, "E615 var/spool"])
        assert daemon.process
        daemon.process.kill()
    daemon.kill()
    daemon.start()
    monkeypatch.undo()
    assert doctor() == (0, [])


def test_a_store_without_its_directory_and_a_console_on_a_file_are_found(daemon: Daemon, doctor: Doctor) -> None:
    daemon.conf.write_text(daemon.conf.read_text().replace("../var/", "../missing/"))
    daemon.socket_path.write_text("")
    (daemon.etc / "appliance.yaml").write_text(APPLIANCE_FILE.replace(".sock }", ".sock, group: no-such-group }"))
    wanted = ["E610 missing/sched.db", "E614 var/console.sock", "E614 var/console.sock"]
    assert doctor() == (1, wanted)


# What is in the way, the file or directory that needs the place, the finding, and the remedy of both.
IN_THE_WAY = [
    ("var/spool", "var/spool", "E629 var/spool", "move it away"),
    ("var/a", "var/a/spool", "E629 var/a/spool", "move it away"),
    ("var/a", "var/a/console.sock", "E616 var/a", "move it away"),
    ("var/a", "var/a/log", "E616 var/a", "move it away"),
    ("", "var/a/log", "E616 var/a", "create it"),
    ("var/a", "var/a/sched.db", "E610 var/a/sched.db", "move it away"),
]


@pytest.mark.parametrize(("name", "path", "finding", "remedy"), IN_THE_WAY)
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_what_is_in_the_place_of_a_directory_is_found(
    daemon: Daemon, doctor: Doctor, name: str, path: str, finding: str, remedy: str, make: Callable[[Path], None]
) -> None:
    """`serve` names the same remedy: the directory above it may well be writable."""
    keys = {"spool": "spool: { path: ../var/spool }", "console.sock": "listen: ../var/console.sock"}
    text, last = (daemon.etc / "appliance.yaml").read_text(), Path(path).name
    if last == "log":
        text = text.replace("log: { level: debug }", f"log: {{ file: ../{path} }}")
    elif last in keys:
        text = text.replace(keys[last], keys[last].replace(f"var/{last}", path))
    else:
        daemon.conf.write_text(daemon.conf.read_text().replace("../var/sched.db", f"../{path}"))
    (daemon.etc / "appliance.yaml").write_text(text)
    if name:
        make(daemon.root / name)
    assert doctor() == (1, [finding])
    rejected = daemon.serve_rejected()
    directory = daemon.root / (name or "var/a")
    assert (
        f"{directory} is not a directory; {remedy}" if name else f"create its directory: mkdir -p {directory}"
    ) in rejected


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (Path.mkdir, "is a directory, not a file; move it away, or name another file in `log: file`"),
        (os.mkfifo, "is a FIFO, not a file; move it away, or name another file in `log: file`"),
        (lambda path: path.symlink_to("x"), "is a symbolic link, not a file; move it away, or name another file"),
        (None, "is a device, not a file; name another file in `log: file`; without the key, the log goes to stderr"),
    ],
)
def test_what_is_in_the_place_of_the_log_is_found(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], make: Callable[[Path], None] | None, remedy: str
) -> None:
    """`serve` ends with status 78, and names the same remedy."""
    log = daemon.var / "app.log" if make else Path("/dev/full")
    if make:
        make(log)
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("log: { level: debug }", f"log: {{ file: {log} }}"))
    assert main(["doctor", "--config", str(file)]) == 1
    assert f"{log}: E616 {log} {remedy}" in capsys.readouterr().out
    assert f"{log} {remedy}" in daemon.serve_rejected()


def test_a_group_of_the_spool_that_does_not_exist_is_found(daemon: Daemon, doctor: Doctor) -> None:
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("../var/spool", "../var/spool, group: no-such-group"))
    assert doctor() == (1, ["E629 var/spool"])
    assert "there is no group no-such-group" in daemon.serve_rejected()


@pytest.mark.parametrize(
    ("keys", "findings"),
    [
        ("listen: ../var/web.sock, group: no-such-group", ["E630 etc/appliance.yaml"]),
        ("user_header: X-User, proxies: [root, '33', no-such-user]", ["E630 etc/appliance.yaml"]),
        ("listen: ../var/a", ["E630 var/a"]),
        ("tokens: ../var/a", ["E630 var/a"]),
        ("listen: ../var/web.sock, tokens: ../var/none", []),
    ],
)
def test_what_keeps_the_page_from_its_start_is_found(
    daemon: Daemon, doctor: Doctor, keys: str, findings: list[str]
) -> None:
    (daemon.var / "a").mkdir()
    file = daemon.etc / "appliance.yaml"
    file.write_text(f"{file.read_text()}\nweb: {{ {keys} }}\n")
    assert doctor() == (int(bool(findings)), findings)


@as_root
def test_tokens_that_the_page_does_not_take_are_found(daemon: Daemon, doctor: Doctor) -> None:
    """Its user may be a delegate: others would have no use for the page."""
    tokens = daemon.etc / "web-tokens"
    tokens.write_text("# no tokens\n")
    assert doctor() == (0, [])
    os.chown(tokens, NOBODY, NOBODY)
    assert doctor() == (1, ["E630 etc/web-tokens"])
    role = 'Role "page" { allow = ( "." ) users = ( "root" "nobody" ) }'
    daemon.conf.write_text(f'{daemon.conf.read_text()}\nAuthorization {{ delegates = ( "nobody" ) {role} }}\n')
    assert doctor() == (0, [])
    tokens.chmod(0o666)
    assert doctor() == (1, ["E630 etc/web-tokens"])


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_of_outputs_of_another_user_is_found(daemon: Daemon, doctor: Doctor, mode: int) -> None:
    daemon.start()
    assert daemon.stop() == 0
    daemon.outputs.chmod(mode)
    os.chown(daemon.outputs, NOBODY, NOBODY)
    assert doctor() == (1, ["E616 var/sched.db.output"])
    assert (
        f"{daemon.outputs}: it belongs to the user {NOBODY}, and not to that of the appliance"
        in daemon.serve_rejected()
    )
    os.chown(daemon.outputs, 0, 0)
    daemon.outputs.chmod(0o700)
    assert doctor() == (0, [])
    daemon.start()


def test_a_store_of_a_newer_version_is_found(
    daemon: Daemon, doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after going back a version: `serve` rejects the store, and the doctor says so before."""
    daemon.start()
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.var / "sched.db")) as store:
        store.execute("PRAGMA user_version = 1000")
    assert doctor() == (1, ["E610 var/sched.db"])
    assert main(["store", "check", str(daemon.var / "sched.db")]) != 0
    assert "has schema 1000, and this version knows schemas up to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        ("/", "/: E610 the store is not a file: /"),
        (f"../var/{'x' * 228}", "E610 the name of the store is too long"),
        ("/sys/x.db", "/sys: E608 its file system (sysfs) is one of the kernel"),
    ],
    ids=["root", "long", "sysfs"],
)
def test_a_path_at_which_no_store_can_be_is_found(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], store: str, problem: str
) -> None:
    """The root directory has no directory above it. With a longer name, the files beside the store cannot be created."""
    daemon.conf.write_text(daemon.conf.read_text().replace("../var/sched.db", store))
    assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 1
    assert problem in capsys.readouterr().out
    assert daemon.serve_rejected()


def test_the_root_directory_in_place_of_a_socket_is_found(daemon: Daemon, doctor: Doctor) -> None:
    file = daemon.etc / "appliance.yaml"
    file.write_text(APPLIANCE_FILE.replace("../var/console.sock", "/"))
    assert doctor() == (1, ["E614 /"])


@pytest.mark.parametrize("header", ["", "PRAGMA application_id = 1234", "PRAGMA user_version = 10"])
def test_the_database_of_another_program_is_found(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], header: str
) -> None:
    """The remedies told to restore a backup over it, and to close it to its own program."""
    path = daemon.var / "sched.db"
    with closing(sqlite3.connect(path)) as other:
        other.executescript(f"CREATE TABLE bookmarks (a); {header}")
    path.chmod(0o644)
    assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 1
    finding, _ = capsys.readouterr().out.splitlines()
    problem = f"the database belongs to another program: {path}; name another file in `backing_store`"
    assert finding.endswith(f": E610 {problem}")
    assert problem in daemon.serve_rejected()


@pytest.mark.parametrize("content", [b"text\n", b"text\n" * 1000])
def test_a_store_that_is_not_a_database_is_found(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = daemon.var / "sched.db"
    path.write_bytes(content)
    assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 1
    finding, _ = capsys.readouterr().out.splitlines()
    assert f": E610 not a SQLite database: {path}; name another file in `backing_store`, or move" in finding


def test_a_directory_of_the_store_that_the_first_start_creates_is_no_problem(daemon: Daemon, doctor: Doctor) -> None:
    shutil.rmtree(daemon.root / "var")
    assert doctor() == (0, [])
    daemon.start()
    assert (daemon.root / "var").is_dir()


def test_a_working_directory_that_is_missing_is_found(daemon: Daemon, doctor: Doctor) -> None:
    daemon.conf.write_text(STANZAS % daemon.etc + 'program "x" {\n  argv = ( "/bin/true" )\n  cwd = /nowhere\n}\n')
    assert doctor() == (1, ["W407 etc/sched.conf:8:9"])


@as_root
def test_executables_and_their_directories_are_judged_for_their_user(daemon: Daemon, doctor: Doctor) -> None:
    script = daemon.root / "tidy"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    daemon.conf.write_text(daemon.conf.read_text() + f'program "tidy" {{ argv = ( "{script}" )  user = "nobody" }}\n')
    status, findings = doctor()
    assert status == 1 and findings[0].startswith("E608 "), "for the script or for a closed directory above it"
    daemon.conf.write_text(daemon.conf.read_text().replace('user = "nobody"', ""))
    assert doctor() == (0, [])
    script.chmod(0o777)
    assert doctor() == (1, ["E606 tidy"])
    os.chown(script, NOBODY, -1)
    script.chmod(0o755)
    assert doctor() == (1, ["W607 tidy"])


@as_root
def test_what_the_user_of_a_program_cannot_reach_is_found_by_doctor_and_preview(
    of_nobody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The directory and the interpreter exist, and root can use both."""
    closed, script, variables = (of_nobody / name for name in ("closed", "script", "variables"))
    closed.mkdir(0o700)
    shutil.copy("/bin/true", closed / "true")
    variables.touch(0o600)
    script.write_text(f"#!{closed}/true\n")
    script.chmod(0o755)
    conf, config = of_nobody / "etc/sched.conf", str(of_nobody / "etc/appliance.yaml")
    base = conf.read_text()

    def found(*options: str) -> list[str]:
        stanzas = (f'program "p{number}" {{ {one} }}\n' for number, one in enumerate(options))
        conf.write_text(base + "".join(stanzas))
        main(["doctor", "--config", config])
        findings = [line for line in capsys.readouterr().out.splitlines() if " E608 " in line]
        main(["preview", "--config", config])
        notes = [line for line in capsys.readouterr().err.splitlines() if " E608 " in line]
        assert notes == [f"note: {line}" for line in findings]
        return [line.partition("; ")[0] for line in findings]

    directory = f'argv = ( "/bin/true" ) cwd = "{closed}"'
    who = f"{closed}: E608 `nobody`, the user of program"
    assert found(directory) == [f"{who} `p0`, cannot enter it"]
    assert found(directory, f'argv = ( "{script}" )') == [f"{who} `p0` and 1 other, cannot enter it"]
    appliance = f"{variables}: E608 `nobody`, the user of the appliance, cannot read it"
    assert found(f'argv = ( "/bin/true" ) env_file = "{variables}"') == [
        f"{appliance} for the `env_file` of program `p0`"
    ]
    closed.chmod(0o711)
    for owner, shown in ((NOBODY, []), (NOBODY - 1, [f"{conf}:2:50: W422 env_file `{variables}` belongs to user"])):
        os.chown(variables, owner, NOBODY)
        main(["doctor", "--config", config])
        findings = [line for line in capsys.readouterr().out.splitlines() if " W422 " in line]
        assert [line.split(f" {owner}")[0] for line in findings] == shown
    os.chown(variables, NOBODY, NOBODY)
    assert found(directory, f'argv = ( "{script}" )') == []


def test_a_relative_store_behind_a_link_is_found(daemon: Daemon, doctor: Doctor) -> None:
    link = daemon.root / "now"
    link.symlink_to(daemon.etc)
    wanted = ["W604 now/appliance.yaml", "W604 now/sched.conf"]
    assert doctor(link / "appliance.yaml") == (1, wanted)
    for file in (daemon.conf, daemon.etc / "appliance.yaml"):
        file.write_text(file.read_text().replace("../var", str(daemon.var)))
    assert doctor(link / "appliance.yaml") == (0, [])


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_link_that_leads_elsewhere_than_at_the_start_is_found(
    daemon: Daemon, doctor: Doctor, capsys: pytest.CaptureFixture[str], is_copied: bool
) -> None:
    """Seven files counted as deleted, and the remedy was to put them back where they have never been."""
    first, second, link = (daemon.root / name for name in ("first", "second", "link"))
    daemon.var.rename(first)
    daemon.var.symlink_to(first)
    config = daemon.etc / "appliance.yaml"
    config.write_text(config.read_text().replace("../var", str(daemon.var)))
    daemon.conf.write_text(daemon.conf.read_text().replace("../var", str(daemon.var)))
    daemon.start()
    assert doctor() == (0, [])
    shutil.copytree(first, second, ignore=shutil.ignore_patterns("*.sock")) if is_copied else second.mkdir()
    link.symlink_to(second)
    link.rename(daemon.var)
    status, findings = doctor()
    assert (status, [line for line in findings if "E616" in line]) == (1, ["E616 var/sched.db", "E616 var/spool"])
    assert not [line for line in findings if "E615" in line]
    main(["doctor", "--config", str(config)])
    uses = f"uses {first}/sched.db, but the links in this path lead elsewhere now; change them back, or restart"
    assert uses in capsys.readouterr().out
    link.symlink_to(first)
    link.rename(daemon.var)
    assert doctor() == (0, [])


def test_another_appliance_on_the_same_store_is_found(daemon: Daemon, doctor: Doctor, tmp_path: Path) -> None:
    other = tmp_path / "other" / "etc"
    shutil.copytree(daemon.etc, other)
    (other / "sched.conf").write_text(daemon.conf.read_text().replace("../var", str(daemon.var)))
    (other.parent / "var").mkdir()
    assert doctor(other / "appliance.yaml") == (0, [])
    daemon.start()
    assert doctor(other / "appliance.yaml") == (1, ["E613 var/sched.db"])
    assert doctor() == (0, [])


def bind_console(daemon: Daemon, listener: socket.socket) -> None:
    """Binds a socket at the path of the console. The path itself may be longer than an address."""
    directory = os.open(daemon.var, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{directory}/console.sock")
    finally:
        os.close(directory)
    daemon.socket_path.chmod(0o660)


def test_a_socket_of_another_listener_is_found(daemon: Daemon, doctor: Doctor) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        bind_console(daemon, listener)
        assert doctor() == (0, []), "the listener does not answer"
        listener.listen()
        assert doctor() == (1, ["E613 var/console.sock"])


def test_a_read_only_file_system_is_found(daemon: Daemon, doctor: Doctor, mounted: Callable[..., None]) -> None:
    spool = daemon.var / "spool"
    spool.mkdir()
    mounted("--bind", "-o", "ro", what=spool, point=spool)
    assert "Read-only file system" in daemon.serve_rejected()
    assert doctor() == (1, ["E608 var/spool"])


@as_root
@pytest.mark.skipif(not all(map(shutil.which, ("unshare", "nsenter"))), reason="needs unshare and nsenter")
def test_the_mounts_of_the_daemon_are_judged_while_it_runs(
    daemon: Daemon, doctor: Doctor, mounted: Callable[..., None]
) -> None:
    """systemd gives it mounts of its own for `ProtectSystem=strict`."""
    spool = daemon.var / "spool"
    daemon.wrapper = ["unshare", "--mount"]
    daemon.start()
    mounted("--bind", "-o", "ro", what=spool, point=spool)
    assert doctor() == (0, []), "only the doctor sees it"
    assert daemon.process is not None
    there = ["nsenter", "--mount", "--target", str(daemon.process.pid)]
    subprocess.run([*there, "mount", "--bind", "-o", "ro", str(daemon.var), str(daemon.var)], check=True)
    assert "E608 var" in doctor()[1]
    daemon.kill()
    assert doctor() == (1, ["E608 var/spool"])


def test_a_file_of_the_keeper_that_cannot_be_written_is_found(
    daemon: Daemon, doctor: Doctor, mounted: Callable[..., None]
) -> None:
    """It is mounted by itself, say."""
    daemon.outputs.mkdir(mode=0o700)
    ends = daemon.outputs / "keeper.ends"
    ends.touch(mode=0o600)
    mounted("--bind", "-o", "ro", what=ends, point=ends)
    assert doctor() == (1, ["E608 var/sched.db.output/keeper.ends"])
    daemon.start()
    daemon.wait_for_log("degraded: no program can be started: cannot reach the keeper: ")
    assert doctor() == (1, ["E617 etc/appliance.yaml", "E608 var/sched.db.output/keeper.ends"])
    daemon.say("run hello")
    subprocess.run(["mount", "-o", "remount,bind,rw", ends], check=True)
    daemon.wait_for_state("succeeded")


@pytest.mark.parametrize(
    "name", ["sched.db", "sched.db.lock", "sched.db.output", "sched.db.output/keeper.ends", "spool/new"]
)
def test_an_immutable_file_is_found(daemon: Daemon, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Owner and mode do not show it, and root may not write it either."""
    daemon.start()
    daemon.run("run hello")
    daemon.kill()
    assert doctor() == (0, [])
    access, frozen = os.access, (daemon.var / name, os.W_OK)
    monkeypatch.setattr(os, "access", lambda path, bits: (Path(path), bits) != frozen and access(path, bits))
    assert doctor() == (1, [f"E608 var/{name}"])


@pytest.mark.parametrize("name", ["keeper.ends", "keeper.sock"])
def test_a_directory_in_place_of_a_file_of_the_keeper_is_found(daemon: Daemon, doctor: Doctor, name: str) -> None:
    (daemon.outputs / name).mkdir(parents=True)
    daemon.outputs.chmod(0o700)
    assert doctor() == (1, [f"E616 var/sched.db.output/{name}"])
    daemon.start()
    assert daemon.run("run hello")["state"] == "succeeded"
    assert doctor() == (0, [])


def test_a_file_that_is_a_bind_mount_is_found(
    daemon: Daemon, doctor: Doctor, mounted: Callable[..., None], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text(daemon.conf.read_text())
    mounted("--bind", what=outside, point=daemon.conf)
    assert doctor() == (1, ["E601 etc/sched.conf"])
    (tmp_path / "new").write_text("A = 1\n")
    (tmp_path / "new").rename(outside)
    assert "Message_Expiration" in daemon.conf.read_text(), "what the finding is about"
    assert doctor() == (1, ["E601 etc/sched.conf"])


def test_a_bind_mount_of_the_directory_is_not_a_finding(
    daemon: Daemon, doctor: Doctor, mounted: Callable[..., None], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(daemon.etc, outside)
    mounted("--bind", what=outside, point=daemon.etc)
    assert doctor() == (0, [])


def test_little_free_space_for_the_store_is_found(daemon: Daemon, doctor: Doctor, mounted: Callable[..., None]) -> None:
    mounted("-t", "tmpfs", "-o", "size=2m,mode=755", what="tmpfs", point=daemon.var)
    assert doctor() == (1, ["W611 var/sched.db"])


def test_few_free_inodes_for_the_store_are_found(daemon: Daemon, mounted: Callable[..., None]) -> None:
    mounted("-t", "tmpfs", "-o", "size=100m,nr_inodes=5,mode=755", what="tmpfs", point=daemon.var)
    output = command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    assert "/sched.db: W611 the disk of the store has 4 inodes left, whatever space is free; " in output
    assert "MiB" not in output


@as_root
def test_owners_other_than_root_and_the_appliance_are_found(daemon: Daemon, doctor: Doctor) -> None:
    os.chown(daemon.conf, NOBODY, -1)
    os.chown(daemon.var, NOBODY, -1)
    assert doctor() == (1, ["W607 etc/sched.conf", "W607 var"])


@pytest.fixture
def of_nobody() -> Iterator[Path]:
    """The files of an appliance whose store belongs to another user."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        root.chmod(0o755)
        daemon = Daemon(root)
        daemon.conf.write_text('sched { backing_store = "../var/sched.db" }\n')
        daemon.var.chmod(0o700)
        (daemon.var / "sched.db").touch(0o600)
        for path in (daemon.var, daemon.var / "sched.db"):
            os.chown(path, NOBODY, NOBODY)
        yield root


@as_root
def test_missing_permissions_of_the_store_s_owner_are_found(
    of_nobody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, conf = of_nobody / "etc/appliance.yaml", of_nobody / "etc/sched.conf"
    command = ["doctor", "--config", str(config)]
    assert (main(command), capsys.readouterr().out.rpartition(": ")[2]) == (0, "no problems found\n")
    conf.chmod(0o600)
    main(command)
    assert capsys.readouterr().out.startswith(f"{conf}: E608 `nobody`, the user of the appliance, cannot read it; ")
    conf.chmod(0o644)
    text = config.read_text()
    config.write_text(text.replace("log: { level: debug }", f"log: {{ file: {conf.parent}/app.log }}"))
    main(command)
    assert capsys.readouterr().out.startswith(f"{conf.parent}: E608 `nobody`, the user of the appliance, cannot write")
    config.write_text(text)
    conf.parent.chmod(0o711)
    main(command)
    out = capsys.readouterr().out
    assert out.startswith(f"{conf}: W605 ") and f"Permission denied: {conf.parent}" in out


@as_root
def test_a_user_who_cannot_see_everything_gets_a_note(of_nobody: Path) -> None:
    command = [sys.executable, "-c", AS_ANOTHER, str(of_nobody / "etc" / "appliance.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("note: this user cannot see everything that the appliance's user `nobody` uses"), (
        done.stderr
    )
    assert (done.returncode, done.stdout.rpartition(": ")[2]) == (0, "no problems found\n")


@as_root
def test_what_another_user_may_not_do_or_see_is_no_finding(public_daemon: Daemon) -> None:
    """The right appliance counted as one with another configuration, and the remedy was to stop it."""
    file = public_daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("console.sock", 'console.sock, mode: "0666"'))
    role = 'Authorization { Role "all" { allow = ( "." ) users = ( "root" "nobody" ) } }'
    public_daemon.conf.write_text(f"{public_daemon.conf.read_text()}\n{role}\n")
    public_daemon.is_copy = False
    public_daemon.start()
    command = [sys.executable, "-c", AS_ANOTHER.replace("61234", str(NOBODY)), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.rpartition(": ")[2]) == (0, "no problems found\n"), done.stdout


@as_root
def test_exhausted_inotify_of_the_appliance_s_user_is_found(of_nobody: Path) -> None:
    uid = 61_234
    for path in (of_nobody / "var", of_nobody / "var" / "sched.db"):
        os.chown(path, uid, uid)
    config = of_nobody / "etc" / "appliance.yaml"
    command = [sys.executable, "-c", EXHAUSTED, str(uid), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "raise `fs.inotify.max_user_instances` with sysctl" in done.stdout, done.stderr
    assert (done.returncode, done.stdout.count("\n")) == (1, 2)


def test_an_appliance_that_is_degraded_and_held_is_found(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.is_copy = False
    daemon.start()
    daemon.say("sched hold a new disk")
    with closing(sqlite3.connect(daemon.var / "sched.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        daemon.say("sched in 900 version")
        assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 1
    trouble = "the store cannot be written: database is locked"
    out = capsys.readouterr().out
    assert f"/appliance.yaml: E617 the running appliance is degraded: {trouble}; " in out
    assert "/appliance.yaml: W621 the running appliance is held since 20" in out
    assert ": a new disk; nothing new starts; end it with `sched release`\n" in out


def test_an_appliance_that_does_not_say_how_it_is_is_found(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.is_copy = False
    daemon.conf.write_text(
        daemon.conf.read_text() + 'Authorization { Role "x" { allow = ( "." ) users = ( "mail" ) } }\n'
    )
    daemon.start()
    told = "/appliance.yaml: W631 the running appliance"

    def found() -> str:
        assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 1
        return capsys.readouterr().out

    name = pwd.getpwuid(os.geteuid()).pw_name
    assert f"{told} does not answer `summary`: no role of user `{name}` allows `summary`; run `doctor` as a" in found()
    assert daemon.process is not None
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.2)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        assert f"{told} has not answered `summary` in 0.2 seconds; `health` shows whether it stands still" in found()
    finally:
        daemon.process.send_signal(signal.SIGCONT)


REMOVABLE = ("sched.db", "sched.db-wal", "sched.db-shm", "sched.db.lock", "spool/.lock", "console.sock.lock")


def test_files_that_a_daemon_has_open_are_compared(
    daemon: Daemon, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was removed, and one in whose place another lies."""
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.1)
    daemon.start()
    daemon.say("sched in 900 version")
    missed = []
    with daemon.frozen():
        for name, is_replaced in product(REMOVABLE, (False, True)):
            path = daemon.var / name
            path.rename(daemon.root / "moved")
            if is_replaced:
                shutil.copy(daemon.root / "moved", path)
            status, findings = doctor()
            (daemon.root / "moved").replace(path)
            if status != 1 or f"E616 var/{name}" not in findings:
                missed.append((name, is_replaced, findings))
        assert missed == []
        assert doctor() == (1, [SILENT])


def test_a_directory_in_place_of_the_log_file_is_found(
    daemon: Daemon, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A restart would not help: the appliance would not start."""
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.1)
    file, log = daemon.etc / "appliance.yaml", daemon.var / "daemon.log"
    file.write_text(file.read_text().replace("log: {", f"log: {{ file: {log},"))
    daemon.launch()
    eventually(lambda: daemon.ended() or (log.exists() and " is ready" in log.read_text()), "the start")
    with daemon.frozen():
        log.rename(daemon.var / "moved")
        log.mkdir()
        assert doctor() == (1, [SILENT, "E616 var/daemon.log"])
        main(["doctor", "--config", str(file)])
        assert f"{log} is a directory, not a file; move it away, or " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "wrapper"),
    [
        (["--config", "etc/appliance.yaml"], []),
        ([], []),
        ([], ["env", f"{VARIABLE}=etc/appliance.yaml"]),
    ],
)
def test_a_removed_socket_and_output_directory_are_found(
    daemon: Daemon, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, options: list[str], wrapper: list[str]
) -> None:
    """However the appliance has found its file."""
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(daemon, "_serve_options", lambda: options)
    monkeypatch.chdir(daemon.root)
    daemon.wrapper = wrapper
    daemon.start()
    with daemon.frozen():
        daemon.socket_path.unlink()
        shutil.rmtree(daemon.outputs)
        assert doctor() == (1, ["E614 var/console.sock", "E616 var/sched.db.output"])
        with socket.socket(socket.AF_UNIX) as other:
            bind_console(daemon, other)
        assert doctor() == (1, ["E616 var/console.sock", "E616 var/sched.db.output"])


def test_a_running_page_without_its_socket_is_found(daemon: Daemon, doctor: Doctor) -> None:
    """The page makes it again, unless something keeps it from that."""
    file = daemon.etc / "appliance.yaml"
    file.write_text(f"{file.read_text()}\nweb: {{ listen: ../var/web.sock }}\n")
    page = ListeningSocket(daemon.var / "web.sock", 0o600, None, False, "web.listen")
    assert doctor() == (0, [])
    page.path.unlink()
    assert doctor() == (1, ["E630 var/web.sock"])
    page.socket.close()
    assert page.mend() == f"the page's socket {page.path} was removed or replaced; it was created again"
    assert doctor() == (0, [])
    page.close()


@as_root
def test_a_user_of_a_program_that_only_root_could_change_to_is_found_by_doctor_and_preview(
    of_nobody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf, name, group = of_nobody / "etc/sched.conf", pwd.getpwuid(NOBODY).pw_name, pwd.getpwuid(NOBODY).pw_gid
    base, config = conf.read_text(), str(of_nobody / "etc" / "appliance.yaml")

    def outputs(options: str) -> tuple[int, str, int, str]:
        """The status and the output of doctor, then the status and the notes of preview."""
        conf.write_text(f'{base}program "a" {{ argv = ( "/bin/true" ) {options} }}\n')
        doctor, findings = main(["doctor", "--config", config]), capsys.readouterr().out
        return doctor, findings, main(["preview", "--config", config]), capsys.readouterr().err

    for options in ("user = root", "user = 1", "group = 1", f'user = "{name}" group = 1'):
        doctor, findings, preview, notes = outputs(options)
        assert (doctor, preview) == (1, 0), (findings, notes)
        assert f"{conf}:2:" in findings and "E619 program `a` cannot run as this user or group" in findings
        assert notes.startswith(f"note: {conf}:2:") and "E619 program `a` cannot run" in notes
    for options in ("", f'user = "{name}"', f"user = {NOBODY} group = {group}"):
        doctor, findings, _, notes = outputs(options)
        assert (doctor, "E619" in notes) == (0, False), (findings, notes)


# A permitted capability of a file, in version 2 of its format; see capabilities(7).
CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_an_executable_that_gains_no_privileges_under_the_unit_is_found(
    daemon: Daemon, doctor: Doctor, tmp_path: Path
) -> None:
    by_bit, by_capability = tmp_path / "sudo", tmp_path / "ping"
    for file in (by_bit, by_capability):
        shutil.copy("/bin/true", file)
    by_bit.chmod(0o4755)
    os.setxattr(by_capability, "security.capability", CAP_NET_RAW)
    needed = "".join(f'program "{f.name}" {{ user = nobody\n  argv = ( "{f}" ) }}\n' for f in (by_bit, by_capability))
    daemon.conf.write_text(daemon.conf.read_text() + needed)
    wanted = ["W627 etc/sched.conf:7:12", "W627 etc/sched.conf:9:12"]
    daemon.start()
    assert not set(wanted) & set(doctor()[1])
    daemon.stop()
    daemon.wrapper = ["setpriv", "--no-new-privs"]
    daemon.start()
    assert set(wanted) <= set(doctor()[1])
    assert "W627 program `sudo` gains no privileges by the set-user-ID of" in previewed(daemon)


def previewed(daemon: Daemon) -> str:
    """The notes of `preview`."""
    return command("preview", "--config", str(daemon.etc / "appliance.yaml")).stderr


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_user_to_whom_root_without_capabilities_cannot_change_is_found(daemon: Daemon, doctor: Doctor) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + 'program "x" {\n  argv = ( "/bin/true" )\n  user = nobody\n}\n')
    daemon.wrapper = ["setpriv", "--inh-caps=-setuid", "--bounding-set=-setuid"]
    daemon.start()
    assert doctor() == (1, ["E619 etc/sched.conf:8:10"])
    assert daemon.run("run x")["state"] == "failed", "the finding is true"


# Starts a daemon with mounts of its own, as systemd does for `ProtectHome=tmpfs` and `PrivateTmp=`.
HIDING = 'mount -t tmpfs none "$1" && shift && exec "$@"'


@as_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_paths_that_the_service_hides_are_found(daemon: Daemon, doctor: Doctor, tmp_path: Path) -> None:
    home, link = tmp_path / "home", tmp_path / "link"
    (home / "alice").mkdir(parents=True)
    executable, variables = home / "alice" / "report", home / "alice" / "variables"
    shutil.copy("/bin/true", executable)
    variables.touch(0o600)
    link.symlink_to(executable)
    needed = f'program "a" {{\n  argv = ( "{link}" )\n  cwd = "{home}/alice"\n  env_file = "{variables}"\n}}\n'
    daemon.conf.write_text(daemon.conf.read_text() + needed)
    daemon.start()
    assert doctor() == (0, [])
    daemon.stop()
    daemon.wrapper = ["unshare", "--mount", "sh", "-c", HIDING, "sh", str(home)]
    daemon.start()
    assert doctor() == (1, [f"E628 etc/sched.conf:{place}" for place in ("7:12", "8:9", "9:14")])
    notes = previewed(daemon)
    assert f"E628 program `a` cannot use its `cwd`: the appliance does not see {home}/alice; change " in notes
    assert daemon.run("run a")["state"] == "failed", "the finding is true"
