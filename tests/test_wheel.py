"""The wheel, built from the sdist as a release is and installed in an empty environment outside the checkout, lints and serves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.documents import CHECKOUT, DOCUMENTS, README, links
from tests.support.waiting import PATIENCE_SECONDS, eventually

# Builds, and installs from the network.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was built from it."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def program(built: Path) -> Path:
    """The installed console script."""
    subprocess.run([sys.executable, "-m", "venv", str(built / "venv")], check=True)
    wheel = next(built.glob("*.whl"))
    subprocess.run([built / "venv/bin/pip", "install", "-q", wheel], check=True, cwd=built, capture_output=True)
    return built / "venv/bin/schedappliance"


def run(program: Path, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


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
        assert serving.wait(PATIENCE_SECONDS) == 0
    finally:
        serving.kill()
        serving.wait(PATIENCE_SECONDS)


def test_the_wheel_says_its_version(program: Path, tmp_path: Path) -> None:
    assert run(program, "--version", cwd=tmp_path).stdout.startswith("schedappliance 0.")
    assert run(program, "--help", cwd=tmp_path).returncode == 0


def test_the_readme_of_the_wheel_has_no_relative_links(built: Path) -> None:
    """Package indexes show it far from the files that a relative link means."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = wheel.read(name).decode()
    targets = links(metadata.partition("\n\n")[2])
    assert len(targets) == len(links(README.read_text())) > 10
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert "Description-Content-Type: text/markdown" in metadata


def test_the_sdist_holds_all_that_is_documented(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    documents = {str(path.relative_to(CHECKOUT)) for path in DOCUMENTS}
    assert {*documents, "docs/overview.svg", "benchmarks/figures.svg", "CONTRIBUTING.md", "SECURITY.md"} <= names
