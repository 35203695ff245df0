"""Appliances to measure: a directory with files and a filled store, with the daemon or with the core in process."""

from __future__ import annotations

import os
import re
import select
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, perf_counter
from typing import NamedTuple, TypeVar

from schedappliance.clock import ManualClock
from schedappliance.core.state import new_state
from schedappliance.core.turn import Core
from schedappliance.edge.console.unix_socket import connect
from schedappliance.engine.events import Remains
from schedappliance.engine.records import User
from schedappliance.engine.states import RunState
from schedappliance.model.commands import pack, read_command
from schedappliance.model.loading import load
from schedappliance.store.tables import Store, open_store
from schedappliance.syntax.grammars import GRAMMAR_VERSION

COMMANDS = 1000
DAY_MS = 86_400_000
SECOND_MS = 1000
# Any prime. It scatters the due times over the job numbers.
SCATTER = 611_953
NODE, OWNER, IDENTITY = "example.com", User(1000, "operator"), "0123456789abcdef"
STANZAS = 'sched { backing_store = "../var/sched.db" }\nprogram "backup" { argv = ( "/bin/true" ) args = any }\n'
APPLIANCE_FILE = f"node: {NODE}\nconfig: sched.conf\nconsole: {{ listen: ../var/console.sock }}\n"
# Longer than anything here takes, and the interval of a poll.
PATIENCE_SECONDS, LOOK_SECONDS = 1800.0, 0.003

# The bare statement, whatever else the daemon reads from its store.
ADD_JOB = """
INSERT INTO jobs (kind, next_run_ms, interval_ms, command, parsed, grammar, uid, user, origin, created_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'console', ?)
"""

Value = TypeVar("Value")


class Place(NamedTuple):
    """The directory of one appliance."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "var" / "sched.db"

    @property
    def stanzas(self) -> Path:
        return self.root / "etc" / "sched.conf"

    @property
    def file(self) -> Path:
        return self.root / "etc" / "appliance.yaml"

    @property
    def socket(self) -> Path:
        return self.root / "var" / "console.sock"

    @property
    def log(self) -> Path:
        return self.root / "log"


class Planned(NamedTuple):
    """A job to be stored: due time, command and interval."""

    due_ms: int
    command: str
    interval_ms: int | None = None


def lay_out(root: Path, stanzas: str = STANZAS, appliance: str = APPLIANCE_FILE) -> Place:
    """Writes the files of an appliance, without a store."""
    place = Place(root)
    for folder in ("etc", "var"):
        (root / folder).mkdir(parents=True)
    place.file.write_text(appliance)
    place.stanzas.write_text(stanzas)
    return place


def fill(place: Place, jobs: Iterable[Planned], now_ms: int) -> None:
    """Adds jobs with the rows that the daemon would store."""
    packed: dict[str, str] = {}

    def row(job: Planned) -> Sequence[object]:
        if job.command not in packed:
            command = read_command(job.command).command
            assert command is not None
            packed[job.command] = pack(command)
        kind = "at" if job.interval_ms is None else "every"
        what = (kind, job.due_ms, job.interval_ms, job.command, packed[job.command], GRAMMAR_VERSION)
        return (*what, *OWNER, now_ms)

    with closing(open_store(place.store, NODE, IDENTITY, now_ms)) as store, store.transaction():
        store._database._connection.executemany(ADD_JOB, map(row, jobs))


def make(root: Path, jobs: int, first_due_ms: int) -> Place:
    """Makes an appliance with that many recurrent jobs, stored as the daemon does. One is due every second, in turn."""
    place = lay_out(root)
    commands = [f"config set message_expiration {number}" for number in range(min(jobs, COMMANDS))]
    due = (first_due_ms + number * SCATTER % jobs * SECOND_MS for number in range(jobs))
    planned = (Planned(at, commands[n % COMMANDS], jobs * SECOND_MS) for n, at in enumerate(due))
    fill(place, planned, first_due_ms - DAY_MS)
    return place


class Start(NamedTuple):
    """One start of a daemon: seconds until it was ready, and its memory at that time, in MB."""

    seconds: float
    rss: float
    pss: float


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional memory (Rss, Pss) in MB."""
    kilobytes = dict(re.findall(r"^(Rss|Pss): +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
    return int(kilobytes["Rss"]) / 1024, int(kilobytes["Pss"]) / 1024


@contextmanager
def serving(place: Place, killed: bool = False, daemon: Sequence[str] = ()) -> Iterator[tuple[Start, int]]:
    """Starts a real daemon and yields its start and pid. At the end the daemon is stopped, or killed.

    `daemon`: arguments of `benchmarks.daemon`, which then runs in place of `schedappliance`.
    """
    module = ["benchmarks.daemon", *daemon] if daemon else ["schedappliance"]
    command = [sys.executable, "-m", *module, "serve", "--config", str(place.file)]
    began = perf_counter()
    with place.log.open("wb") as log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log) as process:
        try:
            until(lambda: b" is ready" in place.log.read_bytes() or process.poll() is not None)
            seconds = perf_counter() - began
            assert process.poll() is None, place.log.read_text()
            yield Start(seconds, *memory(process.pid)), process.pid
        finally:
            (process.kill if killed else process.terminate)()


def until(condition: Callable[[], Value | None]) -> Value:
    """Polls a condition and returns its first true value."""
    deadline = monotonic() + PATIENCE_SECONDS
    while monotonic() < deadline:
        if value := condition():
            return value
        select.select([], [], [], LOOK_SECONDS)
    raise AssertionError(f"waited for {PATIENCE_SECONDS:.0f} seconds without success")


@contextmanager
def reading(place: Place) -> Iterator[Callable[[str], int]]:
    """Reads one number from the store of a running daemon, so that only committed rows count."""
    with closing(sqlite3.connect(f"file:{place.store}?mode=ro", uri=True, isolation_level=None)) as connection:

        def number(sql: str) -> int:
            return int(connection.execute(sql).fetchone()[0])

        yield number


class Session:
    """A console connection in text, one line after the other."""

    def __init__(self, place: Place) -> None:
        self.socket: socket.socket = connect(place.socket)
        self._answers = self.socket.makefile("rb")

    def ask(self, line: str) -> str:
        """Sends a line and returns the one line of its answer."""
        self.socket.sendall(line.encode() + b"\n")
        return self._answers.readline().decode()

    def close(self) -> None:
        self._answers.close()
        self.socket.close()


class Turning:
    """The real core on a store. Every turn finds one due job. `uid`: of the user of the appliance."""

    def __init__(self, place: Place, store: Store, first_due_ms: int, uid: int = 0) -> None:
        self.clock = ManualClock(first_due_ms - 1)
        loaded = load(place.stanzas)
        assert loaded.accepted, loaded.diagnostics
        self.state = new_state(
            store, loaded.configuration, self.clock.moment(), pid=1, version="", boot_id="boot", cores=2, uid=uid
        )
        self.core = Core(self.state)
        self.core.start(Remains({}, {}), "", ())

    def turn(self) -> float:
        due, _ = self.core.wake()
        assert due is not None
        self.clock.advance(due - self.clock.moment().wall)
        before = self.state.statistics.ended.get(RunState.SUCCEEDED, 0)
        began = perf_counter()
        self.core.turn([], self.clock.moment())
        self.core.wake()
        seconds = perf_counter() - began
        assert self.state.statistics.ended[RunState.SUCCEEDED] == before + 1
        return seconds


def is_root() -> bool:
    return os.geteuid() == 0
