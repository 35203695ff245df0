"""Starts of programs as the user of the daemon itself, by posix_spawn(3) of the C library.

Law: for one thread, which gets a directory and a umask of its own, and which waits for the exec without the
interpreter's lock: subprocess holds it, so that an executable on a file system that hangs would stop the daemon.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

from schedappliance.edge import linux
from schedappliance.edge.process import lowered
from schedappliance.engine.effects import StartProgram

# Python ignores the first two, and the C library makes programs ignore those that it uses itself, unless it is told.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ, 32, 33, 34)


@dataclass(slots=True)
class Plain:
    """`old_limit`: on descriptors, for the programs. `_own`: whether the thread's directory and umask are its own."""

    old_limit: int
    _own: bool | None = None
    _attributes: linux.SpawnAttributes | None = None

    def start(self, effect: StartProgram, environment: dict[str, bytes], output: int) -> int:
        """The pid of a child in a session of its own. Raises OSError, ValueError and SubprocessError."""
        if self._own is None:
            self._own = _has_own_directory()
        way = self._spawn if self._own else self._popen
        with lowered(self.old_limit):
            return way(effect, environment, output)

    def _spawn(self, effect: StartProgram, environment: dict[str, bytes], output: int) -> int:
        if self._attributes is None:
            self._attributes = linux.spawn_attributes(_IGNORED)
        argv = [os.fsencode(text) for text in effect.argv]
        variables = [b"%s=%s" % (os.fsencode(name), value) for name, value in environment.items()]
        before = os.umask(effect.umask)
        try:
            os.chdir(effect.cwd)
            return linux.posix_spawn(argv, variables, output, self._attributes)
        finally:
            # Leave the directory so that its file system can be unmounted.
            os.chdir("/")
            os.umask(before)

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


def _has_own_directory() -> bool:
    """Gives this thread a directory and a umask of its own.

    False where the C library is too old, or where a container's filter forbids it: then Python starts programs.
    """
    if not linux.can_spawn_without_inheritance():
        return False
    with contextlib.suppress(OSError):
        linux.unshare_directory_and_umask()
        return True
    return False
