"""A real daemon in its own directory: tests start it, talk to it, kill it and start it again.

Rule: whatever a test starts here ends with the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import PYTHON, Change, in_copy
from tests.support.waiting import PATIENCE_SECONDS, eventually

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


class Daemon:
    """One appliance under `root`: root/etc holds its files, root/var its store, socket and spool.

    `options`: further arguments of `serve`. `wrapper`: a command that executes the command of the daemon. `is_copy`: the
    daemon starts as a copy of the test's process.
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
        self.wrapper: list[str] = []
        self.is_copy = True
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def socket_path(self) -> Path:
        return self.var / "console.sock"

    def start(self) -> Daemon:
        """Starts the daemon and waits until it is ready."""
        mark = len(self.log) if self.log_path.exists() else 0
        self.launch()
        eventually(lambda: " is ready" in self.log[mark:] or self.ended(), "the start")
        assert not self.ended(), self.log
        return self

    def launch(self, change: Change | None = None, stderr: int | None = None) -> None:
        """Starts the daemon and does not wait. `change`: runs in its copy first.

        `stderr`: a descriptor that takes the log instead of the log file.
        """
        with self.log_path.open("ab") as log:
            command = [*self.wrapper, *self._program(), "serve", *self._serve_options()]
            err = log if stderr is None else stderr
            assert self.is_copy or change is None
            run = in_copy(command, change) if self.is_copy else None
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=err, preexec_fn=run)

    def _serve_options(self) -> list[str]:
        return ["--config", str(self.etc / "appliance.yaml"), *self.options]

    def _program(self) -> list[str]:
        return list(PYTHON)

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """Ends the daemon by SIGKILL, so that it cannot tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def kill_with_keeper(self) -> None:
        """Ends the daemon and its keeper, so that nobody knows how the programs end."""
        keepers = self.keepers()
        self.kill()
        for keeper in keepers:
            os.kill(keeper, signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The process stands still meanwhile, so that it mends nothing and changes nothing. It may be killed inside."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        # A thread inside a system call stops only when the call ends.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops the daemon by a signal and returns its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def console(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """`schedappliance console WORDS`."""
        options: dict[str, Any] = {"input": stdin} if stdin is not None else {}
        return command("console", "--endpoint", str(self.var / "console.sock"), *words, **options)

    def ask(self, line: str) -> str:
        """The output of `console LINE`, which must succeed."""
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
        """Sends the bytes through a raw connection; everything that comes back until the daemon closes it."""
        with self.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def say(self, line: str) -> str:
        """The answer to a line through a raw connection, whether output or error. Much faster than `ask`."""
        return self.exchange(line.encode() + b"\n").decode()

    def data(self, line: str) -> Any:
        """The data that `json LINE` answers."""
        return json.loads(self.say(f"json {line}"))

    def runs(self) -> list[dict[str, Any]]:
        """The history, newest run first."""
        return list(self.data("sched history"))

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the store, read while the daemon may be running."""
        with contextlib.closing(sqlite3.connect(self.var / "sched.db", timeout=PATIENCE_SECONDS)) as store:
            return store.execute(sql, parameters).fetchall()

    def change(self, *statements: str) -> None:
        """Changes the store while no daemon runs."""
        with contextlib.closing(sqlite3.connect(self.var / "sched.db", isolation_level=None)) as store:
            for statement in statements:
                store.execute(statement)

    def forget_pids(self) -> None:
        """Removes the pids of all attempts from the store while no daemon runs."""
        self.change("UPDATE attempts SET pid = NULL, start_ticks = NULL")

    def keepers(self) -> list[int]:
        """The keepers of this appliance that run."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_keeper(pid)]

    def _is_keeper(self, pid: int) -> bool:
        """A keeper names the directory of its outputs as its only argument. A copy of it does so until it is the program."""
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return words[-2:-1] == [bytes(self.outputs)] and os.getsid(pid) == pid and is_running(pid)
        return False

    @property
    def outputs(self) -> Path:
        """The directory of the outputs."""
        return self.var / "sched.db.output"

    def output_files(self) -> list[Path]:
        """The outputs that are not removed yet."""
        return [path for path in self.outputs.iterdir() if not path.name.startswith("keeper.")]

    def peak_kb(self) -> int:
        """The peak resident memory of the daemon, in KiB. A copy has that of the test, too."""
        assert self.process is not None and not self.is_copy
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def lines(self, name: str) -> list[str]:
        """The lines that programs have written to root/NAME; none if there is no such file."""
        path = self.root / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_for_state(self, state: str, count: int = 1) -> list[dict[str, Any]]:
        """The runs in this state, as soon as there are `count` of them."""

        def enough() -> list[dict[str, Any]] | None:
            assert not self.ended(), self.log[-3000:]
            runs = [run for run in self.runs() if run["state"] == state]
            return runs if len(runs) >= count else None

        return eventually(enough, f"{count} runs {state}")

    def run(self, line: str) -> dict[str, Any]:
        """The row of the run that a line begins, when it has ended."""
        name = self.say(line).strip()
        assert "/" in name, name

        def end() -> dict[str, Any] | None:
            assert not self.ended(), self.log[-3000:]
            return next((run for run in self.runs() if run["run"] == name and run["ended_ms"]), None)

        return eventually(end, line)

    def wait_for_pid(self) -> int:
        """The pid of the newest attempt, as soon as the store has it."""
        sql = "SELECT pid FROM attempts WHERE pid IS NOT NULL ORDER BY started_ms DESC, job DESC LIMIT 1"
        return int(eventually(lambda: self.rows(sql), "an attempt with a pid")[0][0])

    def assert_healthy(self) -> None:
        """The daemon runs, answers, and has logged no traceback."""
        assert not self.ended(), self.log[-3000:]
        assert self.say("version").startswith("# schedappliance version: ")
        assert "Traceback" not in self.log, self.log[-3000:]

    def store(self, *words: Path | str) -> subprocess.CompletedProcess[str]:
        """`schedappliance store WORDS`."""
        return command("store", *map(str, words), "--config", str(self.etc / "appliance.yaml"))

    def lint(self, *paths: Path | str) -> subprocess.CompletedProcess[str]:
        return command("lint", *map(str, paths))

    def serve_rejected(self, change: Change | None = None) -> str:
        """The output of a daemon that cannot start: a few lines, with exit status 78. `change`: runs in its copy first."""
        arguments = ["serve", *self._serve_options()]
        done = command(*arguments, change=change)
        output = done.stdout + done.stderr
        assert "Traceback" not in output, output
        assert done.returncode == 78, (done.returncode, output)
        assert 1 <= len(output.splitlines()) <= 12, output
        return output

    def drop(self, name: str, text: str) -> None:
        """Drops a file as a program should: writes it to tmp/, then renames it into new/."""
        aside = self.var / "spool" / "tmp" / name
        aside.write_text(text)
        aside.rename(self.var / "spool" / "new" / name)

    def result(self, name: str, folder: str) -> dict[str, Any]:
        """The result of a drop, as soon as it is published. `folder`: done or failed."""
        path = self.var / "spool" / folder / f"{name.removesuffix('.cmd')}.result"
        eventually(lambda: path.exists() or self.ended(), f"{folder}/{path.name}")
        assert not self.ended(), self.log[-3000:]
        result = json.loads(path.read_text())
        assert isinstance(result, dict)
        return result

    def wait_for_log(self, text: str, count: int = 1) -> None:
        eventually(lambda: self.log.count(text) >= count, f"{count} times {text!r} in the log")

    def end(self) -> None:
        """Kills the daemon, its keeper and its programs, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)
        for keeper in self.keepers():
            # Each thread of the keeper has children of its own.
            for path in Path(f"/proc/{keeper}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    for pid in path.read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGKILL)
        if (self.var / "sched.db").is_file():
            with contextlib.suppress(sqlite3.Error):
                for (pid,) in self.rows("SELECT pid FROM attempts WHERE pid IS NOT NULL AND state = 'started'"):
                    _end_stray(pid)


def _end_stray(pid: int) -> None:
    """Kills a program that outlived its daemon. Its environment identifies it: the kernel may have reused the pid."""
    with contextlib.suppress(OSError):
        if b"SCHED_STORE=" in Path(f"/proc/{pid}/environ").read_bytes():
            os.killpg(pid, signal.SIGKILL)


def command(
    *arguments: str,
    python: list[str] | None = None,
    change: Change | None = None,
    seconds: float = PATIENCE_SECONDS,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """`schedappliance ARGUMENTS`, run to its end. `change`: runs in its copy first.

    `options`: further arguments of `subprocess.run`.
    """
    options = options if "input" in options else {"stdin": subprocess.DEVNULL} | options
    words = [*(python or PYTHON), *arguments]
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=seconds,
        check=False,
        **_as_copy(words, options, change),
    )


def begin(*arguments: str, python: list[str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """`schedappliance ARGUMENTS`, which runs on. `options`: further arguments of `Popen`."""
    pipe, words = subprocess.PIPE, [*(python or PYTHON), *arguments]
    options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe} | options
    return subprocess.Popen(words, text=True, **_as_copy(words, options))


def _as_copy(words: list[str], options: dict[str, Any], change: Change | None = None) -> dict[str, Any]:
    """The options of a process that starts as a copy, unless it gets an environment of its own."""
    return options if "env" in options else {"preexec_fn": in_copy(words, change)} | options


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def group(number: int) -> list[int]:
    """The processes of a process group, without zombies."""
    pids = []
    for name in os.listdir("/proc"):
        if name.isdigit() and is_running(int(name)):
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(int(name)) == number:
                    pids.append(int(name))
    return pids
