"""A real appliance in a directory of its own: started, talked to, killed, started again.

Law: nothing here sleeps for a fixed time; everything waits for a condition and gives up at a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

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


def eventually(
    condition: Callable[[], Found | None], what: str = "the condition", seconds: float = PATIENCE_SECONDS
) -> Found:
    """The first true value of the condition; fails when it does not come before the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        select.select([], [], [], 0.01)
    raise AssertionError(f"{what} did not come true within {seconds} seconds")


class Daemon:
    """One appliance under `root`: root/etc holds its files, root/var its store, socket and spool.

    `options`: what `serve` is given beside its appliance file.
    """

    def __init__(self, root: Path, stanzas: str | None = None, appliance: str = APPLIANCE_FILE) -> None:
        self.root = root
        self.etc, self.var = root / "etc", root / "var"
        self.etc.mkdir(parents=True, exist_ok=True)
        self.var.mkdir(exist_ok=True)
        (self.etc / "appliance.yaml").write_text(appliance)
        self.conf = self.etc / "sched.conf"
        self.conf.write_text(stanzas if stanzas is not None else STANZAS % self.etc)
        self.log_path = root / "log"
        self.options: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def socket_path(self) -> Path:
        return self.var / "console.sock"

    def start(self) -> Daemon:
        """Starts the appliance and waits until it is ready."""
        mark = len(self.log) if self.log_path.exists() else 0
        self.launch()
        eventually(lambda: " is ready" in self.log[mark:] or self.ended(), "the start")
        assert not self.ended(), self.log
        return self

    def launch(self, script: str = "", uid: int = 0, stderr: int | None = None) -> None:
        """Starts the appliance; waits for nothing. `script`, if given, is what Python runs, as the user `uid`.

        `stderr`, if given, takes the log instead of the file.
        """
        with self.log_path.open("ab") as log:
            command = [*self._python(script, uid), "serve", *self._serve_options()]
            err = log if stderr is None else stderr
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=err)

    def _serve_options(self) -> list[str]:
        return ["--config", str(self.etc / "appliance.yaml"), *self.options]

    def _python(self, script: str, uid: int) -> list[str]:
        if not script:
            return [sys.executable, "-m", "schedappliance"]
        sample = self.root / "sample.conf"
        sample.write_text('A = 1\njob "a" { every = 60 command = "version" }\n')
        return [sys.executable, "-c", script.format(sample=str(sample), uid=uid)]

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
        command = [
            sys.executable,
            "-m",
            "schedappliance",
            "console",
            "--endpoint",
            str(self.var / "console.sock"),
            *words,
        ]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )

    def ask(self, line: str) -> str:
        """The answer to a command that succeeds."""
        done = self.console(line)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def connect(self) -> socket.socket:
        """A connection to the console, whatever the length of its path."""
        directory = os.open(self.socket_path.parent, os.O_PATH | os.O_DIRECTORY)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{self.socket_path.name}")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(directory)
        return connection

    def exchange(self, sent: bytes) -> bytes:
        """Everything that the console answers to these bytes until it closes."""
        with self.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def say(self, line: str) -> str:
        """The text that a raw socket hears: as `ask`, without a process, and errors too."""
        return self.exchange(line.encode() + b"\n").decode()

    def data(self, line: str) -> Any:
        """The answer of `json LINE`."""
        return json.loads(self.say(f"json {line}"))

    def runs(self) -> list[dict[str, Any]]:
        """The last runs, the newest first."""
        return list(self.data("sched history"))

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the store, read beside the appliance."""
        with contextlib.closing(sqlite3.connect(self.var / "sched.db", timeout=PATIENCE_SECONDS)) as store:
            return store.execute(sql, parameters).fetchall()

    def change(self, *statements: str) -> None:
        """Changes the store of an appliance that does not run."""
        with contextlib.closing(sqlite3.connect(self.var / "sched.db", isolation_level=None)) as store:
            for statement in statements:
                store.execute(statement)

    def forget_pids(self) -> None:
        """Takes the pids of the attempts out of the store, beside an appliance that does not run."""
        self.change("UPDATE attempts SET pid = NULL, start_ticks = NULL")

    def peak_kb(self) -> int:
        """The most memory that the process ever had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def lines(self, name: str) -> list[str]:
        """The lines that programs wrote into root/NAME: none while the file is missing or new."""
        path = self.root / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_for_state(self, state: str, count: int = 1) -> list[dict[str, Any]]:
        """The runs in this state, as soon as there are so many."""

        def found() -> list[dict[str, Any]] | None:
            assert not self.ended(), self.log[-3000:]
            runs = [run for run in self.runs() if run["state"] == state]
            return runs if len(runs) >= count else None

        return eventually(found, f"{count} runs {state}")

    def wait_for_pid(self) -> int:
        """The process of the newest attempt, as soon as it is recorded."""
        sql = "SELECT pid FROM attempts WHERE pid IS NOT NULL ORDER BY started_ms DESC, job DESC LIMIT 1"
        return int(eventually(lambda: self.rows(sql), "an attempt with a pid")[0][0])

    def assert_well(self) -> None:
        """It lives, answers, and has not stumbled."""
        assert not self.ended(), self.log[-3000:]
        assert self.say("version").startswith("# schedappliance version: ")
        assert "Traceback" not in self.log, self.log[-3000:]

    def store(self, *words: Path | str) -> subprocess.CompletedProcess[str]:
        """`schedappliance store WORDS`."""
        return command("store", *map(str, words), "--config", str(self.etc / "appliance.yaml"))

    def lint(self, *paths: Path | str) -> subprocess.CompletedProcess[str]:
        return command("lint", *map(str, paths))

    def serve_refused(self, script: str = "", uid: int = 0) -> str:
        """What an appliance says that cannot start: in a few lines, with status 78."""
        arguments = ["serve", *self._serve_options()]
        done = command(*arguments, python=self._python(script, uid))
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        assert done.returncode == 78, (done.returncode, said)
        assert 1 <= len(said.splitlines()) <= 12, said
        return said

    def drop(self, name: str, text: str) -> None:
        """Drops a file as a program should: written aside, then renamed."""
        aside = self.var / "spool" / "tmp" / name
        aside.write_text(text)
        aside.rename(self.var / "spool" / "new" / name)

    def result(self, name: str, folder: str) -> dict[str, Any]:
        """The result of a drop, as soon as it is there; `folder` is done or failed."""
        path = self.var / "spool" / folder / f"{name.removesuffix('.cmd')}.result"
        eventually(lambda: path.exists() or self.ended(), f"{folder}/{path.name}")
        assert not self.ended(), self.log[-3000:]
        result = json.loads(path.read_text())
        assert isinstance(result, dict)
        return result

    def wait_for_log(self, text: str, count: int = 1) -> None:
        eventually(lambda: self.log.count(text) >= count, f"{count} times {text!r} in the log")

    def end(self) -> None:
        """Leaves nothing behind, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)
        if (self.var / "sched.db").is_file():
            with contextlib.suppress(sqlite3.Error):
                for (pid,) in self.rows("SELECT pid FROM attempts WHERE pid IS NOT NULL AND state = 'started'"):
                    _end_stray(pid)


def _end_stray(pid: int) -> None:
    """A program that outlived its appliance; by its environment, since a number may name another process by now."""
    with contextlib.suppress(OSError):
        if b"SCHED_STORE=" in Path(f"/proc/{pid}/environ").read_bytes():
            os.killpg(pid, signal.SIGKILL)


def command(
    *arguments: str, python: list[str] | None = None, seconds: float = PATIENCE_SECONDS, **how: Any
) -> subprocess.CompletedProcess[str]:
    """`schedappliance ARGUMENTS`, which ends by itself, within so many seconds."""
    how = {"stdin": subprocess.DEVNULL} | how if "input" not in how else how
    return subprocess.run(
        [*(python or [sys.executable, "-m", "schedappliance"]), *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=seconds,
        check=False,
        **how,
    )


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def group(number: int) -> list[int]:
    """The processes of a group that are no zombies."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and is_running(int(name)):
            try:
                if os.getpgid(int(name)) == number:
                    found.append(int(name))
            except ProcessLookupError:
                continue
    return found
