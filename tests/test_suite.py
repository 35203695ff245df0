"""The rules of the test suite itself, which tests/conftest.py enforces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each test starts pytest again.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_skipped_test_fails_the_run_in_ci(tmp_path: Path, ci: str, status: int, processes: str) -> None:
    (tmp_path / "test_skipped.py").write_text("import pytest\n\ndef test_it() -> None:\n    pytest.skip('no root')\n")
    options = ["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "tests.conftest", "-n", processes]
    command = [sys.executable, "-m", "pytest", "-rs", *options, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"CI": ci}, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    assert "1 skipped" in done.stdout
    assert ("error: CI is true, and no test may be skipped there: 1" in done.stdout) is (ci == "true")


SIGNALS = """
import signal, subprocess, sys

def test_it() -> None:
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    status = subprocess.run(["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"], capture_output=True, text=True).stdout
    # Only the C library uses signal 32. posix_spawn() leaves it ignored, by which Python 3.13 starts processes.
    assert {int(line.split()[1], 16) & ~(1 << 31) for line in status.splitlines()} == {0}, status
"""


@pytest.mark.parametrize("processes", ["0", "1"])
def test_tests_and_their_processes_ignore_and_block_no_signal(tmp_path: Path, processes: str) -> None:
    """As if a shell had started the suite in the background, or under `trap '' INT HUP`."""
    (tmp_path / "test_signals.py").write_text(SIGNALS)
    options = ["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "tests.conftest", "-n", processes]
    pytest_command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    shell = ["sh", "-c", "trap '' INT HUP QUIT USR1 CHLD; exec \"$@\"", "sh", *pytest_command]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
