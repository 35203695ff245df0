"""Priorities and limits of programs, as the kernel shows them. Each way of starting gives the same."""

from __future__ import annotations

import shutil

import pytest

from schedappliance.edge.programs.restraints import restraints_of
from schedappliance.engine.attempts import Exit
from schedappliance.engine.events import ProgramEnded
from schedappliance.model.resources import IDLE, Resources
from tests.edge.programs.test_inputs import began, written
from tests.edge.programs.test_keeper import run
from tests.edge.programs.test_launcher import Edge, as_root, edge, make
from tests.edge.programs.test_spawner import NOT_ROOT

__all__ = ["edge", "make"]

each_user = pytest.mark.parametrize("way", ["posix_spawn", pytest.param("nobody", marks=as_root)])


def limits_of(text: str) -> dict[str, tuple[str, str]]:
    """/proc/PID/limits: the soft and the hard limit by name, such as `open files`."""
    rows = [line.removeprefix("Max ") for line in text.splitlines() if line.startswith("Max ")]
    return {row[:22].strip(): (row[22:43].strip(), row[43:64].strip()) for row in rows}


@each_user
def test_a_program_has_its_nice_value_and_its_limits(edge: Edge, way: str) -> None:
    limits = (("nofile", 99), ("memory", 1 << 30), ("cpu", 1500), ("nproc", 40_000), ("fsize", 2 << 20), ("core", 0))
    text = written(edge, way, "nice; cat /proc/self/limits", resources=Resources(7, limits=limits), kill_after_ms=2500)
    assert text.startswith("7\n")
    by_name = limits_of(text)
    names = ("open files", "address space", "cpu time", "processes", "file size", "core file size")
    assert [by_name[name] for name in names] == [
        ("99", "99"),
        (str(1 << 30), str(1 << 30)),
        ("2", "5"),
        ("40000", "40000"),
        (str(2 << 20), str(2 << 20)),
        ("0", "0"),
    ]


@pytest.mark.skipif(not shutil.which("ionice"), reason="needs ionice")
@each_user
def test_a_program_has_its_priority_for_the_disk(edge: Edge, way: str) -> None:
    assert written(edge, way, "ionice", resources=Resources(ionice=IDLE)) == "idle\n"
    assert written(edge, way, "ionice", resources=Resources(ionice=6)) == "best-effort: prio 6\n"


@as_root
def test_the_rights_of_root_count_not_those_of_the_user_of_the_program(edge: Edge) -> None:
    if run("os.setpriority(os.PRIO_PROCESS, 0, -3)").returncode:
        pytest.skip("this root lacks CAP_SYS_NICE")
    assert written(edge, "nobody", "nice; id -un", resources=Resources(-3)) == "-3\nnobody\n"


def test_too_little_memory_for_a_copy_is_a_matter_of_the_program(edge: Edge) -> None:
    """A copy of the spawner has the limit before it becomes the program, which then cannot load its libraries."""
    key = began(edge, "posix_spawn", "exit 3", resources=Resources(limits=(("memory", 1 << 20),)))
    assert edge.heard(ProgramEnded, key).exit in (Exit(status=127), Exit(signal=9), Exit(signal=11))


@as_root
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('"nice", "-5"', "cannot set `nice` of the program: Permission denied"),
        ('"nofile", "7 65 65"', "cannot set `nofile` of the program: not allowed to raise maximum limit"),
        ('"of a later version", "1"', "cannot set `of a later version` of the program: not enough values"),
    ],
)
def test_what_the_machine_denies_is_named(words: str, reason: str) -> None:
    done = run(f"""
import resource
resource.setrlimit(7, (64, 64))
{NOT_ROOT}
try:
    spawner.restrain({words})
except spawner.Unfit as error:
    print(error)
""")
    assert done.stdout.startswith(reason), (done.stdout, done.stderr)


def test_a_program_without_restraints_needs_no_copy() -> None:
    assert restraints_of(Resources(), 1000) == []
