"""`submit` without an appliance: what is queued, what is rejected at once, and how a result is printed."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from schedappliance.cli import submit
from schedappliance.cli.errors import Failure, print_error
from schedappliance.cli.streams import MAX_BYTES
from schedappliance.diagnostics import Unusable
from schedappliance.model.appliance_file import KEYS
from schedappliance.model.command_file import SPLIT_DROP
from schedappliance.syntax import text
from tests.client.test_drop import STEPS

ACCEPTED = {
    "file": "work-1.cmd",
    "accepted": True,
    "user": "root",
    "results": [{"line": 1, "output": "example.com-000000001"}],
    "diagnostics": [],
}


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in ("tmp", "new", "done", "failed"):
        (tmp_path / "spool" / name).mkdir(parents=True)
    return tmp_path / "spool"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "work.cmd"
    path.write_text("sched in 5 run hello\n")
    return path


def run(spool: Path, file: Path | str, *options: str) -> int:
    """The exit status of `submit`; raises Unusable."""
    try:
        return submit.run(submit.parse(["--spool", str(spool), *options, str(file)]))
    except Failure as failure:
        print_error(str(failure))
        return failure.status


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_name_in_the_spool_is_printed(spool: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(spool, file) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == names(spool / "new")
    assert shown.err == ""
    assert (spool / "new" / shown.out.strip()).read_bytes() == file.read_bytes()


def test_the_name_can_be_chosen(
    spool: Path, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(spool, file, "--name", "nightly.cmd", "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"file": names(spool / "new")[0], "accepted": None}
    assert shown["file"].startswith("nightly-")
    stdin(monkeypatch, b"version\n")
    assert run(spool, "-") == 0
    assert capsys.readouterr().out.startswith("stdin-")


@pytest.mark.parametrize("data", [b"", b"\n", b" \t\r\n# a comment\n", b"# no end"])
def test_a_file_without_a_command_is_rejected_at_once(
    spool: Path, data: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, data)
    assert run(spool, "-") == 1
    assert "error[E109]: the file contains no command\n  --> <stdin>" in capsys.readouterr().err
    assert names(spool / "new") == names(spool / "tmp") == []


def test_an_endless_stream_is_rejected(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(spool, "/dev/zero") == 1
    err = capsys.readouterr().err
    assert "error[E108]" in err and f"help: {SPLIT_DROP}\n" in err
    assert f" {KEYS['spool.max_bytes'].default:,} bytes" in SPLIT_DROP
    assert names(spool / "new") == names(spool / "tmp") == []
    assert MAX_BYTES == text.MAX_BYTES


@pytest.mark.parametrize("data", [b"run helo\n", b"sched in soon version\n", b"config set a \xe9\n", b"a\0b\n"])
def test_only_check_rejects_what_an_appliance_might_accept(
    spool: Path, data: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, data)
    assert run(spool, "-") == 0
    assert len(names(spool / "new")) == 1
    capsys.readouterr()
    stdin(monkeypatch, data)
    known_only_there = data == b"run helo\n"
    assert run(spool, "-", "--check") == (0 if known_only_there else 1)
    assert ("error[E" in capsys.readouterr().err) is not known_only_there
    assert len(names(spool / "new")) == 1 + known_only_there
    assert names(spool / "tmp") == []


def test_check_prints_the_form_of_a_result(spool: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("sched list\nshutdwn\n")
    assert run(spool, file, "--check", "--format", "json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["file"], shown["accepted"], shown["results"]) == (None, False, [])
    assert [(row["file"], row["line"], row["code"]) for row in shown["diagnostics"]] == [(str(file), 2, "E110")]


def test_an_unreadable_file_is_a_usage_error(spool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        assert run(spool, path) == 2
        assert capsys.readouterr().err.startswith(f"error: cannot read {path}: ")


def test_without_a_spool_nothing_can_be_queued(tmp_path: Path, file: Path) -> None:
    for options in ([], ["--wait"]):
        with pytest.raises(Unusable, match=f"^no spool at {tmp_path}/nowhere: "):
            run(tmp_path / "nowhere", file, *options)


def test_nothing_is_queued_if_its_result_could_not_be_read(spool: Path, file: Path) -> None:
    (spool / "failed").rmdir()
    with pytest.raises(Unusable) as unusable:
        run(spool, file, "--wait")
    assert "without --wait" in unusable.value.help
    assert names(spool / "new") == []


def test_the_file_may_be_a_pipe(spool: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"version\n")
    os.close(writing)
    assert run(spool, f"/dev/fd/{reading}") == 0
    os.close(reading)
    assert (spool / "new" / names(spool / "new")[0]).read_bytes() == b"version\n"


@pytest.fixture
def appliance_answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the result that the wait returns at once."""

    def with_result(result: dict[str, Any]) -> None:
        monkeypatch.setattr(submit, "_wait", lambda _spool, _name, _timeout: result)

    return with_result


def test_the_error_of_an_unreadable_result_names_the_queued_file(
    spool: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(Unusable, match=f"^cannot read {spool}/done/") as unusable:
        run(spool, file, "--wait")
    (name,) = names(spool / "new")
    assert unusable.value.help == f"the commands are queued under {name}"


def test_outputs_are_printed_as_the_console_prints_them(
    spool: Path, file: Path, capsys: pytest.CaptureFixture[str], appliance_answers: Any
) -> None:
    results = [
        {"line": 1, "output": "example.com-000000001"},
        {"line": 2, "output": "A = 1\n"},
        {"line": 3, "output": ""},
        {"line": 4, "data": {"ü": [1]}},
    ]
    appliance_answers({**ACCEPTED, "results": results})
    assert run(spool, file, "--wait") == 0
    assert capsys.readouterr() == ('example.com-000000001\nA = 1\n{"ü": [1]}\n', "")


def test_diagnostics_point_into_the_original_file(
    spool: Path, file: Path, capsys: pytest.CaptureFixture[str], appliance_answers: Any
) -> None:
    file.write_text("# ü\r\n\tsched in 1 run helo\r\n")
    place = {"file": "work-1.cmd", "line": 2, "column": 17, "end_line": 2, "end_column": 21}
    row = {**place, "code": "E301", "severity": "error", "message": "program `helo` is not declared", "help": "hello?"}
    appliance_answers({**ACCEPTED, "accepted": False, "results": [], "diagnostics": [row]})
    assert run(spool, file, "--wait") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"error[E301]: program `helo` is not declared\n   --> {file}:2:17\n    |\n  2 |     sched in 1 run helo\n"
        "    |                    ^^^^\n  help: hello?\n"
    )
    assert run(spool, file, "--wait", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["diagnostics"] == [{**row, "file": str(file)}]
    appliance_answers({**ACCEPTED, "accepted": False, "results": [], "diagnostics": [row], "more_diagnostics": 7})
    assert run(spool, file, "--wait") == 1
    assert capsys.readouterr().err == f"{shown.err}and 7 more\n"


@pytest.mark.parametrize("line", [1, 2, 99])
def test_a_place_beyond_the_end_of_the_file_is_shown(
    spool: Path, file: Path, line: int, capsys: pytest.CaptureFixture[str], appliance_answers: Any
) -> None:
    place = {"file": "work-1.cmd", "line": line, "column": 500, "end_line": line, "end_column": 501}
    row = {**place, "code": "E101", "severity": "error", "message": "a cause", "help": ""}
    appliance_answers({**ACCEPTED, "accepted": False, "results": [], "diagnostics": [row]})
    assert run(spool, file, "--wait") == 1
    assert "error[E101]: a cause" in capsys.readouterr().err


@pytest.mark.parametrize("output_format", ["full", "json"])
def test_a_file_without_a_result_stays_queued(
    spool: Path, file: Path, output_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(spool, file, "--wait", "--timeout", "0", "--format", output_format) == 75
    (name,) = names(spool / "new")
    shown = capsys.readouterr()
    assert shown.err == f"error: no result yet; it stays queued under {name}\n"
    assert shown.out == (f'{{"file": "{name}", "accepted": null}}\n' if output_format == "json" else "")


def test_an_interrupt_while_the_file_is_queued_takes_effect_afterwards(
    spool: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So the name can be printed, and nobody submits the file again."""
    link = Path.hardlink_to

    def interrupted(path: Path, target: Path) -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        link(path, target)

    monkeypatch.setattr(Path, "hardlink_to", interrupted)
    assert run(spool, file) == 130
    (name,) = names(spool / "new")
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted: it stays queued under {name}"
    assert names(spool / "tmp") == []


def test_an_interrupt_before_the_file_is_queued_queues_nothing(
    spool: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_file: str) -> tuple[str, bytes]:
        raise KeyboardInterrupt

    monkeypatch.setattr(submit, "_read", interrupted)
    assert run(spool, file) == 130
    assert "nothing was queued" in capsys.readouterr().err
    assert names(spool / "new") == []


@pytest.mark.parametrize("step", STEPS)
def test_a_sigterm_between_the_steps_leaves_nothing_in_tmp(spool: Path, file: Path, step: str) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import pytest\n"
        "from schedappliance.cli.main import main\n"
        "from tests.client.test_drop import failing\n"
        "failing(sys.argv[1], lambda: os.kill(os.getpid(), signal.SIGTERM), pytest.MonkeyPatch())\n"
        "main(['submit', '--spool', sys.argv[2], sys.argv[3]])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, step, str(spool), str(file)], check=False)
    assert done.returncode == -signal.SIGTERM
    assert names(spool / "tmp") == []
    assert [(spool / "new" / name).read_bytes() for name in names(spool / "new")] == [file.read_bytes()]
