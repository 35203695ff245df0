"""The lines of programs in the log: whole lines, in order, cut if they are long, and left out with their number in a flood."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.clock import ManualClock
from schedappliance.edge.log import Line
from schedappliance.edge.programs import output_lines
from schedappliance.edge.programs.output_lines import OutputLines, OutputLog
from schedappliance.edge.programs.outputs import Outputs
from schedappliance.engine.records import AttemptKey, RunKey

FIELDS = (("event", "output"), ("run", "n-000000001/1"), ("program", "p"))


class Program:
    """An attempt whose output a test writes, and the lines that the log gets."""

    def __init__(self, log: OutputLog, outputs: Outputs, job: int = 1) -> None:
        self.key, self.lines = AttemptKey(RunKey(job, 1), 1), OutputLines(FIELDS)
        self.outputs, self.log = outputs, log
        self.descriptor = outputs.open(self.key)

    def writes(self, content: bytes) -> None:
        os.write(self.descriptor, content)

    def passed(self, is_end: bool = False) -> None:
        self.log.pass_on(self.key, self.lines, None, is_end)


class Logged:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(0)
        self.outputs = Outputs(directory)
        self.log = OutputLog(self.outputs.part, self.take, self.clock)
        self.lines: list[Line] = []

    def take(self, lines: list[Line]) -> None:
        self.lines += lines

    def program(self, job: int = 1) -> Program:
        return Program(self.log, self.outputs, job)

    def texts(self) -> list[str]:
        """The messages since the last call."""
        texts, self.lines = [line.message for line in self.lines], []
        return texts


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    return Logged(tmp_path)


def test_a_line_is_logged_when_it_is_whole(logged: Logged) -> None:
    program = logged.program()
    program.passed()
    program.writes(b"one\ntwo\n\nthr")
    program.passed()
    assert logged.texts() == ["one", "two", ""]
    program.writes(b"ee\r\nend")
    program.passed()
    assert logged.texts() == ["three"]
    program.passed(is_end=True)
    assert logged.texts() == ["end"]


def test_a_line_has_the_fields_and_the_name_of_its_run(logged: Logged) -> None:
    program = logged.program()
    program.writes(b"caf\xe9 \xff\n")
    program.passed()
    (line,) = logged.lines
    assert (line.level, line.message, line.fields, line.head) == ("info", "caf� �", FIELDS, "run n-000000001/1 (p): ")
    program.lines = OutputLines((*FIELDS, ("job_name", "nightly")))
    assert program.lines.head == "run n-000000001/1 (nightly): "


def test_a_long_line_is_cut(logged: Logged) -> None:
    program = logged.program()
    program.writes(b"x" * 1500 + b"\nshort\n")
    program.passed()
    assert logged.texts() == ["x" * 1000 + " [... 500 bytes left out ...]", "short"]


def test_of_a_line_without_end_only_the_beginning_is_logged(logged: Logged) -> None:
    program = logged.program()
    for part in (b"x" * 1001, b"y" * 1001, b"z"):
        program.writes(part)
        program.passed()
    assert logged.texts() == ["x" * 1000 + " [... 1 byte left out ...]"]
    program.writes(b"z\nnext\n")
    program.passed()
    assert logged.texts() == ["next"]


def test_of_a_flood_the_number_of_lines_is_logged(logged: Logged) -> None:
    program = logged.program()
    program.writes(b"line\n" * 5000)
    program.passed()
    assert logged.texts() == ["line"] * 250 + ["[... 4,750 lines left out ...]"]
    program.writes(b"more\n" * 2)
    program.passed()
    assert logged.texts() == ["more"] * 2


def test_the_programs_share_the_lines_of_a_second(logged: Logged) -> None:
    programs = [logged.program(job) for job in range(1, 7)]
    for program in programs:
        program.writes(b"line\n" * 250)
        program.passed()
    assert logged.texts() == ["line"] * 1000 + ["[... 250 lines left out ...]"] * 2
    logged.clock.advance(1000)
    programs[5].writes(b"again\n")
    programs[5].passed()
    assert logged.texts() == ["again"]


def test_what_is_not_read_is_counted_in_bytes(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_lines, "READ_BYTES", 100)
    program = logged.program()
    program.writes(b"0123456789\n" * 20 + b"end")
    program.passed()
    assert logged.texts() == ["0123456789"] * 9 + ["0", "[... 123 bytes left out ...]"]
    program.writes(b" of a line\nnext\n")
    program.passed()
    assert logged.texts() == ["next"]


def test_the_middle_of_a_long_output_that_is_freed_is_named(logged: Logged) -> None:
    program = logged.program()
    program.writes(b"begin\n" + b"x" * (8 << 20) + b"\n")
    logged.outputs.punch(program.key, 1024)
    program.passed(is_end=True)
    assert logged.texts()[0] == "begin"
    assert program.lines.read_bytes == (8 << 20) + 7


def test_an_output_that_cannot_be_read_logs_nothing(logged: Logged) -> None:
    program = logged.program()
    program.writes(b"line\n")
    logged.outputs.remove([program.key])
    program.passed(is_end=True)
    assert logged.texts() == []
