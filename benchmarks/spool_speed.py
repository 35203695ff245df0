"""How fast drops are taken: one by one, many at once, and commands in large files, compared with the raw cost.

`python -m benchmarks.spool_speed [--quick]` alternates between a real appliance and a loop that does the same renames,
syncs, results and inserts without an appliance.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from benchmarks.measuring import machine
from schedappliance.edge.spool.publishing import sync_files
from schedappliance.fsync import fsync_path

ROUNDS = 3
ONE_BY_ONE, BULK, LINES = 200, 5000, 20_000
QUICK = 10
APPLIANCE = "node: example.com\nconfig: sched.conf\nspool: { path: spool, max_bytes: 4m }\nlog: { level: warning }\n"
STANZAS = 'sched { backing_store = "sched.db" }\nMessage_Expiration = 86400\n'
COMMAND = "sched in 90000 config set message_expiration 300\n"
FOLDERS = ("tmp", "new", "work", "done", "failed")
# The number of files that the appliance claims at once.
TOGETHER = 500
JOB = "INSERT INTO jobs (command, parsed, due_ms, user) VALUES (?, ?, ?, ?)"


class Spool:
    """A directory into which files are dropped, and the number of those that have a result."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0

    def drop(self, text: str) -> str:
        name = f"{self.dropped:08}"
        self.dropped += 1
        aside = f"{self.path}/tmp/{name}"
        with Path(aside).open("w") as file:
            file.write(text)
        Path(aside).rename(f"{self.path}/new/{name}.cmd")
        return name

    def wait(self, name: str) -> None:
        while not Path(f"{self.path}/done/{name}.result").exists():
            sleep(0.0005)

    def wait_for_all(self) -> None:
        while len(os.listdir(self.path / "done")) < 2 * self.dropped:
            sleep(0.01)


@contextmanager
def appliance(root: Path) -> Iterator[Spool]:
    root.mkdir()
    (root / "appliance.yaml").write_text(APPLIANCE)
    (root / "sched.conf").write_text(STANZAS)
    command = [sys.executable, "-m", "schedappliance", "serve", "--config", str(root / "appliance.yaml")]
    with subprocess.Popen(command) as process:
        try:
            spool = Spool(root / "spool")
            while not (spool.path / "failed").is_dir():
                sleep(0.01)
            spool.wait(spool.drop("config get message_expiration\n"))
            yield spool
        finally:
            process.terminate()


def timed(work: Callable[..., None], *arguments: object) -> float:
    began = perf_counter()
    work(*arguments)
    return perf_counter() - began


def one_by_one(spool: Spool, count: int) -> None:
    for _ in range(count):
        spool.wait(spool.drop(COMMAND))


def bulk(spool: Spool, count: int) -> None:
    for _ in range(count):
        spool.drop(COMMAND)
    spool.wait_for_all()


def large(spool: Spool, lines: int) -> None:
    spool.wait(spool.drop(COMMAND * lines))


class Raw:
    """The unavoidable work for a file, without reading, checking or planning."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        for name in FOLDERS:
            (root / name).mkdir()
        self.spool = Spool(root)
        self.store = sqlite3.connect(root / "raw.db", isolation_level=None)
        self.store.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE jobs (number INTEGER PRIMARY KEY, command TEXT, parsed TEXT, due_ms INTEGER, user TEXT);"
            "CREATE INDEX by_time ON jobs (due_ms, number);"
            "CREATE TABLE drops (mark TEXT PRIMARY KEY, result TEXT) WITHOUT ROWID;"
        )

    def take(self, lines: int = 1) -> None:
        """Takes all files in new/ together."""
        path = self.spool.path
        names = sorted(os.listdir(path / "new"))
        for name in names:
            Path(f"{path}/new/{name}").rename(f"{path}/work/{name}")
        fsync_path(path / "work")
        fsync_path(path / "new")
        result = json.dumps({"results": [{"line": 1, "output": "example.com-000000001"}] * lines})
        self.store.execute("BEGIN IMMEDIATE")
        for name in names:
            self.store.executemany(JOB, [(COMMAND, COMMAND, 0, "operator")] * lines)
            self.store.execute("INSERT INTO drops VALUES (?, ?)", (name, result))
        self.store.execute("COMMIT")
        results = [Path(f"{path}/done/{name.removesuffix('.cmd')}.result") for name in names]
        for file in results:
            file.write_text(result)
        sync_files(path / "done", [str(file) for file in results])
        for name in names:
            Path(f"{path}/work/{name}").rename(f"{path}/done/{name}")

    def one_by_one(self, count: int) -> None:
        for _ in range(count):
            self.spool.drop(COMMAND)
            self.take()

    def bulk(self, count: int) -> None:
        for begin in range(0, count, TOGETHER):
            for _ in range(min(TOGETHER, count - begin)):
                self.spool.drop(COMMAND)
            self.take()


def compare(divisor: int) -> None:
    few, many, lines = ONE_BY_ONE // divisor, BULK // divisor, LINES // divisor
    print(f"machine:  {machine()}")
    print(
        f"workload: files of one command, {few:,} one by one and {many:,} at once; files of {lines:,} commands; {ROUNDS} rounds"
    )
    rates: dict[str, list[tuple[float, float]]] = {"one by one": [], "in bulk": [], "in large files": []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(ROUNDS):
            raw = Raw(Path(name) / f"raw-{number}")
            with appliance(Path(name) / f"appliance-{number}") as spool, closing(raw.store):
                took = timed(one_by_one, spool, few), timed(raw.one_by_one, few)
                rates["one by one"].append((few / took[0], few / took[1]))
                took = timed(bulk, spool, many), timed(raw.bulk, many)
                rates["in bulk"].append((many / took[0], many / took[1]))
                raw.spool.drop(COMMAND)
                took = timed(large, spool, lines), timed(raw.take, lines)
                rates["in large files"].append((lines / took[0], lines / took[1]))
    for what, rounds in rates.items():
        own, cost = (median(pair[i] for pair in rounds) for i in (0, 1))
        unit = "commands" if "large" in what else "files"
        print(f"{what + ':':16} {own:,.0f} {unit} a second; the raw cost alone: {cost:,.0f}; ratio {cost / own:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how fast a spool is taken.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the files")
    options = parser.parse_args()
    compare(QUICK if options.quick else 1)


if __name__ == "__main__":
    main()
