"""Starts of programs as the user of the daemon itself, by posix_spawn(3) of the C library.

Law: for one thread, which gets a directory and a umask of its own, and which waits for the exec without the
interpreter's lock: subprocess holds it, so that an executable on a file system that hangs would stop the daemon.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from schedappliance.edge.process import lowered
from schedappliance.engine.effects import StartProgram

# From unshare(2) and spawn.h; the C libraries agree.
_CLONE_FS = 0x00000200
_SETSIGDEF, _SETSID = 0x04, 0x80
# More than any C library takes for its attributes, its actions and a set of signals.
_ROOM = 1024
# Python ignores the first two, and the C library makes programs ignore those that it uses itself, unless it is told.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ, 32, 33, 34)
_DEVNULL = os.devnull.encode()
_libc = ctypes.CDLL(None)


@dataclass(slots=True)
class Plain:
    """`old_limit`: on descriptors, for the programs. `_own`: whether the thread's directory and umask are its own."""

    old_limit: int
    _own: bool | None = None
    _attributes: ctypes.Array[ctypes.c_char] | None = None

    def start(self, effect: StartProgram, environment: dict[str, bytes], output: int) -> int:
        """The pid of a child in a session of its own. Raises OSError, ValueError and SubprocessError."""
        if self._own is None:
            # Where a container's filter refuses that, or the C library is an old one, it is done by Python.
            self._own = hasattr(_libc, "posix_spawn_file_actions_addclosefrom_np") and _libc.unshare(_CLONE_FS) == 0
        way = self._spawn if self._own else self._popen
        with lowered(self.old_limit):
            return way(effect, environment, output)

    def _spawn(self, effect: StartProgram, environment: dict[str, bytes], output: int) -> int:
        argv = _texts([os.fsencode(text) for text in effect.argv])
        variables = _texts([b"%s=%s" % (os.fsencode(name), value) for name, value in environment.items()])
        before = os.umask(effect.umask)
        try:
            os.chdir(effect.cwd)
            return self._posix_spawn(argv, variables, output)
        finally:
            # What is not left could not be unmounted.
            os.chdir("/")
            os.umask(before)

    def _posix_spawn(
        self, argv: ctypes.Array[ctypes.c_char_p], variables: ctypes.Array[ctypes.c_char_p], output: int
    ) -> int:
        if self._attributes is None:
            self._attributes = _attributes()
        pid, actions = ctypes.c_int(), ctypes.create_string_buffer(_ROOM)
        _done(_libc.posix_spawn_file_actions_init(actions))
        try:
            # Those first: the output may be any number, where the daemon was started without one of them.
            for number in (1, 2):
                _done(_libc.posix_spawn_file_actions_adddup2(actions, output, number))
            _done(_libc.posix_spawn_file_actions_addopen(actions, 0, _DEVNULL, os.O_RDONLY, 0))
            _done(_libc.posix_spawn_file_actions_addclosefrom_np(actions, 3))
            _done(_libc.posix_spawn(ctypes.byref(pid), argv[0], actions, self._attributes, argv, variables))
        finally:
            _libc.posix_spawn_file_actions_destroy(actions)
        return pid.value

    def _popen(self, effect: StartProgram, environment: dict[str, bytes], output: int) -> int:
        child = subprocess.Popen(
            effect.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=effect.cwd,
            umask=effect.umask,
            start_new_session=True,
        )
        # Whoever has the pid reaps it, not Python.
        child.returncode = 0
        return child.pid


def _texts(texts: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """As C takes them; it would take a text for shorter than it is."""
    if any(b"\0" in text for text in texts):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


def _attributes() -> ctypes.Array[ctypes.c_char]:
    """A new session, and the signals at their defaults that would be ignored."""
    attributes = ctypes.create_string_buffer(_ROOM)
    # As the kernel has it, since sigaddset() refuses those of the C library.
    bits = sum(1 << number - 1 for number in _IGNORED).to_bytes(8, sys.byteorder)
    signals = ctypes.create_string_buffer(bits, _ROOM)
    _done(_libc.posix_spawnattr_init(attributes))
    _done(_libc.posix_spawnattr_setsigdefault(attributes, signals))
    _done(_libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSID | _SETSIGDEF)))
    return attributes


def _done(number: int) -> None:
    """These functions return the number of the error."""
    if number:
        raise OSError(number, os.strerror(number))
