"""The page beside the daemon: a child process, which is started again after a crash.

Rule: whatever happens to the page, the appliance goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from schedappliance.cli.errors import OK, UNUSABLE, USAGE, print_note
from schedappliance.clock import SystemClock

# The page needs 0.1 s of processor time to end. It has a lower priority than what makes a machine busy.
END_SECONDS = 10
# The pauses before the next start, each twice as long as the last, until the page has run for a while.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, STEADY_MS = 1.0, 60.0, 60_000
# Somebody has stopped it, or another start would end in the same way.
FINAL = (OK, USAGE, UNUSABLE)
# What systemd gives to the daemon alone.
OWN_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class PageProcess:
    """The process of a page. `config`: the appliance file."""

    def __init__(self, config: Path) -> None:
        # Without -P, Python would import modules from the working directory, in which others may put a file.
        python = [sys.executable, "-P", "-m", "schedappliance"]
        self._command = [*python, "web", "--config", str(config), "--end-with-stdin"]
        self._ending = threading.Event()
        self._process = self._start()
        threading.Thread(target=self._start_again, name="page", daemon=True).start()

    def end(self) -> None:
        self._ending.set()
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        """Its standard input is a pipe from the daemon. So it ends with the daemon, also if the daemon is killed."""
        # The child finds the same modules, wherever this process has them from.
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            env={name: value for name, value in env.items() if name not in OWN_VARIABLES},
            start_new_session=True,
        )

    def _start_again(self) -> None:
        """Waits for the end of the page, and starts it again unless this end is meant."""
        clock, pause = SystemClock(), FIRST_PAUSE_SECONDS
        while True:
            began = clock.moment().boot
            status = self._process.wait()
            if self._ending.is_set() or status in FINAL:
                return
            if clock.moment().boot - began >= STEADY_MS:
                pause = FIRST_PAUSE_SECONDS
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            print_note(f"the page has ended {how}; it starts again in {pause:g} s")
            if self._ending.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                self._process = self._start()
            except OSError as error:
                print_note(f"the page cannot be started: {error.strerror}")
