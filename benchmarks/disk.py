"""The disk beside a measurement: `python -m benchmarks.disk DIRECTORY` writes one page again and again.

Rule: it writes until its standard input ends, and then prints when each write began and how long it took, as JSON.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, time

from benchmarks.measuring import SYNC_BYTES

REST_SECONDS = 0.01

# The begin of a write by the wall clock, and its duration, both in milliseconds.
Write = tuple[float, float]


@contextmanager
def writing(directory: Path) -> Iterator[Callable[[], list[Write]]]:
    """Another process writes meanwhile. The result ends it and returns its writes."""
    command = [sys.executable, "-m", "benchmarks.disk", str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield lambda: [(at, took) for at, took in json.loads(process.communicate()[0])]


def main() -> None:
    path, writes = Path(sys.argv[1]) / "page", list[Write]()
    with path.open("wb", buffering=0) as file:
        while not select.select([sys.stdin], [], [], REST_SECONDS)[0]:
            at_ms, began = time() * 1000, perf_counter()
            os.pwrite(file.fileno(), os.urandom(SYNC_BYTES), 0)
            os.fdatasync(file.fileno())
            writes.append((at_ms, (perf_counter() - began) * 1000))
    print(json.dumps(writes))


if __name__ == "__main__":
    main()
