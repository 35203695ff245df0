"""How much later jobs start while clients watch, some of which never read.

Rule: both ways run in turn, with the same distances between due times. Only the due times after a burst count: by then a
client that never reads is far behind.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random

from benchmarks import lateness
from benchmarks.appliances import Place
from benchmarks.measuring import SAMPLES, SHARES, Scale, shares
from benchmarks.reporting import OURS, Report
from schedappliance.edge.console.unix_socket import connect

TITLE = "lateness while clients watch"
WATCHERS, SILENT = 50, 10
ALONE, WATCHED = "nobody watches", f"{WATCHERS} clients watch"
MOST_LATER_MS = 1.0
# The rest after the burst. Events are sent 20 ms after a commit: some due times come before that, some meanwhile, some
# after it.
REST_MS, DISTANCES_MS = 3000, (5, 45)
CHUNK = 256 * 1024
WATCH = b'{"v": 1, "id": 1, "command": "watch"}\n'


def due_times(first_ms: int, burst: int, count: int) -> list[int]:
    """A burst at one instant, then single due times."""
    dice = Random(1)
    distances = (dice.randint(*DISTANCES_MS) for _ in range(count))
    return [first_ms] * burst + [first_ms + REST_MS + after for after in accumulate(distances)]


@contextmanager
def watching(received: list[int], place: Place) -> Iterator[None]:
    """Clients that watch; the last ones never read. Adds how many lines the slowest of the others has received."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(place.socket)) for _ in range(WATCHERS)]
        for client in clients:
            client.sendall(WATCH)
        lines = {client.fileno(): 0 for client in clients[:-SILENT]}
        ending = threading.Event()

        def read() -> None:
            poll = select.epoll()
            reading = {client.fileno(): client for client in clients[:-SILENT]}
            for number in reading:
                poll.register(number, select.EPOLLIN)
            while not ending.is_set():
                for number, _ in poll.poll(0.1):
                    lines[number] += reading[number].recv(CHUNK).count(b"\n")
            poll.close()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
        finally:
            ending.set()
            reader.join()
            received.append(min(lines.values()))


def run(scale: Scale, folder: Path) -> Report:
    burst, count, rounds = scale.pick((2000, SAMPLES, 2), (2000, 100, 1), (20, 5, 1))
    report = Report(
        TITLE, f"{count} due times, 5 to 45 ms apart, to the recorded runs; {SILENT} of the clients never read"
    )
    runs: dict[str, list[list[float]]] = {ALONE: [], WATCHED: []}
    received: list[int] = []
    for _ in range(rounds):
        for way, values in runs.items():
            beside = {"beside": partial(watching, received)} if way == WATCHED else {}
            values.append(lateness.daemon(folder, lambda first: due_times(first, burst, count), **beside)[burst:])
    report.add(shares({f"{OURS}, {way}": values for way, values in runs.items()}), "ms", f"of {count} jobs")
    report.drawn = tuple(row.name for row in report.rows)
    for share in SHARES:
        alone, watched = (report.median(f"{OURS}, {way}, {share}") for way in runs)
        if alone is not None and watched is not None:
            report.check_most(f"later while {WATCHED}, {share}", watched - alone, MOST_LATER_MS, "ms")
    if min(received) < count:
        report.absent.append(f"a client received only {min(received)} lines: the machine is too busy for these figures")
    return report
