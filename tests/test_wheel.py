"""The wheel, built as a release is and installed in an empty environment outside the checkout, lints and serves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import eventually

CHECKOUT = Path(__file__).resolve().parent.parent

# Builds, and installs from the network.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed console script."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    wheel = next(place.glob("*.whl"))
    subprocess.run([place / "venv/bin/pip", "install", "-q", wheel], check=True, cwd=place, capture_output=True)
    return place / "venv/bin/schedappliance"


def run(program: Path, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_the_wheel_lints(program: Path, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "etc", tmp_path / "etc")
    done = run(program, "lint", "etc", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "2 files checked: 0 errors, 0 warnings\n"), done.stderr
    (tmp_path / "etc/sched.conf").write_text("shed { }\n")
    assert run(program, "lint", "etc", cwd=tmp_path).returncode == 1


def test_the_wheel_serves_the_example_files(program: Path, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "etc", tmp_path / "etc")
    log = tmp_path / "log"
    with log.open("wb") as out:
        serving = subprocess.Popen([program, "serve"], cwd=tmp_path, stdout=out, stderr=out)
    try:
        eventually(lambda: " is ready" in log.read_text() or serving.poll() is not None, "the start")
        assert "run hello" in run(program, "console", "sched", "list", cwd=tmp_path).stdout
        assert run(program, "console", "shutdown", cwd=tmp_path).returncode == 0
        assert serving.wait(30) == 0
    finally:
        serving.kill()
        serving.wait(30)


def test_the_wheel_says_its_version(program: Path, tmp_path: Path) -> None:
    assert run(program, "--version", cwd=tmp_path).stdout.startswith("schedappliance 0.")
    assert run(program, "--help", cwd=tmp_path).returncode == 0
