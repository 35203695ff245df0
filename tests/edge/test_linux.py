"""System calls by ctypes: a call that fails raises OSError with its number, its text, its path and the call's name."""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Callable
from functools import partial

import pytest

from schedappliance.edge import linux

CLOSED = 999_999


@pytest.mark.parametrize(
    ("call", "name", "number", "path"),
    [
        (partial(linux.timerfd_create, 999), "timerfd_create", errno.EINVAL, None),
        (partial(linux.timerfd_settime, CLOSED, 0, 1, 0), "timerfd_settime", errno.EBADF, None),
        (partial(linux.inotify_add_watch, CLOSED, "/", 0x100), "inotify_add_watch", errno.EBADF, "/"),
        (partial(linux.rename_without_replacing, "/absent", "/none"), "renameat2", errno.ENOENT, "/none"),
        (partial(linux.file_system_magic, "/absent"), "statfs", errno.ENOENT, "/absent"),
        (partial(linux.syncfs, CLOSED, "/mnt"), "syncfs", errno.EBADF, "/mnt"),
        (partial(linux.punch_hole, CLOSED, 0, 1), "fallocate", errno.EBADF, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_that_fails_raises_its_error(
    call: Callable[[], object], name: str, number: int, path: str | None
) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        call()
    assert (raised.value.errno, raised.value.strerror, raised.value.filename) == (number, os.strerror(number), path)
    assert raised.value.__notes__ == [f"from {name}"]


def test_entries_and_groups_of_users_are_those_of_the_system() -> None:
    assert linux.is_listed("getpwuid_r", 0)
    assert linux.is_listed("getpwnam_r", b"root")
    assert not linux.is_listed("getgrnam_r", b"no-such-group")
    for entry in pwd.getpwall():
        assert linux.groups_of(entry.pw_name, entry.pw_gid) == os.getgrouplist(entry.pw_name, entry.pw_gid)
