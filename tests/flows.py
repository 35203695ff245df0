"""Measures the flow of one console line and one due job: `python -m tests.flows` prints the figures.

A real daemon runs in a child process under a profiler. The flow of the line starts when its bytes are received and ends
when the answer is sent. The flow of the job starts when the loop wakes at the due time and ends with the commit that
records the end of its run. Every thread counts.
"""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "schedappliance"
SECONDS = 120

# The store and the socket are outside the directory of the stanza file, so that its watch does not see them.
APPLIANCE_FILE = "config: etc/sched.conf\nconsole: { listen: console.sock }\nlog: { level: debug }\n"
STANZAS = 'sched { backing_store = "../sched.db" }\nprogram "hello" { argv = ( "/bin/echo" "hello" ) }\n'

# Runs inside the daemon. Each mark or call is one line of the trace: the thread, then the file and the function.
TRACER = """
import sqlite3, sys, threading, time
package, trace, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
rows = []

def mark(text):
    rows.append((threading.get_ident(), text, ""))

def profile(frame, event, argument):
    if event == "call":
        if frame.f_code.co_filename.startswith(package):
            rows.append((threading.get_ident(), frame.f_code.co_filename[len(package) + 1:], frame.f_code.co_qualname))
    elif event in ("c_call", "c_return") and frame.f_code.co_filename.startswith(package):
        name = argument.__name__
        if name in ("recv", "send", "poll"):
            mark(f"{event} {name} {time.time_ns() // 1_000_000}")

class Observed(sqlite3.Connection):
    def execute(self, sql, parameters=()):
        if sql == "COMMIT":
            done = super().execute(sql, parameters)
            mark("commit")
            return done
        if "UPDATE runs" in sql and "succeeded" in map(str, parameters):
            mark("ended")
        return super().execute(sql, parameters)

connect = sqlite3.connect
sqlite3.connect = lambda *words, **options: connect(*words, factory=Observed, **options)
from schedappliance.edge import loop
# The audits belong to neither flow. On a busy machine, one of them would fall into it.
loop.AUDIT_MS = 3_600_000
from schedappliance.cli.main import main
sys.setprofile(profile)
threading.setprofile(profile)
try:
    status = main(arguments)
finally:
    sys.setprofile(None)
    with open(trace, "w") as file:
        for row in rows:
            print(*row, sep="\\t", file=file)
"""


class Way(NamedTuple):
    """The calls between two marks, in order: (file, function)."""

    calls: list[tuple[str, str]]

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(file for file, _ in self.calls))

    @property
    def functions(self) -> int:
        return len(set(self.calls))


class Row(NamedTuple):
    text: str
    function: str

    @property
    def is_call(self) -> bool:
        return bool(self.function)


def trace() -> tuple[Way, Way]:
    """The flows of the line `sched in 1 run hello` and of the job that it makes."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "appliance.yaml").write_text(APPLIANCE_FILE)
        (place / "etc").mkdir()
        (place / "etc" / "sched.conf").write_text(STANZAS)
        written = place / "trace"
        command = [sys.executable, "-c", TRACER, str(PACKAGE), str(written), "serve", "--config", "appliance.yaml"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        daemon = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert daemon.stderr is not None
            _wait_for(daemon.stderr, "is ready")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(place / "console.sock"))
                # One-time setup and the first look at the files belong to neither flow.
                client.sendall(b"sched in 1d run hello\nrun --wait hello\n")
                _wait_for(daemon.stderr, "succeeded")
                # The supervisor sets alarms of up to 100 ms for a program. They must not fall into the flow of the line.
                client.sendall(b"sched in 1 sched delete none-9\n")
                _wait_for(daemon.stderr, "origin=job")
                asked_ms = time.time_ns() // 1_000_000
                client.sendall(b"sched in 1 run hello\n")
                _wait_for(daemon.stderr, "succeeded")
            daemon.terminate()
            daemon.communicate(timeout=SECONDS)
        finally:
            daemon.kill()
        rows = [Row(*line.rstrip("\n").split("\t")[1:]) for line in written.read_text().splitlines()]
    return _line(rows, asked_ms), _job(rows, asked_ms + 1000)


def _wait_for(log: Iterable[str], text: str) -> None:
    assert any(text in line for line in log), f"the daemon ended without `{text}`"


def _line(rows: list[Row], asked_ms: int) -> Way:
    begin = _first(rows, "c_return recv", asked_ms)
    end = next(n for n in range(begin, len(rows)) if rows[n].text.startswith("c_call send"))
    return _way(rows[begin:end])


def _job(rows: list[Row], due_ms: int) -> Way:
    begin = _first(rows, "c_return poll", due_ms)
    ended = next(n for n in range(begin, len(rows)) if rows[n].text == "ended")
    end = next(n for n in range(ended, len(rows)) if rows[n].text == "commit")
    return _way(rows[begin:end])


def _first(rows: list[Row], mark: str, since_ms: int) -> int:
    return next(n for n, row in enumerate(rows) if row.text.startswith(mark) and int(row.text.split()[2]) >= since_ms)


def _way(rows: list[Row]) -> Way:
    return Way([(row.text, row.function) for row in rows if row.is_call])


def import_depth() -> tuple[str, ...]:
    """The longest chain of imports, without imports for types only."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {name: _imports(ast.parse(path.read_text()).body, set(modules)) - {name} for name, path in modules.items()}

    @cache
    def longest(name: str) -> tuple[str, ...]:
        return (name, *max((longest(target) for target in sorted(graph[name])), key=len, default=()))

    return max((longest(name) for name in sorted(graph)), key=len)


def _imports(body: list[ast.stmt], modules: set[str]) -> set[str]:
    """The modules that a module imports when it is loaded itself."""
    imported: set[str] = set()
    for node in body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                imported |= {name if name in modules else str(node.module)} & modules
    return imported


def main() -> None:
    line, job = trace()
    for title, way in (("a console line", line), ("a due job", job)):
        print(f"{title}: {len(way.files)} files, {way.functions} functions")
        print("  " + " ".join(way.files))
    chain = import_depth()
    print(f"import depth: {len(chain)}\n  " + " -> ".join(name.removeprefix("schedappliance.") for name in chain))


if __name__ == "__main__":
    main()
