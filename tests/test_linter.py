"""`lint` as a user meets it: which files it takes, what references are judged from, what it prints and returns."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from schedappliance.cli import main
from schedappliance.linter import Linter, files_under, load
from schedappliance.syntax.text import MAX_BYTES
from tests.texts import codes

PROGRAM = 'program "p" { argv = ( "/bin/true" ) }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _appliance(folder: Path, stanzas: str, **files: str) -> None:
    _write(folder, {"appliance.yaml": "config: sched.conf\n", "sched.conf": stanzas})
    _write(folder, {name.replace("__", "/").replace("_", "."): text for name, text in files.items()})


def _lint(*names: str, config: str | None = None) -> tuple[list[str], list[str]]:
    """Codes and notes for these files, in the order in which they were given."""
    linter = Linter(Path(config) if config else None)
    return [code for name in names for code in codes(linter.lint(Path(name)))], linter.notes


def test_files_without_mistakes_are_passed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _appliance(folder, PROGRAM, a_cmd="# comment\n\nsched in 5 run p\n")
    assert main(["lint", "."]) == 0
    assert capsys.readouterr() == ("3 files checked: 0 errors, 0 warnings\n", "")


def test_mistakes_are_shown_in_order_and_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _appliance(folder, PROGRAM + "x = 1\nx = 2\n", a_cmd="sched in 0 run p\nrun q\n", b_cmd="\n")
    assert main(["lint", "."]) == 1
    shown = capsys.readouterr().out
    assert [line.split(":")[0] for line in shown.splitlines() if "[" in line.split(":")[0]] == [
        "error[E204]",
        "error[E301]",
        "error[E109]",
        "warning[W401]",
    ]
    assert shown.endswith("\n\n4 files checked: 3 errors, 1 warning\n")


def test_warnings_alone_are_no_findings_for_the_exit_status(folder: Path) -> None:
    _write(folder, {"x.conf": "x = 1\nx = 2\n"})
    assert main(["lint", "x.conf"]) == 0


def test_json_is_one_array_of_every_diagnostic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folder, {"x.conf": "x = \n", "y.cmd": "pidd\n"})
    assert main(["lint", "--format", "json", "x.conf", "y.cmd"]) == 1
    out, notes = capsys.readouterr()
    found = [(d["file"], d["line"], d["column"], d["code"]) for d in json.loads(out)]
    assert found == [("x.conf", 1, 4, "E101"), ("y.cmd", 1, 1, "E110")]
    assert notes.count("note: ") == 2


def test_a_path_that_does_not_exist_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "no.conf"]) == 2
    assert capsys.readouterr() == ("", "error: no such file or directory: no.conf\n")
    assert not list(folder.iterdir())


@pytest.mark.xfail(strict=True, reason="a path that exists but cannot be read counts as a finding: exit status 1")
def test_a_file_that_cannot_be_read_is_exit_status_2(folder: Path) -> None:
    os.mkfifo(folder / "x.conf")
    assert main(["lint", "x.conf"]) == 2


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("x.cmd", "frobnicate\n", "E110"),
        ("x.yaml", "confg: x\n", "E209"),
        ("x.yml", "confg: x\n", "E209"),
        ("x.conf", "frobnicate { }\n", "E201"),
        ("x", "frobnicate { }\n", "E201"),
        ("x.txt", "frobnicate { }\n", "E201"),
    ],
)
def test_the_name_of_a_file_tells_its_language(folder: Path, name: str, text: str, code: str) -> None:
    _write(folder, {name: text})
    assert code in _lint(name)[0]


def test_a_directory_means_its_files_without_dot_files(folder: Path) -> None:
    names = ["a.conf", "b/c.cmd", "b/appliance.yaml", ".d.conf", ".e/f.conf", "g.yaml", "h.txt", "b/.i/j.cmd"]
    _write(folder, dict.fromkeys(names, ""))
    (folder / "k.conf").mkdir()
    assert [str(path) for path in files_under(Path())] == ["a.conf", "b/appliance.yaml", "b/c.cmd"]
    assert files_under(Path("h.txt")) == [Path("h.txt")]


def test_a_command_file_is_judged_against_the_stanzas_of_the_nearest_root(folder: Path) -> None:
    _appliance(
        folder, PROGRAM + "known = 1\n", sub__a_cmd="run p\nrun p x\nrun q\nconfig get unknown\nconfig get KNOWN\n"
    )
    assert _lint("sub/a.cmd") == (["E302", "E301", "W402"], [])


def test_a_nested_command_is_judged_too(folder: Path) -> None:
    _appliance(folder, PROGRAM, a_cmd="sched every 60 sched in 5 json run q\n")
    (mistake,) = Linter().lint(Path("a.cmd"))
    assert (mistake.code, mistake.place()) == ("E301", (1, 36, 1, 37))


@pytest.mark.xfail(strict=True, reason="the last argument is pointed at, whichever does not match")
def test_the_argument_that_does_not_match_is_pointed_at(folder: Path) -> None:
    _appliance(folder, 'program "p" { argv = ( "/bin/true" ) args = ( "a" "b" ) }\n', a_cmd="run p wrong b\n")
    (mistake,) = Linter().lint(Path("a.cmd"))
    assert (mistake.code, mistake.place()) == ("E302", (1, 7, 1, 12))


def test_a_named_root_is_taken_instead_of_the_nearest(folder: Path) -> None:
    _appliance(folder, "", a_cmd="run p\n", other__appliance_yaml="config: s\n", other__s=PROGRAM)
    assert _lint("a.cmd") == (["E301"], [])
    assert _lint("a.cmd", config="other/appliance.yaml") == ([], [])


def test_references_stay_unjudged_without_a_root_and_a_note_says_so(folder: Path) -> None:
    _write(folder, {"a.cmd": "run q\nconfig get x\n", "a.conf": 'job "j" { every = 5 command = "run q" }\n'})
    found, notes = _lint("a.cmd", "a.conf")
    assert found == []
    assert notes == [f"{name}: references are not judged: no appliance.yaml is near" for name in ("a.cmd", "a.conf")]


def test_references_stay_unjudged_under_a_root_with_errors_and_a_note_says_so(folder: Path) -> None:
    _appliance(folder, "x = \ninclude b.conf", a_cmd="run q\n", b_conf='job "j" { every = 5 command = "run q" }\n')
    found, notes = _lint("a.cmd")
    assert (found, len(notes)) == ([], 1)
    assert "sched.conf has errors" in notes[0]


def test_a_stanza_file_that_the_root_does_not_reach_is_checked_without_references(folder: Path) -> None:
    _appliance(folder, PROGRAM, b_conf='job "j" { every = 5 command = "run q" }\njob "k" { }\n')
    found, notes = _lint("b.conf")
    assert found == ["E205", "E205"]
    assert "does not include it" in notes[0]


def test_an_included_file_is_judged_with_what_the_other_files_declare(folder: Path) -> None:
    stanzas = PROGRAM + "known = 1\ninclude b.conf\n"
    job = 'job "j" { every = 5 command = "run p" }\njob "k" { every = 5 command = "config get %s" }\n'
    _appliance(folder, stanzas, b_conf=job % "known")
    assert _lint("b.conf") == ([], [])
    _appliance(folder, stanzas, b_conf=job % "unknown")
    assert _lint("b.conf") == (["W402"], [])


@pytest.mark.xfail(strict=True, reason="its own mistake makes the root count as broken, so that it is not judged")
def test_an_included_file_is_told_of_programs_that_no_file_declares(folder: Path) -> None:
    _appliance(folder, "include b.conf\n", b_conf='job "k" { every = 5 command = "run q" }\n')
    assert _lint("sched.conf")[0] == ["E301"]
    assert _lint("b.conf")[0] == ["E301"]


@pytest.mark.xfail(strict=True, reason="a file that is included inside a stanza is judged as if it stood alone")
def test_a_file_that_is_included_inside_a_stanza_is_judged_as_a_part_of_it(folder: Path) -> None:
    _appliance(folder, 'program "p" { include b.conf }\n', b_conf='argv = ( "/bin/true" )\n')
    assert _lint("appliance.yaml", "sched.conf")[0] == []
    assert _lint("b.conf")[0] == []


def test_an_appliance_file_brings_in_its_stanza_files(folder: Path) -> None:
    _appliance(folder, "include b.conf\n", b_conf="frobnicate { }\n")
    (mistake,) = Linter().lint(Path("appliance.yaml"))
    assert (mistake.code, mistake.source.name) == ("E201", "b.conf")


@pytest.mark.parametrize(
    ("stanzas", "found"), [("", ["E308"]), ("sched { }", ["E308"]), ('sched { backing_store = "s.db" }', [])]
)
def test_a_spool_needs_a_backing_store(folder: Path, stanzas: str, found: list[str]) -> None:
    _write(folder, {"appliance.yaml": "config: sched.conf\nspool: { path: spool }\n", "sched.conf": stanzas})
    assert _lint("appliance.yaml")[0] == found


def test_what_lint_passes_is_what_the_appliance_loads(folder: Path) -> None:
    _appliance(folder, PROGRAM + 'program "gone" { argv = ( "/nowhere/x" ) }\n')
    assert load(Path("sched.conf")).accepted and _lint("sched.conf")[0] == ["W403"]
    _appliance(folder, PROGRAM + 'job "j" { every = 5 command = "run q" }\n')
    assert not load(Path("sched.conf")).accepted and _lint("sched.conf")[0] == ["E301"]


@pytest.mark.xfail(
    strict=True, reason="a root without any statement is no error, although only an included file may be empty"
)
@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_root_without_a_statement_is_an_error(folder: Path, text: str) -> None:
    _appliance(folder, text)
    assert _lint("sched.conf")[0] != []


@pytest.mark.xfail(strict=True, reason="a root that was named and does not load is called `no appliance.yaml is near`")
@pytest.mark.parametrize("config", ["broken.yaml", "missing.yaml"])
def test_a_note_names_the_root_that_does_not_load(folder: Path, config: str) -> None:
    _write(folder, {"a.cmd": "run q\n", "broken.yaml": "config: [\n"})
    assert config in _lint("a.cmd", config=config)[1][0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["E109"]),
        ("\n  \t\n# only a comment\n", ["E109"]),
        ("sched list\r\nconfig set a = 1\r\n", []),
        (" # no comment\n", ["E110"]),
        ("shutdown\nquit\n", ["E304", "E304"]),
        ("run a\nfrobnicate\nrun 'b\n", ["E110", "E103"]),
        ("run " + "x" * 65_533 + "\n", ["E108"]),
        ("run " + "x" * 65_532 + "\n", []),
        ("run " + "ü" * 32_767 + "\n", ["E108"]),
    ],
)
def test_every_line_of_a_command_file_is_checked(folder: Path, text: str, found: list[str]) -> None:
    _write(folder, {"a.cmd": text})
    assert _lint("a.cmd")[0] == found


def test_a_mistake_in_a_command_file_stands_on_its_line(folder: Path) -> None:
    _write(folder, {"a.cmd": "# ünï\r\n\r\n  sched in 5 frobnicate\r\n"})
    (mistake,) = Linter().lint(Path("a.cmd"))
    assert mistake.place() == (3, 14, 3, 24)


@pytest.mark.parametrize("name", ["x.cmd", "x.conf", "appliance.yaml"])
@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xff", "E105"), (b"a\rb", "E106"), (b"\xef\xbb\xbfa", "E106"), (b"#" * (MAX_BYTES + 1), "E108")],
    ids=["not UTF-8", "lone CR", "BOM", "too large"],
)
def test_a_file_of_any_language_is_plain_text(folder: Path, name: str, data: bytes, code: str) -> None:
    (folder / name).write_bytes(data)
    assert _lint(name)[0] == [code]


@pytest.mark.parametrize("name", ["x.cmd", "x.conf", "appliance.yaml"])
def test_a_file_that_cannot_be_read_is_said_so(folder: Path, name: str) -> None:
    (folder / name).symlink_to("nowhere")
    assert _lint(name)[0] == ["E307"]
