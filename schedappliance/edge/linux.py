"""System calls that Python 3.11 does not offer, through ctypes.

Rule: the functions decide nothing. If a call fails, its function raises OSError with the error number, its text, the
path if there is one, and the name of the call as a note. No other module of the daemon uses ctypes. The keeper cannot
import this module, so it makes its calls itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

CLOCK_REALTIME, CLOCK_BOOTTIME = 0, 7
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2

# Numbers from the kernel's headers.
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 0x01, 0x02
# The number of the system call sched_setattr, which few C libraries offer.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355, "s390x": 345}
_SCHED_FLAG_RESET_ON_FORK = 1
# struct statfs has 120 bytes on 64-bit machines.
_STATFS_WORDS = 64

_libc = ctypes.CDLL(None, use_errno=True)


class _SchedulingAttributes(ctypes.Structure):
    _fields_ = (
        *(("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64)),
        *(("nice", ctypes.c_int32), ("priority", ctypes.c_uint32)),
        *(("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64)),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def timerfd_create(clock: int) -> int:
    """Creates a disarmed timer of `CLOCK_REALTIME` or `CLOCK_BOOTTIME`, not inherited and not blocking."""
    return _returned(_libc.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC), "timerfd_create")


def timerfd_settime(timer: int, flags: int, seconds: int, nanoseconds: int) -> None:
    """Arms a timer once; zero for both disarms it."""
    value = _Itimerspec(_Timespec(0, 0), _Timespec(seconds, nanoseconds))
    _returned(_libc.timerfd_settime(timer, flags, ctypes.byref(value), None), "timerfd_settime")


def inotify_init() -> int:
    """Creates a queue of events, not inherited and not blocking."""
    return _returned(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def inotify_add_watch(queue: int, path: str, mask: int) -> None:
    number = _libc.inotify_add_watch(queue, os.fsencode(path), ctypes.c_uint32(mask))
    _returned(number, "inotify_add_watch", path)


def file_system_magic(path: str) -> int:
    """`f_type`, the first word of struct statfs."""
    buffer = (ctypes.c_ulong * _STATFS_WORDS)()
    _returned(_libc.statfs(os.fsencode(path), buffer), "statfs", path)
    return int(buffer[0])


def syncfs(descriptor: int, path: str) -> None:
    """Writes the whole file system of a descriptor to its disk. `path`: names the file system in an error."""
    _returned(_libc.syncfs(descriptor), "syncfs", path)


def rename_without_replacing(source: str, target: str) -> None:
    """Renames a file.

    Raises FileExistsError if the target exists, OSError with EINVAL or ENOSYS if that is unsupported.
    """
    if not hasattr(_libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
    names = os.fsencode(source), _AT_FDCWD, os.fsencode(target)
    _returned(_libc.renameat2(_AT_FDCWD, *names, _RENAME_NOREPLACE), "renameat2", target)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Frees the disk space of a part of a file, which reads as zeros from then on; the size stays."""
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    _returned(_libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)), "fallocate")


def clear_ambient_capabilities() -> None:
    """After this, programs that this thread and its later threads execute inherit no capabilities.

    The threads keep theirs.
    """
    _returned(_libc.prctl(_PR_CAP_AMBIENT, *map(ctypes.c_ulong, (_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))), "prctl")


def set_slice(nanoseconds: int, nice: int) -> None:
    """Sets the time slice and the nice value of this thread. Threads and processes that it creates get the usual slice.

    Kernels before Linux 6.12 ignore the slice. See sched_setattr(2) and sched(7).
    """
    call = _SCHED_SETATTR.get(os.uname().machine)
    # A 32-bit process on a 64-bit machine has other numbers.
    if call is None or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    size = ctypes.sizeof(_SchedulingAttributes)
    attributes = _SchedulingAttributes(size, os.SCHED_OTHER, _SCHED_FLAG_RESET_ON_FORK, nice, 0, nanoseconds, 0, 0)
    _returned(_libc.syscall(call, 0, ctypes.byref(attributes), 0), "sched_setattr")


def is_listed(call: str, key: int | bytes) -> bool:
    """Whether a database of the system has an entry. `call`: getpwnam_r, getpwuid_r or getgrnam_r, getgrgid_r.

    Python reports a failed look-up as if there were no entry.
    """
    entry = ctypes.create_string_buffer(256)
    buffer = ctypes.create_string_buffer(1 << 20)
    result = ctypes.c_void_p()
    size = ctypes.c_size_t(len(buffer))
    argument = ctypes.c_uint32(key) if isinstance(key, int) else key
    _raise_failure(getattr(_libc, call)(argument, entry, buffer, size, ctypes.byref(result)), call)
    return result.value is not None


def groups_of(name: str, gid: int) -> list[int]:
    """The groups of a user, with this one. Python's own function holds the interpreter's lock while a service hangs."""
    count = ctypes.c_int(64)
    while True:
        groups = (ctypes.c_uint32 * count.value)()
        if _libc.getgrouplist(os.fsencode(name), ctypes.c_uint32(gid), groups, ctypes.byref(count)) >= 0:
            return list(groups[: count.value])
        count.value = max(count.value, 2 * len(groups))


def _returned(value: int, call: str, path: str | None = None) -> int:
    """Returns the result of a call that reports a failure as -1 with errno. Raises OSError for a failure."""
    _raise_failure(ctypes.get_errno() if value < 0 else 0, call, path)
    return value


def _raise_failure(number: int, call: str, path: str | None = None) -> None:
    """Raises OSError for an error number other than 0."""
    if number:
        error = OSError(number, os.strerror(number), path)
        error.add_note(f"from {call}")
        raise error
