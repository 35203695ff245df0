"""Settings of the whole suite: slow tests, untimed generated inputs, SIGINT, bytecode, and no skips in CI."""

from __future__ import annotations

import atexit
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell makes background processes ignore SIGINT, `nohup` SIGHUP, and children inherit that. The tests need both. Python
# itself ignores SIGPIPE and SIGXFSZ.
for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # The tests start more than a thousand processes. Compiling takes 40 % of the time of a start.
    bytecode = tempfile.TemporaryDirectory(prefix="bytecode-")
    atexit.register(bytecode.cleanup)
    os.environ["PYTHONPYCACHEPREFIX"] = bytecode.name

# The fast tests take under 90 s on two idle cores. They leave out what starts a real daemon for each test, and what
# runs many seeds or inputs. Single tests are marked in their files.
SLOW = (
    "end_to_end",
    "simulation/test_histories.py",
    "simulation/test_preview.py",
    "edge/programs/test_launcher.py",
    "store/test_reading.py",
    "lint/test_prefixes.py",
    "test_fuzz.py",
)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that every user can enter. `tmp_path` is closed to others, and each pytest session closes it again."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = tuple(f"{Path(__file__).parent}/{path}" for path in SLOW)
    for item in items:
        if str(item.path).startswith(slow):
            item.add_marker(pytest.mark.slow)


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
