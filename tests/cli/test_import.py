"""`schedappliance import`: its output, its exit statuses, and what it says about inputs that it cannot read."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from schedappliance.cli.main import main


def test_stanzas_are_on_stdout_and_the_summary_is_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tab").write_text("0 5 * * * /bin/true\n")
    assert main(["import", "crontab", "--user", "root", str(tmp_path / "tab")]) == 0
    output, errors = capsys.readouterr()
    assert 'job "true" {\n  cron = "0 5 * * *"\n  zone = local\n' in output
    assert errors == "1 line: 1 exact, 0 with notes, 0 not possible\n"


def test_a_line_that_is_not_possible_is_status_1_and_the_others_are_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tab").write_text("0 25 * * * /bin/true\n0 5 * * * /bin/false\n")
    assert main(["import", "crontab", str(tmp_path / "tab"), "--user", "root"]) == 1
    output, errors = capsys.readouterr()
    assert 'job "false"' in output
    assert f"error: {tmp_path}/tab:1: column 3: hour 25 is out of range; give 0 to 23\n" in errors


def test_a_zone_takes_the_place_of_that_of_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tab").write_text("0 5 * * * /bin/true\n")
    assert main(["import", "crontab", "--zone", "Europe/Berlin", str(tmp_path / "tab")]) == 0
    assert '  zone = "Europe/Berlin"\n' in capsys.readouterr().out


def test_an_unknown_zone_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "crontab", "--zone", "Europe/Berlyn", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == "error: --zone: unknown time zone `Europe/Berlyn`; did you mean `Europe/Berlin`?\n"
    )


def test_stdin_is_a_crontab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"@daily /bin/true\n")))
    assert main(["import", "crontab", "-"]) == 0
    assert "\n# <stdin>:1\n" in capsys.readouterr().out


def test_a_variable_that_no_stanza_can_hold_fails_its_line_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tab").write_text("0 5 * * * /bin/true\nA=x\x0by\n0 6 * * * /bin/false\n")
    assert main(["import", "crontab", "--user", "root", str(tmp_path / "tab")]) == 1
    output, errors = capsys.readouterr()
    assert 'job "true"' in output and 'job "false"' not in output
    assert "tab:3: a value contains the character U+000B, which no stanza file may contain" in errors


@pytest.mark.parametrize("kind", ["timer", "at"])
def test_units_and_at_jobs_are_not_read_from_stdin(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", kind, "-"]) == 2
    assert "error: `-` stands for a crontab" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["crontab", "cron.d", "timer", "at"])
def test_a_file_that_does_not_exist_is_status_2(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", kind, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"error: no such file or directory: {tmp_path}/none\n"


def test_a_file_that_cannot_be_read_is_status_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "tab")
    assert main(["import", "crontab", str(tmp_path / "tab")]) == 78
    output, errors = capsys.readouterr()
    assert (output, errors[:19]) == ("", "error: cannot read ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0\0\1", "NUL byte in line 1"),
        (b"0 5 * * * /bin/echo \xff\n", ":1: column 21: invalid UTF-8: byte 0xff at offset 20"),
        (b"0 5 * * * /bin/echo \x1b[31m\n", ":1: column 21: unexpected control character U+001B"),
        (b"0 5 * * * /bin/echo " + b"x" * 1_000_000, ":1: the command has 1,000,010 bytes"),
        (b"x" * 1_000_000, ":1: `xxx"),
        (b"A=" + b" " * 1_000_000 + b"x\n0 0 31 2 * y", ":2: column 1: never due: "),
        (b"* " * 500_000, ":1: the command"),
        (b"0 5 * * *\n", ":1: nothing follows `0 5 * * *`; a job has five fields and a command"),
        (b"sleep " * 20_000, ":1: "),
        (b"@fortnightly /bin/true\n", ":1: unknown nickname `@fortnightly`"),
        (b"SHELL=bash\n0 5 * * * x\n", ":2: SHELL=bash is not an absolute path"),
        (b"RANDOM_DELAY=soon\n0 5 * * * x\n", ":2: RANDOM_DELAY=soon is not a number of minutes"),
    ],
)
def test_what_cannot_be_read_has_a_place_and_a_reason(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tab").write_bytes(content)
    assert main(["import", "crontab", str(tmp_path / "tab")]) == 1
    assert message in capsys.readouterr().err


def test_bytes_in_a_comment_do_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tab").write_bytes(b"# t\xe4glich\n@daily /bin/true\n")
    assert main(["import", "crontab", str(tmp_path / "tab")]) == 0
    assert "# t glich\n" in capsys.readouterr().out


def test_a_crontab_with_a_column_of_users_is_not_taken_for_one_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tab").write_text("0 5 * * * root /bin/true\n")
    assert main(["import", "crontab", str(tmp_path / "tab")]) == 1
    assert "error[E118]: each command begins with the name of a user\n" in capsys.readouterr().err
    assert main(["import", "cron.d", str(tmp_path / "tab")]) == 0


def test_a_crontab_without_a_column_of_users_is_not_taken_for_one_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tab").write_text("0 5 * * * /bin/true --now\n")
    assert main(["import", "cron.d", str(tmp_path / "tab")]) == 1
    assert "use `import crontab`" in capsys.readouterr().err


def test_names_differ_over_all_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("0 5 * * * /bin/true\n")
    assert main(["import", "crontab", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    output = capsys.readouterr().out
    assert 'job "true" {' in output
    assert 'job "true-2" {' in output


def test_an_empty_crontab_has_no_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tab").write_text("# nothing\n")
    assert main(["import", "crontab", str(tmp_path / "tab")]) == 0
    assert capsys.readouterr() == ("", "0 lines: 0 exact, 0 with notes, 0 not possible\n")
