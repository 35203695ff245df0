"""Settings of the whole suite: slow tests, untimed generated inputs, SIGINT, cheap collection, and no skips in CI."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# With this library Lark compares the terminals of each grammar that it loads, which takes 0.1 s in each process.
sys.modules["interegular"] = None  # type: ignore[assignment]

# A shell makes background processes ignore SIGINT, `nohup` SIGHUP, and children inherit that. The tests need both. Python
# itself ignores SIGPIPE and SIGXFSZ.
for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())

# The tests start more than a thousand processes. Compiling takes 40 % of the time of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The fast tests take under 90 s on two idle cores. They leave out what starts a real daemon for each test, and what
# runs many seeds or inputs. Single tests are marked in their files. The longest are first.
SLOW = (
    "simulation/test_histories.py",
    "end_to_end",
    "web/browser",
    "client/test_client.py",
    "client/test_schemas.py",
    "lint/test_prefixes.py",
    "test_fuzz.py",
    "simulation/test_preview.py",
    "edge/programs/test_launcher.py",
    "store/test_reading.py",
)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that every user can enter. `tmp_path` is closed to others, and each pytest session closes it again."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker for each processor, or three with the slow tests, which often wait. At most 8.

    With two for each, the processors are idle a fifth of the time. A worker itself takes 5 s of processor time.
    """
    each = 1 if "not slow" in config.option.markexpr else 3
    return min(8, each * len(os.sched_getaffinity(0)))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect in 4 s instead of 10 s of processor time for each worker.

    Compiling the tests with their asserts takes 7 s. Each worker first imports its share of the files, and finds the
    others in the cache of bytecode. Ten thousand items live to the end, so the garbage collector never looks at them.
    """
    gc.disable()
    try:
        if worker := os.environ.get("PYTEST_XDIST_WORKER"):
            _import_share(session.config.args, int(worker[2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_share(arguments: list[str], number: int, workers: int) -> None:
    root = Path(__file__).parent.parent
    paths = sorted(path for argument in arguments for path in Path(argument).resolve().rglob("test_*.py"))
    for path in paths[number::workers]:
        with suppress(Exception):  # the collection reports it
            import_module(".".join(path.relative_to(root).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks slow tests, and runs their files first. A long file at the end would leave the other workers idle."""
    slow = [f"{Path(__file__).parent}/{path}" for path in SLOW]
    rank: dict[Path, int] = {}
    for item in items:
        number = next((number for number, path in enumerate(slow) if str(item.path).startswith(path)), len(slow))
        if number < len(slow):
            item.add_marker(pytest.mark.slow)
        number += item.get_closest_marker("slow") is None
        rank[item.path] = min(number, rank.get(item.path, number))
    items.sort(key=lambda item: rank[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if skipped := _skipped_in_ci(terminalreporter):
        terminalreporter.write_line(f"error: CI is true, and no test may be skipped there: {skipped}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and session.exitstatus == pytest.ExitCode.OK and _skipped_in_ci(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _skipped_in_ci(reporter: pytest.TerminalReporter) -> int:
    """The number of skipped tests where none may be skipped: CI has every program that a test needs, and root."""
    return len(reporter.stats.get("skipped", ())) if os.environ.get("CI") == "true" else 0
