"""The process of the spawner, seen from the daemon: its start, the requests that it gets, and its end.

Rule: a request arrives as a whole or not at all, and the spawner holds nothing that could be lost. Therefore the daemon
may kill it at any time.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import resource
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge.programs import spawner

if TYPE_CHECKING:
    from schedappliance.edge.programs.spawner import SpawnRequest

# How long to wait for the end of a spawner that was killed or has closed its channel; how much of its messages is read.
END_SECONDS, MESSAGE_BYTES = 5.0, 65_536
# -I -S: the environment cannot make this interpreter load anything. The UTF-8 mode makes it encode names as the daemon does.
COMMAND = (sys.executable, "-I", "-S", "-X", "utf8", str(Path(spawner.__file__)))


class SpawnerProcess:
    """One process of the spawner. Its messages go to a file in memory, so that nobody need read them while it works."""

    def __init__(self, command: Sequence[str], channel: socket.socket) -> None:
        self._file = Path(command[-1])
        self.is_killed = False
        self.messages = os.memfd_create("spawner")
        weakref.finalize(self, os.close, self.messages)
        # In a session of its own, since signals of a terminal are meant for the daemon's group only.
        self.popen = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=channel.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=self.messages,
            cwd="/",
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kills the process, so that the next start begins another one. May be called from any thread.

        Starts that it has not begun fail, as their reports show; those that it has begun continue.
        """
        self.is_killed = True
        self.popen.kill()

    def why_ended(self) -> str | None:
        """The messages of a process that ended by itself with an error; None if it was killed or has not ended."""
        try:
            status = self.popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if status <= 0:
            return None
        text = os.pread(self.messages, MESSAGE_BYTES, 0).decode(errors="replace").strip()
        return text or f"exit status {status}"

    def why_useless(self) -> str:
        """The reason for the run record after `why_ended`, whose text is Python's."""
        if not self._file.exists():
            return f"the spawner cannot start: {self._file} is missing; restart the appliance after an upgrade"
        return "the spawner cannot start: the log has its message"


@dataclass(slots=True)
class Spawner:
    """The daemon's side of the spawner: starts its process when it is first needed, and again after it has ended."""

    limit: int
    command: Sequence[str] = COMMAND
    _process: SpawnerProcess | None = None
    _channel: socket.socket | None = None

    def start(self, request: SpawnRequest, output: int) -> tuple[int, SpawnerProcess]:
        """Requests a start. Returns the descriptor of its report, and the process that makes it. Raises OSError.

        The report ends when the program is executed.
        """
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with open(os.memfd_create("request"), "wb", buffering=0) as file:  # noqa: PTH123
                file.write(marshal.dumps(request))
                process = self._send([file.fileno(), output, writing])
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return reading, process

    def _send(self, descriptors: list[int]) -> SpawnerProcess:
        """Sends a request of one byte with its descriptors. It arrives as a whole or not at all, so a second try is safe."""
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                return self._send_once(descriptors)
            self.close()
            return self._send_once(descriptors)
        except OSError as error:
            raise OSError(error.errno, f"cannot reach the spawner: {error.strerror}") from error

    def _send_once(self, descriptors: list[int]) -> SpawnerProcess:
        channel, process = self._connected()
        socket.send_fds(channel, [b"\0"], descriptors)
        return process

    def _connected(self) -> tuple[socket.socket, SpawnerProcess]:
        channel, process = self._channel, self._process
        if channel is not None and process is not None and not process.is_killed and process.popen.poll() is None:
            return channel, process
        self.close()
        self._channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer:
            self._process = SpawnerProcess(self.command, peer)
        _restore_limit(self._process.popen.pid, self.limit)
        return self._channel, self._process

    def close(self) -> None:
        """Kills the spawner, which holds nothing that could be lost."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.popen.wait(END_SECONDS)
        self._channel = self._process = None


def _restore_limit(pid: int, soft: int) -> None:
    """Sets the limit on descriptors that the daemon was started with. The daemon has raised its own limit meanwhile."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
