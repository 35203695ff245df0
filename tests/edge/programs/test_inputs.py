"""What programs read: their standard input, and variables of files and of the daemon. Each way of starting gives the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import StartProgram
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted
from schedappliance.engine.records import AttemptKey, RunKey
from tests.edge.programs.test_launcher import OWN, Edge, as_root, edge, make

__all__ = ["edge", "make"]

START = StartProgram(AttemptKey(RunKey(1, 1), 1), ("/bin/cat",), (), "/", 0o022, 4 * 1024 * 1024)
LARGE = "line\n" * 200_000

each_way = pytest.mark.parametrize("way", ["posix_spawn", "fork", pytest.param("nobody", marks=as_root)])


def began(edge: Edge, way: str, script: str = "", **how: Any) -> AttemptKey:
    """Starts a program in one of the ways that the keeper has."""
    edge.started += 1
    key = AttemptKey(RunKey(edge.started, 1), 1)
    user = {"fork": OWN, "nobody": "nobody"}.get(way)
    argv = ("/bin/sh", "-c", script) if script else START.argv
    edge.launcher.start(replace(START, key=key, argv=argv, user=user, **how))
    return key


def written(edge: Edge, way: str, script: str = "", **how: Any) -> str:
    ended = edge.heard(ProgramEnded, began(edge, way, script, **how))
    assert ended.exit == Exit(status=0), ended
    return ended.output.decode()


@each_way
@pytest.mark.parametrize("text", ["", "a\nb", "\u00e4\0\n", LARGE], ids=["empty", "short", "bytes", "large"])
def test_a_program_reads_its_standard_input_to_the_end(edge: Edge, way: str, text: str) -> None:
    assert written(edge, way, stdin=text) == text


@each_way
def test_a_program_without_stdin_reads_nothing(edge: Edge, way: str) -> None:
    assert written(edge, way, "cat; readlink /proc/self/fd/0") == "/dev/null\n"


@each_way
def test_a_program_need_not_read_its_standard_input(edge: Edge, way: str) -> None:
    assert written(edge, way, "echo done", stdin=LARGE) == "done\n"
    assert written(edge, way, "head -c 4; exec 0<&-; echo", stdin=LARGE) == "line\n"


@each_way
def test_a_program_can_open_its_standard_input_by_name(edge: Edge, way: str) -> None:
    assert written(edge, way, "cat /dev/stdin", stdin="text") == "text"


@each_way
def test_a_program_inherits_no_other_descriptor_of_its_input(edge: Edge, way: str) -> None:
    assert "memfd" not in written(
        edge, way, "for n in /proc/$$/fd/*; do [ ${n##*/} = 0 ] || readlink $n; done; true", stdin="a"
    )


@each_way
def test_the_file_counts_before_env_and_env_before_variables_of_the_daemon(
    edge: Edge, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PASSED", "BOTH", "ALL", "HOME", "UNLISTED"):
        monkeypatch.setenv(name, "daemon")
    file = tmp_path / "a.env"
    file.touch(0o600)
    file.write_text("ALL=file\nFILED=file\n")
    script = "echo $PASSED $BOTH $ALL $FILED $HOME $UNLISTED $MISSING"
    how = {"env_file": str(file), "pass_env": ("PASSED", "BOTH", "ALL", "HOME", "MISSING")}
    own = (("BOTH", "env"), ("ALL", "env"))
    assert written(edge, way, script, env=own, **how) == "daemon env file file daemon\n"
    file.write_text("ALL=again\nFILED=again\n")
    assert written(edge, way, script, env=own, **how) == "daemon env again again daemon\n"


def test_a_value_of_the_daemon_arrives_byte_by_byte(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"RAW", b"\xff\xfe")
    ended = edge.heard(ProgramEnded, began(edge, "posix_spawn", "printf %s $RAW", pass_env=("RAW",)))
    assert ended.output == b"\xff\xfe"


@each_way
def test_a_bad_file_fails_the_start_with_reason_and_place(edge: Edge, way: str, tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.touch(0o600)
    file.write_text("A=b\nsecret\n")
    key = began(edge, way, env_file=str(file))
    failed = edge.heard(ProgramNotStarted, key)
    assert (failed.reason, failed.exhausted) == (f"env_file {file}:2: missing `NAME=`", False)
    assert written(edge, way, "echo next") == "next\n"
