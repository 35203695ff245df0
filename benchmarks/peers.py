"""The same work done by peers, each in its own process: `python -m benchmarks.peers PEER WORK COUNT FOLDER`.

Rule: a peer that is not installed is reported as absent. A peer gets all that it needs (threads, indexes, no misfires),
and its setup is not measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import count as numbers
from pathlib import Path
from threading import Event
from time import perf_counter, sleep, time
from typing import Any

MEMORY, DEFAULT, WAL = "APScheduler 3 in memory", "APScheduler 3 on SQLite", "APScheduler 3 on SQLite, WAL"
HUEY = "huey on SQLite, fsync"
MODULES = {MEMORY: ("apscheduler",), HUEY: ("huey",)} | dict.fromkeys((DEFAULT, WAL), ("apscheduler", "sqlalchemy"))
THREADS = 10
HUEY_WORKERS = 2
START_SECONDS = 1.5
PROGRAM = "/bin/true"

_folders = numbers()


def absent(peer: str) -> str | None:
    """Why a peer cannot be measured."""
    lacking = [module for module in MODULES[peer] if find_spec(module) is None]
    return f"{peer}: {' and '.join(lacking)} not installed (the extra `bench`)" if lacking else None


def ask(peer: str, work: str, count: int, folder: Path) -> list[float] | None:
    """The figures of a peer's work; None if the peer is not installed."""
    if absent(peer):
        return None
    own = folder / f"peer-{next(_folders)}"
    own.mkdir()
    command = [sys.executable, "-m", "benchmarks.peers", peer, work, str(count), str(own)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{peer}, {work}: {done.stderr}")
    values: list[float] = json.loads(done.stdout.splitlines()[-1])
    return values


class Done:
    """Counts executed and removed jobs. `wait` returns when both counts are complete."""

    def __init__(self, wanted: int, removed: bool) -> None:
        self._wanted, self._executed, self._event = wanted, 0, Event()
        self._removed = 0 if removed else wanted
        self.latenesses: list[float] = []
        self.options: dict[str, int] = {}

    def execute(self) -> None:
        self._executed += 1
        self._look()

    def remove(self, _event: object) -> None:
        self._removed += 1
        self._look()

    def _look(self) -> None:
        if self._executed >= self._wanted and self._removed >= self._wanted:
            self._event.set()

    def wait(self) -> None:
        self._event.wait()

    @property
    def executed(self) -> int:
        return self._executed


_done = Done(0, removed=False)


def set_option(number: int) -> None:
    """What `config set message_expiration N` does, without its record."""
    _done.options["message_expiration"] = number
    _done.execute()


def note(due: float) -> None:
    """How late a job begins, in ms."""
    _done.latenesses.append((time() - due) * 1000)
    _done.execute()


def start_program() -> None:
    subprocess.run([PROGRAM], check=True)
    _done.execute()


def _scheduler(peer: str, folder: Path, synchronous: str = "FULL") -> Any:
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.jobstores.memory import MemoryJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    if peer == MEMORY:
        store = MemoryJobStore()
    else:
        from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

        store = SQLAlchemyJobStore(engine=_engine(folder / "jobs.db", peer == WAL, synchronous))
    return BackgroundScheduler(
        jobstores={"default": store},
        executors={"default": ThreadPoolExecutor(THREADS)},
        job_defaults={"misfire_grace_time": None},
        timezone=UTC,
    )


def _engine(path: Path, wal: bool, synchronous: str) -> Any:
    """As shipped, unless WAL is requested. `synchronous` other than its default FULL serves only the setup."""
    from sqlalchemy import create_engine, event

    engine = create_engine(f"sqlite:///{path}")

    def connected(connection: Any, _record: object) -> None:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        if wal or synchronous != "FULL":
            connection.execute(f"PRAGMA synchronous = {synchronous}")

    event.listen(engine, "connect", connected)
    return engine


@contextmanager
def _filled(peer: str, folder: Path, jobs: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    """A stopped scheduler with jobs (function, trigger, its options, arguments)."""
    setting_up = _scheduler(peer, folder, synchronous="OFF")
    setting_up.start(paused=True)
    for function, trigger, options, arguments in jobs:
        setting_up.add_job(function, trigger, args=arguments, **options)
    scheduler = setting_up
    if peer != MEMORY:
        setting_up.shutdown()
        scheduler = _scheduler(peer, folder)
        scheduler.start(paused=True)
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


def _at(function: Callable[..., None], due: float, arguments: list[Any]) -> tuple[Any, ...]:
    return function, "date", {"run_date": datetime.fromtimestamp(due, UTC)}, arguments


def _drained(peer: str, folder: Path, jobs: Iterator[tuple[Any, ...]]) -> float:
    """Seconds until all due jobs were executed and removed."""
    from apscheduler.events import EVENT_JOB_REMOVED

    with _filled(peer, folder, jobs) as scheduler:
        scheduler.add_listener(_done.remove, EVENT_JOB_REMOVED)
        began = perf_counter()
        scheduler.resume()
        _done.wait()
        return perf_counter() - began


def burn_down(peer: str, count: int, folder: Path) -> list[float]:
    """Due one-shot jobs a second."""
    due = time() - 10
    return [count / _drained(peer, folder, (_at(set_option, due, [number]) for number in range(count)))]


def programs(peer: str, count: int, folder: Path) -> list[float]:
    """Due jobs a second that start a program and wait for its end."""
    due = time() - 10
    return [count / _drained(peer, folder, (_at(start_program, due, []) for _ in range(count)))]


def accept(peer: str, count: int, folder: Path) -> list[float]:
    """Jobs of the far future a second that a running scheduler accepts."""
    scheduler = _scheduler(peer, folder)
    scheduler.start()
    due = time() + 86_400
    began = perf_counter()
    for number in range(count):
        function, trigger, options, arguments = _at(set_option, due + number, [number])
        scheduler.add_job(function, trigger, args=arguments, **options)
    seconds = perf_counter() - began
    scheduler.shutdown(wait=False)
    return [count / seconds]


def at_once(peer: str, count: int, folder: Path) -> list[float]:
    """How late jobs of one instant start, in ms."""
    due = time() + START_SECONDS + count / 1000
    with _filled(peer, folder, (_at(note, due, [due]) for _ in range(count))) as scheduler:
        scheduler.resume()
        _done.wait()
    return _done.latenesses


def each_second(peer: str, count: int, folder: Path) -> list[float]:
    """How late one job a second starts, in ms, a quarter or three quarters of a second after each full second."""
    first = int(time()) + START_SECONDS + (0.75 if peer == MEMORY else 0.25)
    jobs = (_at(note, first + number, [first + number]) for number in range(count))
    with _filled(peer, folder, jobs) as scheduler:
        scheduler.resume()
        _done.wait()
    return _done.latenesses


def recurrent(peer: str, count: int, folder: Path) -> list[float]:
    """Runs a second of that many jobs that are due every second, over ten seconds."""
    first = datetime.fromtimestamp(int(time()) + 2 + count / 2500, UTC)
    options = {"seconds": 1, "start_date": first, "coalesce": False, "max_instances": 1000}
    with _filled(peer, folder, ((set_option, "interval", options, [n]) for n in range(count))) as scheduler:
        scheduler.resume()
        sleep(max(0.0, (first - datetime.now(UTC)) / timedelta(seconds=1)))
        sleep(seconds := 5)
        return [_done.executed / seconds]


def wait(peer: str, count: int, folder: Path) -> list[float]:
    """Holds jobs of the far future until its stdin closes."""
    due = time() + 86_400
    with _filled(peer, folder, (_at(set_option, due + number, [number]) for number in range(count))) as scheduler:
        scheduler.resume()
        print("ready", flush=True)
        sys.stdin.read()
    return []


def _huey(folder: Path) -> tuple[Any, Any]:
    from huey import SqliteHuey

    huey = SqliteHuey(filename=str(folder / "huey.db"), fsync=True, results=False)
    return huey, huey.task()(set_option)


def huey_burn_down(_peer: str, count: int, folder: Path) -> list[float]:
    """Queued tasks a second that are taken and run."""
    huey, task = _huey(folder)
    for number in range(count):
        task(number)
    consumer = huey.create_consumer(workers=HUEY_WORKERS, periodic=False, initial_delay=0.001, max_delay=0.01)
    began = perf_counter()
    consumer.start()
    _done.wait()
    seconds = perf_counter() - began
    consumer.stop()
    return [count / seconds]


def huey_accept(_peer: str, count: int, folder: Path) -> list[float]:
    """Tasks of the far future a second that are accepted."""
    _, task = _huey(folder)
    began = perf_counter()
    for number in range(count):
        task.schedule(args=(number,), delay=86_400)
    return [count / (perf_counter() - began)]


WORKS = {
    **{work.__name__: work for work in (burn_down, programs, accept, at_once, each_second, recurrent, wait)},
    "huey burn_down": huey_burn_down,
    "huey accept": huey_accept,
}


def main() -> None:
    global _done
    peer, work, count, folder = sys.argv[1:]
    # Jobs are stored by the name of their function, so both names of this module must mean the same.
    sys.modules["benchmarks.peers"] = sys.modules["__main__"]
    _done = Done(int(count), removed=peer != HUEY and work in ("burn_down", "programs"))
    values = WORKS[work if peer != HUEY else f"huey {work}"](peer, int(count), Path(folder))
    print(json.dumps(values), flush=True)
    # A thread of a peer may wait for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
