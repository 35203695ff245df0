"""System calls by ctypes: a call that fails raises OSError with its number, its text, its path and the call's name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

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
        (
            partial(linux.posix_spawn, [b"/absent"], [], 1, linux.spawn_attributes(())),
            "posix_spawn",
            errno.ENOENT,
            None,
        ),
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


def test_a_spawned_program_leads_a_session_and_has_three_descriptors(tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = b"echo $$ $A; for n in /proc/$$/fd/*; do readlink $n; done; exit 3"
    with output.open("w") as file:
        argv, attributes = [b"/bin/sh", b"-c", script], linux.spawn_attributes(())
        pid = linux.posix_spawn(argv, [b"A=\xff"], file.fileno(), attributes)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    expected = b"%d \xff\n/dev/null\n%b\n%b\n" % (pid, bytes(output), bytes(output))
    assert output.read_bytes().startswith(expected)


def test_a_text_with_a_null_byte_is_rejected() -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        linux.posix_spawn([b"/bin/echo", b"a\0b"], [], 1, linux.spawn_attributes(()))
