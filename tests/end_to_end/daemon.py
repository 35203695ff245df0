"""A real appliance in a directory of its own: started, talked to, killed, started again.

Law: nothing here sleeps for a fixed time; everything waits for a condition and gives up at a deadline.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PATIENCE_SECONDS = 30.0

Found = TypeVar("Found")

APPLIANCE_FILE = """\
node: example.com
config: sched.conf
console: { listen: ../var/console.sock }
spool: { path: ../var/spool }
log: { level: debug }
"""

STANZAS = """\
sched { backing_store = "../var/sched.db" }
Message_Expiration = 86400
program "hello" { argv = ( "/bin/echo" "hello" ) }
program "sleep" { argv = ( "/bin/sleep" ) args = ( "\\d+" ) kill_after = 1 }
program "append" { argv = ( "/bin/sh" "-c" "echo $SCHED_RUN_ID $SCHED_ATTEMPT >> ../runs" ) cwd = "%s" }
"""


def eventually(condition: Callable[[], Found | None], what: str = "the condition") -> Found:
    """The first true value of the condition; fails when it does not come before the deadline."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        select.select([], [], [], 0.01)
    raise AssertionError(f"{what} did not come true within {PATIENCE_SECONDS} seconds")


class Daemon:
    """One appliance under `root`: root/etc holds its files, root/var its store, socket and spool."""

    def __init__(self, root: Path, stanzas: str | None = None, appliance: str = APPLIANCE_FILE) -> None:
        self.root = root
        self.etc, self.var = root / "etc", root / "var"
        self.etc.mkdir(parents=True, exist_ok=True)
        self.var.mkdir(exist_ok=True)
        (self.etc / "appliance.yaml").write_text(appliance)
        self.conf = self.etc / "sched.conf"
        self.conf.write_text(stanzas if stanzas is not None else STANZAS % self.etc)
        self.log_path = root / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self) -> Daemon:
        """Starts the appliance and waits until it is ready."""
        mark = len(self.log) if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            command = [sys.executable, "-m", "schedappliance", "serve", "--config", str(self.etc / "appliance.yaml")]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: " is ready" in self.log[mark:] or self.ended(), "the start")
        assert self.process.poll() is None, self.log
        return self

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops the appliance in order and returns its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def console(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "schedappliance", "console", "--endpoint", str(self.var / "console.sock"), *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    def ask(self, line: str) -> str:
        """The answer to a command that succeeds."""
        done = self.console(line)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def drop(self, name: str, text: str) -> None:
        """Drops a file as a program should: written aside, then renamed."""
        aside = self.var / "spool" / "tmp" / name
        aside.write_text(text)
        aside.rename(self.var / "spool" / "new" / name)

    def wait_for_log(self, text: str, count: int = 1) -> None:
        eventually(lambda: self.log.count(text) >= count, f"{count} times {text!r} in the log")

    def end(self) -> None:
        """Leaves nothing behind, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
