"""System calls that Python 3.11 does not offer, through ctypes.

Rule: the functions decide nothing. If a call fails, its function raises OSError with the error number, its text, the
path if there is one, and the name of the call as a note. No other module of the daemon uses ctypes. The spawner imports
nothing of this package, so it makes its only such call itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Collection, Iterable

CLOCK_REALTIME, CLOCK_BOOTTIME = 0, 7
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2

# Numbers from the kernel's headers and from spawn.h; glibc and musl agree on them.
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_CLONE_FS = 0x00000200
_POSIX_SPAWN_SETSIGDEF, _POSIX_SPAWN_SETSID = 0x04, 0x80
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 0x01, 0x02
# Larger than posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t of any C library; glibc needs 336 bytes at most.
_STRUCT_BYTES = 1024
# struct statfs has 120 bytes on 64-bit machines.
_STATFS_WORDS = 64
_DEV_NULL = os.devnull.encode()

_libc = ctypes.CDLL(None, use_errno=True)

SpawnAttributes = ctypes.Array[ctypes.c_char]


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
    """Renames a file. Raises FileExistsError if the target exists, OSError with EINVAL or ENOSYS if that is unsupported."""
    if not hasattr(_libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
    names = os.fsencode(source), _AT_FDCWD, os.fsencode(target)
    _returned(_libc.renameat2(_AT_FDCWD, *names, _RENAME_NOREPLACE), "renameat2", target)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Frees the disk space of a part of a file, which reads as zeros from then on; the size stays."""
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    _returned(_libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)), "fallocate")


def clear_ambient_capabilities() -> None:
    """Stops the programs that this thread and its later threads execute from inheriting capabilities. They keep their own."""
    _returned(_libc.prctl(_PR_CAP_AMBIENT, *map(ctypes.c_ulong, (_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))), "prctl")


def can_spawn_without_inheritance() -> bool:
    """Whether the C library has the functions that `posix_spawn` needs. glibc has them since 2.34, musl does not."""
    return hasattr(_libc, "posix_spawn_file_actions_addclosefrom_np")


def unshare_directory_and_umask() -> None:
    """Gives the calling thread a working directory and a umask of its own."""
    _returned(_libc.unshare(_CLONE_FS), "unshare")


def spawn_attributes(default_signals: Collection[int]) -> SpawnAttributes:
    """For `posix_spawn`: the program leads a session of its own, and these signals have their default action."""
    attributes = ctypes.create_string_buffer(_STRUCT_BYTES)
    # The set in the kernel's own form: sigaddset() rejects the signals that the C library uses itself.
    bits = sum(1 << number - 1 for number in default_signals).to_bytes(8, sys.byteorder)
    signals = ctypes.create_string_buffer(bits, _STRUCT_BYTES)
    flags = ctypes.c_short(_POSIX_SPAWN_SETSID | _POSIX_SPAWN_SETSIGDEF)
    _raise_failure(_libc.posix_spawnattr_init(attributes), "posix_spawnattr_init")
    _raise_failure(_libc.posix_spawnattr_setsigdefault(attributes, signals), "posix_spawnattr_setsigdefault")
    _raise_failure(_libc.posix_spawnattr_setflags(attributes, flags), "posix_spawnattr_setflags")
    return attributes


def posix_spawn(
    argv: Collection[bytes],
    environment: Collection[bytes],
    output: int,
    attributes: SpawnAttributes,
    stdin: int | None = None,
) -> int:
    """The pid of a program that reads `stdin`, None for nothing, writes to `output` and inherits no other descriptor.

    `stdin` is more than 2, since `output` replaces 1 and 2 first.

    ctypes gives up the interpreter's lock during the call. `os.posix_spawn` does not, and cannot close descriptors.
    Raises ValueError for a text with a null byte, which C would cut off there.
    """
    arguments, variables = _texts(argv), _texts(environment)
    pid, actions = ctypes.c_int(), ctypes.create_string_buffer(_STRUCT_BYTES)
    _raise_failure(_libc.posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init")
    try:
        # 1 and 2 before 0: `output` may itself be 0, if the daemon was started without standard input.
        for number in (1, 2):
            _raise_failure(_libc.posix_spawn_file_actions_adddup2(actions, output, number), "adddup2")
        if stdin is None:
            _raise_failure(_libc.posix_spawn_file_actions_addopen(actions, 0, _DEV_NULL, os.O_RDONLY, 0), "addopen")
        else:
            _raise_failure(_libc.posix_spawn_file_actions_adddup2(actions, stdin, 0), "adddup2")
        _raise_failure(_libc.posix_spawn_file_actions_addclosefrom_np(actions, 3), "addclosefrom_np")
        spawned = _libc.posix_spawn(ctypes.byref(pid), arguments[0], actions, attributes, arguments, variables)
        _raise_failure(spawned, "posix_spawn")
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)
    return pid.value


def _texts(texts: Iterable[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """An array as C expects it, with a null pointer at its end."""
    texts = tuple(texts)
    if any(b"\0" in text for text in texts):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


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
