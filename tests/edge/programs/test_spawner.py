"""What the spawner's copies do between the clone and the program: look-ups, credentials for good, reasons."""

from __future__ import annotations

import ast
import errno
import grp
import os
import platform
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from schedappliance.edge.programs import spawner
from schedappliance.edge.programs.spawner import INVALID, UnusableUser, credentials, variables, why_not
from tests.support.waiting import PATIENCE_SECONDS

NOBODY = 65534
PROGRAM = Path(spawner.__file__)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with the functions of the spawner in a process of its own, which may change its credentials."""
    text = f"import ctypes, errno, os, sys\nsys.path.insert(0, {str(PROGRAM.parent)!r})\nimport spawner\n{script}"
    command = [sys.executable, "-I", "-S", "-c", text]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_the_spawner_loads_few_modules_and_none_of_the_package() -> None:
    imports = [node for node in ast.walk(ast.parse(PROGRAM.read_text())) if isinstance(node, ast.ImportFrom)]
    assert [node.module for node in imports if node.module != "__future__"] == ["typing"], "for the type checker only"
    done = run("print(*sys.modules)")
    assert "spawner" in done.stdout.split(), done.stderr
    assert not {"typing", "subprocess", "dataclasses", "re", "site", "threading"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("error", "number", "reason"),
    [
        (OSError(errno.ENOENT, "No such file", "/srv"), errno.ENOENT, "cannot start in /srv: No such file"),
        (OSError(errno.EACCES, "Permission denied", "/bin/x"), errno.EACCES, "cannot start /bin/x: Permission denied"),
        (OSError(errno.EAGAIN, "Try again"), errno.EAGAIN, "cannot start /bin/x: Try again"),
        (OSError("strange"), 0, "cannot start /bin/x: strange"),
        (ValueError("embedded null byte"), 0, f"cannot start /bin/x: {INVALID}"),
        (RuntimeError("of Python"), 0, "cannot start /bin/x: the appliance itself failed"),
        (UnusableUser("there is no user `x`"), 0, "there is no user `x`"),
    ],
)
def test_why_not_explains_a_failed_start(error: Exception, number: int, reason: str) -> None:
    assert why_not(error, "/bin/x", "/srv") == (number, reason)


@pytest.mark.parametrize(
    ("head", "missing"),
    [
        ("#!/usr/bin/absent\n", "its interpreter /usr/bin/absent: "),
        ("#! /usr/bin/absent -x\necho\n", "its interpreter /usr/bin/absent: "),
        ("#!/bin/sh\r\necho\r\n", "its interpreter /bin/sh\\r: "),
        ("#!/bin/sh\n", ""),
        ("#!\n", ""),
        ("#!\0\n", ""),
        ("echo\n", ""),
        ("", ""),
    ],
)
def test_a_missing_interpreter_is_named(tmp_path: Path, head: str, missing: str) -> None:
    program = tmp_path / "x"
    program.write_bytes(head.encode())
    error = OSError(errno.ENOENT, "No such file", str(program))
    for name in (str(program), "./x"):
        assert why_not(error, name, str(tmp_path)) == (errno.ENOENT, f"cannot start {name}: {missing}No such file")


def test_a_program_with_the_path_of_its_directory_is_named_as_the_program() -> None:
    error = OSError(errno.EACCES, "Permission denied", "/srv")
    assert why_not(error, "/srv", "/srv") == (errno.EACCES, "cannot start /srv: Permission denied")


def test_the_variables_name_the_user() -> None:
    entry = pwd.struct_passwd(("backup", "x", 34, 34, "backup", "/var/backups", "/bin/zsh"))
    assert variables(entry, 34) == {
        "HOME": "/var/backups",
        "USER": "backup",
        "LOGNAME": "backup",
        "SHELL": "/bin/zsh",
    }
    without_shell = pwd.struct_passwd(("backup", "x", 34, 34, "backup", "/var/backups", ""))
    assert variables(without_shell, 34)["SHELL"] == "/bin/sh"
    assert variables(None, 4242) == {"HOME": "/", "USER": "4242", "LOGNAME": "4242", "SHELL": "/bin/sh"}


def test_the_modules_of_the_name_service_are_loaded_without_a_look_up(tmp_path: Path) -> None:
    switch = tmp_path / "nsswitch.conf"
    switch.write_text("# passwd: c\npasswd: files [NOTFOUND=return] a # b\n\nhosts: dns\ngroup:\ta d\n")
    script = f"""
asked = []
def load(name):
    asked.append(name)
    raise OSError
spawner.ctypes.CDLL = load
spawner.load_look_ups({str(switch)!r})
spawner.load_look_ups("/nonexistent")
print(*sorted(asked))
"""
    done = run(script)
    names = ("[NOTFOUND=return]", "a", "d", "files")
    assert done.stdout.split() == [f"libnss_{name}.so.2" for name in names], done.stderr


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the user backup (34:34, also in 50 and 60) and the group users (100)."""
    entry = pwd.struct_passwd(("backup", "x", 34, 34, "backup", "/var/backups", "/bin/sh"))

    def named(name: str) -> grp.struct_group:
        return {"users": grp.struct_group(("users", "x", 100, []))}[name]

    monkeypatch.setattr(pwd, "getpwnam", {"backup": entry}.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", {34: entry}.__getitem__)
    monkeypatch.setattr(grp, "getgrnam", named)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 50, 60] if name == "backup" else [gid])
    monkeypatch.setattr(spawner, "check_missing", lambda _call, _key, _database: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("user", "group", "wanted"),
    [
        ("backup", None, (34, 34, [34, 50, 60])),
        ("34", None, (34, 34, [34, 50, 60])),
        ("backup", "users", (34, 100, [100, 50, 60])),
        ("backup", "7", (34, 7, [7, 50, 60])),
        (None, "users", (0, 100, [])),
        ("4242", "users", (4242, 100, [])),
        ("0", None, (0, 0, [])),
    ],
)
def test_a_user_has_its_groups_and_a_group_alone_has_none(
    user: str | None, group: str | None, wanted: tuple[int, int, list[int]]
) -> None:
    uid, gid, groups, environment = credentials(user, group)
    assert (uid, gid, groups) == wanted
    assert environment.get("USER") == {34: "backup", 4242: "4242", 0: "0"}[uid] if user else not environment


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("user", "group", "reason"),
    [
        ("bakcup", None, "there is no user `bakcup` on this machine"),
        ("backup", "staff", "there is no group `staff` on this machine"),
        ("4242", None, "user 4242 has no entry on this machine, so its group is unknown; set `group`"),
    ],
)
def test_an_unknown_user_or_group_is_unusable(user: str | None, group: str | None, reason: str) -> None:
    with pytest.raises(UnusableUser, match=reason):
        credentials(user, group)


@pytest.mark.usefixtures("database")
def test_without_root_the_own_user_keeps_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 34)
    monkeypatch.setattr(os, "getegid", lambda: 77)
    assert credentials("backup", None)[:2] == (34, 77)
    assert credentials("34", None)[:2] == (34, 77)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert credentials("4242", None)[:3] == (4242, 77, [])


@as_root
def test_root_cannot_be_regained() -> None:
    done = run(f"""
spawner.become({NOBODY}, 4242, [4242, 4243, 4244], "user `nobody`")
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))
for regain in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setegid(0), lambda: os.setgroups([0])):
    try:
        regain()
        print("regained")
    except PermissionError:
        pass
""")
    assert done.stdout == f"({NOBODY}, {NOBODY}, {NOBODY}) (4242, 4242, 4242) [4242, 4243, 4244]\n", done.stderr


@as_root
def test_credentials_that_could_be_reversed_are_unusable() -> None:
    """SECBIT_NO_SETUID_FIXUP keeps the capabilities when the user changes, as a misconfigured container may do."""
    done = run(f"""
assert spawner._libc.prctl(28, 1 << 2, 0, 0, 0) == 0, "PR_SET_SECUREBITS"
try:
    spawner.become({NOBODY}, {NOBODY}, [], "user `nobody`")
except spawner.UnusableUser as error:
    print(error)
""")
    assert done.stdout == "cannot run as user `nobody`: the program could regain the appliance's rights\n", done.stderr


NOT_ROOT = f"os.setgroups([4242]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid(*[{NOBODY}] * 3)\n"


@as_root
@pytest.mark.parametrize(
    ("uid", "gid", "output"),
    [
        (NOBODY, NOBODY, "[4242]"),
        (0, NOBODY, "cannot run as it: the appliance needs root for it"),
        (NOBODY, 0, "cannot run as it: the appliance needs root for it"),
    ],
)
def test_without_root_only_the_own_credentials_are_possible(uid: int, gid: int, output: str) -> None:
    done = run(f"""
{NOT_ROOT}
try:
    spawner.become({uid}, {gid}, [], "it")
    print(os.getgroups())
except spawner.UnusableUser as error:
    print(error)
""")
    assert done.stdout == output + "\n", done.stderr


CLONE = """
class Filter:
    'A container that hides clone3, as it must when its filter cannot look into the arguments.'
    def syscall(self, number, *arguments):
        if number.value == 435 and {hidden}:
            ctypes.set_errno({errno})
            return -1
        return real.syscall(number, *arguments)
real, spawner._libc = spawner._libc, Filter()
try:
    pid = spawner.clone(os.uname().machine)
except OSError as error:
    print(error.errno, error.strerror)
else:
    if pid == 0:
        os._exit(7)
    print(pid)
"""
HIDDEN = pytest.mark.skipif(platform.machine() not in spawner._CLONE, reason="no number of clone is known here")


@pytest.mark.parametrize(
    ("hidden", "number"),
    [(False, 0), pytest.param(True, errno.ENOSYS, marks=HIDDEN), pytest.param(True, errno.EPERM, marks=HIDDEN)],
)
def test_a_copy_is_a_child_of_the_daemon(hidden: bool, number: int) -> None:
    done = run(CLONE.format(hidden=hidden, errno=number))
    pid = int(done.stdout.split()[0])
    assert pid > 0, done.stdout + done.stderr
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_failed_clone_raises_its_error() -> None:
    done = run(CLONE.format(hidden=True, errno=errno.EAGAIN))
    assert done.stdout == f"{errno.EAGAIN} {os.strerror(errno.EAGAIN)}\n"
