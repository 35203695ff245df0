"""The daemon's side of the spawner: the process is made when it is first needed, and made again when it has ended."""

from __future__ import annotations

import contextlib
import marshal
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge.programs import spawner

if TYPE_CHECKING:
    from schedappliance.edge.programs.spawner import Request

# An interpreter with nothing in it, whatever the environment says, that writes names as this one does.
COMMAND = (sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", str(Path(spawner.__file__)))


@dataclass(slots=True)
class Spawner:
    """Starts programs as other users. `start` is for one thread, `kill` for any."""

    old_limit: int
    command: Sequence[str] = COMMAND
    _process: subprocess.Popen[bytes] | None = None
    _channel: socket.socket | None = None

    def start(self, request: Request, output: int) -> int:
        """Asks for a start; returns the descriptor of its report, which ends when the program was executed."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with open(os.memfd_create("request"), "wb", buffering=0) as file:  # noqa: PTH123
                file.write(marshal.dumps(request))
                self._send([file.fileno(), output, writing])
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return reading

    def _send(self, descriptors: list[int]) -> None:
        """A request is one byte: it arrives whole or not at all, so it may be sent again."""
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self._connected(), [b"\0"], descriptors)
                return
            self.close()
            socket.send_fds(self._connected(), [b"\0"], descriptors)
        except OSError as error:
            raise OSError(error.errno, f"no spawner: {error.strerror}") from error

    def _connected(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        self.close()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [*self.command, str(os.getpid())]
            # A session of its own: what a terminal sends to the daemon's group is not meant for it.
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, cwd="/", start_new_session=True
            )
        restore_limit(self._process.pid, self.old_limit)
        return self._channel

    def kill(self) -> None:
        """The starts that it has not begun fail, as their reports tell; those that it has begun go on."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """It holds nothing that could be lost, so it need not be asked."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None


def restore_limit(pid: int, soft: int) -> None:
    """The daemon has raised its own limit on descriptors; programs get the one that it was given."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
