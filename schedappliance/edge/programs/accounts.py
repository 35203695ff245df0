"""Looks up users and groups: the credentials and variables of a program, at each start.

Rule: a look-up may ask a directory service that hangs, so it never runs on the deciding thread. A look-up that fails does
not mean that there is no such user.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
from typing import NamedTuple

from schedappliance.edge import linux
from schedappliance.edge.programs.spawner import Unfit

PASSWD, GROUP = "/etc/passwd", "/etc/group"


class LookUpFailed(Exception):
    """A user or a group could not be looked up; the message says why. This does not mean that there is none."""


class Credentials(NamedTuple):
    """The credentials and variables of a program with a user or a group. `groups`: the supplementary ones."""

    uid: int
    gid: int
    groups: list[int]
    variables: dict[str, str]


def check_missing(call: str, key: int | bytes, database: str) -> None:
    """Returns if the system has no such entry. Raises LookUpFailed if the look-up failed: Python reports both as KeyError.

    `call`: the function of the C library, such as getpwnam_r. `database`: its file. If the C library cannot read the file, it
    may report that there is no entry.
    """
    _check_readable(database)
    try:
        if linux.is_listed(call, key):
            raise LookUpFailed(os.strerror(errno.EAGAIN))
    except OSError as error:
        raise LookUpFailed(error.strerror) from None
    _check_readable(database)


def _check_readable(database: str) -> None:
    """Raises LookUpFailed for a file that is missing, closed or empty: somebody may be about to write it."""
    try:
        descriptor = os.open(database, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LookUpFailed(f"{database}: {error.strerror}") from None
    try:
        if not os.fstat(descriptor).st_size:
            raise LookUpFailed(f"{database} is empty")
    finally:
        os.close(descriptor)


def groups_of(name: str, gid: int) -> list[int]:
    """The groups of a user.

    Raises LookUpFailed if the file of groups cannot be read, since its groups would be missing.
    """
    _check_readable(GROUP)
    groups = linux.groups_of(name, gid)
    _check_readable(GROUP)
    return groups


def variables(entry: pwd.struct_passwd | None, uid: int) -> dict[str, str]:
    """The environment variables of a user. The name of a user without an entry, as in containers, is the number."""
    name, home, shell = (entry.pw_name, entry.pw_dir, entry.pw_shell) if entry else (str(uid), "/", "")
    return {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell or "/bin/sh"}


def credentials(user: str | None, group: str | None, may_repeat: bool = True) -> Credentials:
    """The credentials for a user and a group, as the system knows them now.

    With a group and no user, there are no supplementary groups, as in a systemd unit with `Group=` and without `User=`.
    `may_repeat`: a look-up that fails will be tried again. After the last try, a number is used even without an entry, since
    a container may have no /etc/passwd. Raises Unfit and LookUpFailed.
    """
    own = os.geteuid()
    if user is None:
        return Credentials(own, os.getegid() if group is None else _gid(group), [], {})
    entry = _user(user, may_repeat)
    uid = entry.pw_uid if entry else int(user)
    if group is not None:
        gid = _gid(group)
    elif entry and (uid != own or own == 0):
        gid = entry.pw_gid
    elif uid == own:
        gid = os.getegid()
    else:
        raise Unfit(f"user {user} has no entry on this machine, so its group is unknown; set `group`")
    return Credentials(uid, gid, groups_of(entry.pw_name, gid) if entry else [], variables(entry, uid))


def _user(name: str, may_repeat: bool) -> pwd.struct_passwd | None:
    if not (name.isascii() and name.isdigit()):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            check_missing("getpwnam_r", name.encode(), PASSWD)
            raise Unfit(f"there is no user `{name}` on this machine") from None
    try:
        return pwd.getpwuid(int(name))
    except KeyError:
        if may_repeat:
            check_missing("getpwuid_r", int(name), PASSWD)
        return None


def _gid(name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        check_missing("getgrnam_r", name.encode(), GROUP)
        raise Unfit(f"there is no group `{name}` on this machine") from None
