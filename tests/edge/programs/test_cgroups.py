"""Cgroups of programs: made only where systemd has delegated them, and removed when they are empty."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.edge.programs import cgroups, spawner
from schedappliance.edge.programs.cgroups import NOT_DELEGATED, make_cgroup, remove_cgroups, service_of
from schedappliance.edge.programs.spawner import Unfit
from schedappliance.engine.events import ProgramNotStarted
from schedappliance.model.resources import Resources
from tests.edge.programs.test_inputs import began
from tests.edge.programs.test_launcher import Edge, edge, make

__all__ = ["edge", "make"]

RESOURCES = Resources(memory_max=1 << 30, cpu_weight=50)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that looks like the delegated cgroup of the service in which the test runs."""
    own = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
    mount = tmp_path / "mount"
    directory = mount / own / "service"
    (directory / "daemon").mkdir(parents=True)
    (directory / "cgroup.subtree_control").write_text("memory cpu\n")
    lines = tmp_path / "lines"
    lines.write_text(f"1:name=systemd:/\n0::/{(directory / 'daemon').relative_to(mount)}\n")
    monkeypatch.setattr(cgroups, "read_head", lambda _path, size: lines.read_bytes()[:size])
    monkeypatch.setattr(cgroups, "MOUNT", mount)
    return directory


def delegate(monkeypatch: pytest.MonkeyPatch, directory: Path, value: bytes = b"1") -> None:
    """Marks a directory as systemd does. Not every file system holds such marks."""

    def attribute(path: Path, name: str) -> bytes:
        if (path, name) == (directory, "user.delegate"):
            return value
        raise OSError

    monkeypatch.setattr(os, "getxattr", attribute)


def test_only_what_systemd_has_delegated_is_used(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory, value in ((service / "daemon", b"1"), (service, b"0")):
        delegate(monkeypatch, directory, value)
        with pytest.raises(Unfit, match="is not delegated"):
            service_of(mount=cgroups.MOUNT)
    delegate(monkeypatch, service)
    assert service_of(mount=cgroups.MOUNT) == service


def test_a_cgroup_has_the_values_of_the_program(service: Path) -> None:
    directory = make_cgroup(service, "1-1-1-5", RESOURCES)
    assert directory == service / "program-1-1-1-5"
    assert {file.name: file.read_text() for file in directory.iterdir()} == {
        "memory.max": str(1 << 30),
        "memory.oom.group": "1",
        "cpu.weight": "50",
    }
    assert (service / "cgroup.subtree_control").read_text() == "memory cpu\n"


def test_a_controller_that_is_missing_is_asked_for(service: Path) -> None:
    (service / "cgroup.subtree_control").write_text("cpu\n")
    make_cgroup(service, "1", Resources(memory_max=1 << 20))
    assert (service / "cgroup.subtree_control").read_text() == "+memory"


def test_a_cgroup_that_cannot_be_made_is_named(service: Path) -> None:
    (service / "program-1").touch()
    with pytest.raises(Unfit, match=r"cannot make the cgroup of the program: .*program-1: File exists"):
        make_cgroup(service, "1", RESOURCES)


def test_a_program_does_not_start_without_its_cgroup(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    delegate(monkeypatch, Path("/nowhere"))
    key = began(edge, "posix_spawn", "exit 3", resources=RESOURCES)
    event = edge.heard(ProgramNotStarted, key)
    assert (event.reason, event.exhausted) == (NOT_DELEGATED, False)


@pytest.fixture
def real() -> Iterator[Path]:
    """A cgroup of this machine."""
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        directory = mount / f"test-{os.getpid()}"
        if (mount / "cgroup.procs").exists() and os.access(mount, os.W_OK):
            directory.mkdir()
            yield directory
            for child in directory.iterdir():
                if child.is_dir():
                    child.rmdir()
            directory.rmdir()
            return
    pytest.skip("this machine has no cgroups that the test may make")


def test_a_copy_of_the_keeper_enters_a_cgroup_which_stays_until_it_is_empty(real: Path) -> None:
    directory = make_cgroup(real, "1", Resources())
    script = f"""
import sys
sys.path.insert(0, {str(Path(spawner.__file__).parent)!r})
import spawner
spawner.restrain("cgroup", {str(directory)!r})
print(open("/proc/self/cgroup").read().rpartition("0::")[2].strip(), flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-I", "-S", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline().strip().endswith(f"/{real.name}/program-1")
        remove_cgroups(real, {"2"})
        assert directory.exists()
        process.stdin.close()
        process.wait()
    remove_cgroups(real, {"1"})
    assert directory.exists(), "it is used"
    remove_cgroups(real, set())
    assert not directory.exists()
