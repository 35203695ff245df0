"""Programs on a terminal: those that only write, and those that a test types to.

Rule: a test waits for what the terminal shows, until a deadline.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import PYTHON, in_copy
from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parent.parent.parent


def on_a_terminal(*arguments: str, cwd: Path | None = None, **environment: str) -> bytes:
    """What `schedappliance ARGUMENTS` shows on a terminal, on stdout and stderr. It must be short: it is read at the end."""
    master, slave = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "schedappliance", *arguments]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=variables, cwd=cwd, check=False)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        # Linux reports EIO when all others have closed the terminal.
        pass
    os.close(master)
    return shown


class Terminal:
    """A terminal with a program. `process`: the program; `shown`: all that it has written."""

    def __init__(self, master: int, slave: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._slave = slave
        self._place = 0
        self.process = process
        self.shown = ""

    def wait_for(self, text: str) -> str:
        """What is shown up to a text and with it, from the end of the last such wait on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (end := self.shown.find(text, self._place)) < 0:
            ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} is not in {self.shown[-3000:]!r}"
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        begin, self._place = self._place, end + len(text)
        return self.shown[begin : self._place]

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self, text: str) -> None:
        """Presses Control-C until the text is shown.

        A program that reads a line misses the key between the moment at which it looks for signals and its sleep.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.shown[self._place :]:
            assert time.monotonic() < deadline, self.shown[-3000:]
            self.type("\x03")
            # A second key at once could come while the program handles the first one.
            again = time.monotonic() + 1
            while text not in self.shown[self._place :] and (left := again - time.monotonic()) > 0:
                if select.select([self._master], [], [], left)[0]:
                    self.shown += os.read(self._master, 65536).decode(errors="replace")
        self.wait_for(text)

    def mode(self) -> list[Any]:
        """The settings of the terminal."""
        return termios.tcgetattr(self._slave)

    def end(self) -> int:
        """The exit status; what the program writes until its end is read."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown[-3000:]
            if select.select([self._master], [], [], 0.01)[0]:
                self.shown += os.read(self._master, 65536).decode(errors="replace")
        while select.select([self._master], [], [], 0)[0]:
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        return int(self.process.returncode)


@contextlib.contextmanager
def terminal(*arguments: str, columns: int = 80, lines: int = 24, **environment: str) -> Iterator[Terminal]:
    """`schedappliance ARGUMENTS` on a terminal of its own, as the program to which its keys belong."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    variables = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", **environment}

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.environ.clear()
        os.environ.update(variables)

    command = [*PYTHON, *arguments]
    run = in_copy(command, take_terminal)
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, bufsize=0, preexec_fn=run
    )
    try:
        yield Terminal(master, slave, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
