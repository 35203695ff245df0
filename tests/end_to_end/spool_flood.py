"""Many files at once, whose events the full queue of inotify has lost: each is taken once, and the console keeps answering.

`python -m tests.end_to_end.spool_flood --files 60000` runs it by hand and prints the longest silence of the console.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import eventually

# A job is due while the files are taken.
STANZAS = """\
sched { backing_store = "../var/sched.db" history = 1000000 }
Message_Expiration = 86400
job "tick" { every = 1 command = "config get message_expiration" }
"""
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
LONGEST_SECONDS = 600.0


@dataclass
class Flood:
    """Figures in seconds: until all files were done, longest silence of the console, largest delay of the job."""

    files: int
    seconds: float
    silence: float
    answers: int
    latest_ms: int

    def __str__(self) -> str:
        return (
            f"{self.files:,} files in {self.seconds:.1f} s ({self.files / self.seconds:,.0f} a second); "
            f"{self.answers:,} answers of the console, longest silence {self.silence:.2f} s; "
            f"latest due job {self.latest_ms} ms late"
        )


class Asker:
    """Asks the console again and again and measures how long each answer takes."""

    def __init__(self, daemon: Daemon) -> None:
        self.longest, self.answers = 0.0, 0
        self._daemon = daemon
        self._stop = Event()
        self._thread = Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            began = time.monotonic()
            assert self._daemon.say("version").startswith("# schedappliance")
            self.longest = max(self.longest, time.monotonic() - began)
            self.answers += 1

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def _answers(daemon: Daemon) -> bool:
    """A socket that exists but does not listen yet refuses connections."""
    try:
        return bool(daemon.say("pid").strip())
    except (FileNotFoundError, ConnectionRefusedError):
        return False


def flood(root: Path, files: int) -> Flood:
    """Fills the event queue and drops the files while SIGSTOP keeps the appliance from reading. Raises AssertionError."""
    daemon = Daemon(root, STANZAS, APPLIANCE_FILE.replace("debug", "warning"))
    try:
        daemon.launch()
        eventually(lambda: _answers(daemon), "the console")
        assert daemon.process
        with daemon.frozen():
            _fill_queue(daemon.var / "spool" / "new")
            for number in range(files):
                daemon.drop(f"{number:06}.cmd", f"sched in 90000 config set a {number}\n")
        began = time.monotonic()
        asker = Asker(daemon)
        try:
            eventually(lambda: _done(daemon) >= files or daemon.ended(), "all files", LONGEST_SECONDS)
            seconds = time.monotonic() - began
        finally:
            asker.end()
        _check(daemon, files)
        late = "SELECT max(claimed_ms - due_ms) FROM runs WHERE claimed_ms > ? AND state = 'succeeded'"
        sent = int((time.time() - seconds) * 1000)
        ((latest_ms,),) = daemon.rows(late, sent + 1000)
        return Flood(files, seconds, asker.longest, asker.answers, int(latest_ms or 0))
    finally:
        daemon.end()


def _fill_queue(directory: Path) -> None:
    """Makes more events than the queue holds, so that it takes none of those that follow. It merges equal events in a row."""
    pair = [directory / name for name in ("one", "other")]
    for path in pair:
        path.touch()
    for _ in range(int(QUEUE.read_text()) // 2 + 1):
        for path in pair:
            os.utime(path)
    for path in pair:
        path.unlink()


def _done(daemon: Daemon) -> int:
    return len(os.listdir(daemon.var / "spool" / "done")) // 2


def _check(daemon: Daemon, files: int) -> None:
    spool = daemon.var / "spool"
    eventually(lambda: not os.listdir(spool / "work"), "an empty work/")
    assert [os.listdir(spool / name) for name in ("new", "work", "failed")] == [[], [], []]
    assert len({name for name in os.listdir(spool / "done") if name.endswith(".result")}) == files
    commands = Counter(row[0] for row in daemon.rows("SELECT command FROM jobs WHERE origin = 'spool'"))
    assert commands == Counter(f"config set a {number}" for number in range(files)), "each happens once"
    assert daemon.rows("SELECT count(*), count(DISTINCT name) FROM drops") == [(files, files)]
    daemon.assert_healthy()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.spool_flood", description=__doc__)
    parser.add_argument("--files", type=int, default=60_000)
    options = parser.parse_args()
    print(f"the event queue of inotify holds {int(QUEUE.read_text()):,} events")
    with tempfile.TemporaryDirectory() as root:
        print(flood(Path(root), options.files))


if __name__ == "__main__":
    main()
