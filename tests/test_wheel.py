"""The wheel, built from the sdist as a release is and installed in an empty environment outside the checkout, lints, serves,
and is upgraded under running programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from schedappliance import __version__
from tests.support.daemon import Daemon
from tests.support.documents import CHECKOUT, DOCUMENTS, README, examples, links
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
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(built / "venv")], check=True)
    install(built / "venv", next(built.glob("*.whl")))
    return built / "venv/bin/schedappliance"


def install(environment: Path, wheel: Path, *options: str) -> None:
    """Installs a wheel with the pip of this environment. To install a pip in the other one takes as long as all the rest."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python")]
    subprocess.run([*pip, "install", "-q", *options, wheel], check=True, cwd=environment, capture_output=True)


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


def test_the_wheel_serves_the_files_that_it_writes(program: Path, tmp_path: Path) -> None:
    assert run(program, "init", "--example", cwd=tmp_path).returncode == 0
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


@pytest.fixture(scope="module")
def next_wheel(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the same source with the next version number."""
    place = tmp_path_factory.mktemp("next")
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        sdist.extractall(place, filter="data")
    (source,) = place.iterdir()
    module = source / "schedappliance/__init__.py"
    module.write_text(module.read_text().replace(f'"{__version__}"', f'"{NEXT}"'))
    # It would give the old version.
    (source / "PKG-INFO").unlink()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return next(place.glob("*.whl"))


class Installed(Daemon):
    """The daemon of the installed wheel."""

    def __init__(self, root: Path, program: Path) -> None:
        super().__init__(root, PROGRAMS.format(root=root))
        self.program, self.is_copy, self.wrapper = program, False, ["env", "-u", "PYTHONPATH"]

    def _program(self) -> list[str]:
        return [str(self.program)]


# Each program ends when the file exists. The second one has limits, so the spawner starts it.
NEXT = "9.9.9"
PROGRAMS = """\
sched {{ backing_store = "../var/sched.db" on_stop = keep }}
defaults {{ overlap = parallel }}
program "plain" {{
  argv = ( "/bin/sh" "-c" "until [ -e {root}/$1 ]; do sleep 0.1; done; exit $2" "sh" )
  args = ( "[a-z]+" "[0-9]+" )
}}
program "limited" {{
  argv = ( "/bin/sh" "-c" "until [ -e {root}/$1 ]; do sleep 0.1; done; exit $2" "sh" )
  args = ( "[a-z]+" "[0-9]+" )
  limits = [ core = 0 ]
}}
"""


def test_an_upgrade_under_running_programs_keeps_their_true_ends(
    built: Path, program: Path, next_wheel: Path, tmp_path: Path
) -> None:
    daemon = Installed(tmp_path, program)
    environment, offline = built / "venv", ("--no-deps", "--no-index")
    try:
        daemon.start()
        assert __version__ in daemon.say("version")
        lines = [f"run {name} {gate}" for gate in ("meanwhile", "later") for name in ("plain", "limited")]
        for status, line in enumerate(lines, 3):
            assert daemon.say(f"{line} {status}").startswith("example.com-")
        eventually(lambda: len(daemon.rows("SELECT 1 FROM attempts WHERE start_ticks > 0")) == 4, "the programs")
        keepers = daemon.keepers()
        assert daemon.say("shutdown --keep") == ""
        assert daemon.process and daemon.process.wait(PATIENCE_SECONDS) == 0
        install(environment, next_wheel, *offline)
        (tmp_path / "meanwhile").touch()
        eventually(lambda: (daemon.outputs / "keeper.ends").read_text().count("ended ") == 2, "two ends")
        daemon.start()
        assert NEXT in daemon.say("version")
        assert daemon.keepers() == keepers
        (tmp_path / "later").touch()
        runs = daemon.wait_for_state("failed", 4)
        assert [run["exit_status"] for run in runs] == [6, 5, 4, 3]
        assert {run["attempts"] for run in runs} == {1}
        assert daemon.say("shutdown") == ""
        eventually(daemon.ended, "the stop")
        assert "Traceback" not in daemon.log
    finally:
        daemon.end()
        # The other tests share the environment.
        install(environment, next(built.glob("*.whl")), *offline)


# It uses the types of arguments.
TYPED = """\
from schedappliance.client import Client, CommandLike, JobLike, RunLike, Span


def later(sched: Client, delay: Span, command: CommandLike, job: JobLike, run: RunLike) -> list[str]:
    sched.pause(job)
    return [sched.in_(delay, command).id, sched.wait(run).state]
"""


def test_the_examples_of_the_client_library_satisfy_mypy_beside_the_wheel(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "typed.py").write_text(TYPED)
    for example in examples((CHECKOUT / "docs/client.md").read_text()):
        if example.command.startswith("cat "):
            (tmp_path / example.command.split()[1]).write_text(example.output)
    names = [path.name for path in tmp_path.glob("*.py")]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", *names]
    command += ["--python-executable", str(program.parent / "python")]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("PYTHONPATH")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "Success: no issues found in 4 source files\n"


def test_the_wheel_says_its_version(program: Path, tmp_path: Path) -> None:
    assert run(program, "--version", cwd=tmp_path).stdout.startswith("schedappliance 0.")
    assert run(program, "--help", cwd=tmp_path).returncode == 0
    pages = (program.parent.parent / "share/man").rglob("*.*")
    assert {page.name for page in pages} == {"schedappliance.1", "sched.conf.5"}


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
