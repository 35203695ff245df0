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
