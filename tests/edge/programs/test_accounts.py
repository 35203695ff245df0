"""Users and groups of programs as the system knows them, and why a program was not started."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from pathlib import Path

import pytest

from schedappliance.edge import linux
from schedappliance.edge.programs import accounts
from schedappliance.edge.programs.accounts import LookUpFailed, credentials, variables
from schedappliance.edge.programs.spawner import Unfit
from schedappliance.edge.programs.start_failures import INVALID, request_failure


@pytest.mark.parametrize(
    ("error", "number", "reason"),
    [
        (OSError(errno.EACCES, "Permission denied", "/bin/x"), errno.EACCES, "cannot start /bin/x: Permission denied"),
        (OSError(errno.EAGAIN, "Try again"), errno.EAGAIN, "cannot start /bin/x: Try again"),
        (OSError("strange"), 0, "cannot start /bin/x: strange"),
        (ValueError("embedded null byte"), 0, f"cannot start /bin/x: {INVALID}"),
        (RuntimeError("of Python"), 0, "cannot start /bin/x: the appliance itself failed"),
        (Unfit("there is no user `x`"), 0, "there is no user `x`"),
        (LookUpFailed("no answer"), 0, "the program's user or group cannot be looked up: no answer"),
    ],
)
def test_why_not_explains_a_failed_start(error: Exception, number: int, reason: str) -> None:
    assert request_failure(error, "/bin/x", "/srv") == (number, reason)


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
        assert request_failure(error, name, str(tmp_path)) == (
            errno.ENOENT,
            f"cannot start {name}: {missing}No such file",
        )


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


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the user backup (34:34, also in 50 and 60) and the group users (100)."""
    entry = pwd.struct_passwd(("backup", "x", 34, 34, "backup", "/var/backups", "/bin/sh"))

    def named(name: str) -> grp.struct_group:
        return {"users": grp.struct_group(("users", "x", 100, []))}[name]

    monkeypatch.setattr(pwd, "getpwnam", {"backup": entry}.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", {34: entry}.__getitem__)
    monkeypatch.setattr(grp, "getgrnam", named)
    monkeypatch.setattr(linux, "groups_of", lambda name, gid: [gid, 50, 60] if name == "backup" else [gid])
    monkeypatch.setattr(accounts, "check_missing", lambda _call, _key, _database: None)
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
    with pytest.raises(Unfit, match=reason):
        credentials(user, group)


@pytest.mark.usefixtures("database")
def test_without_root_the_own_user_keeps_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 34)
    monkeypatch.setattr(os, "getegid", lambda: 77)
    assert credentials("backup", None)[:2] == (34, 77)
    assert credentials("34", None)[:2] == (34, 77)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert credentials("4242", None)[:3] == (4242, 77, [])
