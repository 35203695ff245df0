"""`lint` as users see it: which files it reads, where it looks up references, what it prints and returns."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schedappliance.cli.main import main
from schedappliance.edge.spool.folders import PRIVATE, SHARED
from schedappliance.lint.linter import Linter, content_of
from schedappliance.model.appliance_file import KEYS, SPOOL_FOLDERS
from schedappliance.model.command_file import MAX_LINES
from schedappliance.model.loading import load
from schedappliance.store.files import BESIDE
from schedappliance.syntax.stanza import MAX_DEPTH, MAX_TOKENS
from schedappliance.syntax.text import MAX_BYTES
from tests.support.diagnostics import codes
from tests.support.terminal import on_a_terminal

PROGRAM = 'program "p" { argv = ( "/bin/true" ) }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
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
    """Codes and notes for these files, in their order."""
    linter = Linter(Path(config) if config else None)
    return [code for name in names for code in codes(linter.lint(Path(name)))], linter.notes


def test_files_without_mistakes_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_warnings_alone_do_not_change_the_exit_status(folder: Path) -> None:
    _write(folder, {"x.conf": "x = 1\nx = 2\n"})
    assert main(["lint", "x.conf"]) == 0


def test_json_is_one_array_of_every_diagnostic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folder, {"x.conf": "x = \n", "y.cmd": "pidd\n"})
    assert main(["lint", "--format", "json", "x.conf", "y.cmd"]) == 1
    out, notes = capsys.readouterr()
    codes = [(d["file"], d["line"], d["column"], d["code"]) for d in json.loads(out)]
    assert codes == [("x.conf", 1, 1, "E116"), ("y.cmd", 1, 1, "E110")]
    assert notes.count("note: ") == 2


def test_a_path_that_does_not_exist_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "no.conf"]) == 2
    assert capsys.readouterr() == ("", "error: no such file or directory: no.conf\n")
    assert not list(folder.iterdir())


def test_an_unreadable_file_gives_exit_status_2(folder: Path) -> None:
    os.mkfifo(folder / "x.conf")
    assert main(["lint", "x.conf"]) == 2


BAD_FILES: dict[str, bytes] = {
    "unknown stanza": b"shed {\n}\n",
    "unknown option": b'sched { backing_stor = "x" }\n',
    "missing brace": b'sched {\n  backing_store = "x"\n',
    "wrong bracket": b'sched < backing_store = "x" }\n',
    "binary": bytes(range(256)),
    "zeros": b"\0" * 100_000,
    "missing include": b'include "none.conf"\n',
    "circle": b'include "circle.conf"\n',
    "open quote": b'a = "x\n',
    "lone carriage return": b"a = 1\rb = 2\n",
    "byte order mark": b"\xef\xbb\xbfa = 1\n",
    "open comment": b"/* a\n",
    "bad job": b'job "a" { every = 1 command = "sched in 5 nonsense" }\n',
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_each_mistake_is_reported_with_place_and_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = folder / f"{name}.conf"
    path.write_bytes(BAD_FILES[name])
    assert main(["lint", str(path)]) == 1
    out, _ = capsys.readouterr()
    assert "error[E" in out
    assert "help: " in out
    assert f"--> {path}" in out
    assert out.count("\n") <= 12


@pytest.mark.parametrize("name", ["/dev/zero", "fifo.conf", "."])
def test_a_path_that_is_not_a_regular_file_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / "empty.conf").write_text("")
    os.mkfifo(folder / "fifo.conf")
    assert main(["lint", name]) in (1, 2)
    assert "not a regular file" in capsys.readouterr().out


def test_a_link_to_itself_is_named_as_such(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loop.conf").symlink_to("loop.conf")
    for arguments in (["lint", "loop.conf"], ["lint", "--config", "loop.conf", "."]):
        assert main(arguments) == 2
        assert capsys.readouterr().err == "error: Too many levels of symbolic links: loop.conf\n"


@pytest.mark.parametrize("name", ["nope.conf", "empty.conf/below", "dangling.conf"])
def test_a_path_that_leads_nowhere_is_a_usage_error(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / "empty.conf").write_text("")
    (folder / "dangling.conf").symlink_to("nowhere")
    assert main(["lint", name]) == 2
    assert capsys.readouterr().err.startswith("error: no such file or directory: ")


def test_a_directory_without_a_stanza_file_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "nothing").mkdir()
    assert main(["lint", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("error: no *.conf")


def test_an_empty_stanza_file_can_be_linted(folder: Path) -> None:
    (folder / "empty.conf").write_text("")
    assert main(["lint", "empty.conf"]) in (0, 1)


def test_a_name_that_is_too_long_is_a_usage_error(folder: Path) -> None:
    assert main(["lint", str(folder / ("x" * 300))]) == 2


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


def test_a_directory_stands_for_its_files_except_dot_files(folder: Path) -> None:
    names = ["a.conf", "b/c.cmd", "b/appliance.yaml", ".d.conf", ".e/f.conf", "g.yaml", "h.txt", "b/.i/j.cmd"]
    _write(folder, dict.fromkeys(names, ""))
    (folder / "k.conf").mkdir()
    assert [str(path) for path in content_of(Path()).files] == ["a.conf", "b/appliance.yaml", "b/c.cmd"]
    assert Linter().files_of(Path("h.txt")) == [Path("h.txt")]


def test_the_directories_of_systemd_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folder, {"sched.conf": "A = 1\n", "systemd/x.service.d/root.conf": "[Service]\nUser=root\n"})
    _write(folder, {"bin/systemd": "", ".git/systemd/x.conf": "", "systemd/systemd/y.conf": ""})
    assert main(["lint", "."]) == 0
    out, err = capsys.readouterr()
    assert "1 file checked" in out and err.count("for systemd") == 1
    assert "note: systemd: not checked: its files are for systemd\n" in err
    assert main(["lint", "systemd"]) == 1, "but not when it is named"


def _with_spool(folder: Path) -> None:
    _appliance(folder, PROGRAM)
    (folder / "appliance.yaml").write_text("config: sched.conf\nspool: { path: var/spool }\n")
    (folder / "sched.conf").write_text(f'sched {{ backing_store = "x" }}\n{PROGRAM}')
    drops = [f"var/spool/{name}/a.cmd" for name in (*SPOOL_FOLDERS, "failed/directory")]
    _write(folder, dict.fromkeys([*drops, "failed/b.cmd"], "nonsense\n"))


@pytest.mark.parametrize("path", [".", "absolute"])
def test_the_drops_in_a_spool_below_a_directory_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """Even its failed drops are no mistakes of the people who maintain the files."""
    _with_spool(folder)
    named = folder if path == "absolute" else Path(path)
    assert main(["lint", "--format", "concise", str(named)]) == 1
    out, err = capsys.readouterr()
    assert out.count("E110") == 1 and "3 files checked: 1 error" in out, "failed/ outside the spool is checked"
    spool = named / "var" / "spool"
    config = named / "appliance.yaml"
    assert err.replace(f"{folder}/", "") == (
        f"note: {spool}: drops are not checked: it is the spool of {config}\n".replace(f"{folder}/", "")
    )


@pytest.mark.parametrize("path", ["var/spool", "var/spool/failed", "var/spool/failed/a.cmd"])
def test_drops_whose_spool_is_named_are_checked(folder: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    _with_spool(folder)
    assert main(["lint", path]) == 1
    assert "error[E110]" in capsys.readouterr().out


def test_a_directory_with_drops_alone_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _with_spool(folder)
    assert main(["lint", "var"]) == 2
    expected = "error: no *.conf, *.cmd or appliance.yaml in var; var/spool: drops are not checked: "
    assert capsys.readouterr().err.startswith(expected)


def test_the_directories_of_a_spool_are_those_of_the_appliance() -> None:
    assert set(SPOOL_FOLDERS) == PRIVATE.keys() == SHARED.keys()


def test_a_command_file_is_judged_against_the_stanzas_of_the_nearest_root(folder: Path) -> None:
    _appliance(
        folder, PROGRAM + "known = 1\n", sub__a_cmd="run p\nrun p x\nrun q\nconfig get unknown\nconfig get KNOWN\n"
    )
    assert _lint("sub/a.cmd") == (["E302", "E301", "W402"], [])


def test_a_nested_command_is_checked_too(folder: Path) -> None:
    _appliance(folder, PROGRAM, a_cmd="sched every 60 sched in 5 json run q\n")
    (mistake,) = Linter().lint(Path("a.cmd"))
    assert (mistake.code, mistake.place()) == ("E301", (1, 36, 1, 37))


def test_the_argument_that_does_not_match_is_pointed_at(folder: Path) -> None:
    _appliance(folder, 'program "p" { argv = ( "/bin/true" ) args = ( "a" "b" ) }\n', a_cmd="run p wrong b\n")
    (mistake,) = Linter().lint(Path("a.cmd"))
    assert (mistake.code, mistake.place()) == ("E302", (1, 7, 1, 12))


def test_the_remedies_of_a_few_mistakes_name_the_nearest_program(folder: Path) -> None:
    (folder / "appliance.yaml").write_text("config: sched.conf\n")
    jobs = "".join(f'job "j{number}" {{ every = 60 command = "run q" }}\n' for number in range(50))
    (folder / "sched.conf").write_text(PROGRAM.replace('"p"', '"pq"') + jobs)
    (folder / "a.cmd").write_text("run q\n" * 50)
    for name in ("sched.conf", "a.cmd"):
        remedies = [diagnostic.help for diagnostic in Linter().lint(Path(name))]
        assert (len(remedies), sum(text.startswith("did you mean") for text in remedies)) == (50, 20)


def test_a_named_root_is_used_instead_of_the_nearest(folder: Path) -> None:
    _appliance(folder, "x = 1\n", a_cmd="run p\n", other__appliance_yaml="config: s\n", other__s=PROGRAM)
    assert _lint("a.cmd") == (["E301"], [])
    assert _lint("a.cmd", config="other/appliance.yaml") == ([], [])


def test_without_a_root_references_are_not_checked_and_a_note_says_so(folder: Path) -> None:
    _write(folder, {"a.cmd": "run q\nconfig get x\n", "a.conf": 'job "j" { every = 5 command = "run q" }\n'})
    codes, notes = _lint("a.cmd", "a.conf")
    assert codes == []
    assert notes == [
        f"{name}: references are not checked: no appliance.yaml in its directory or above"
        for name in ("a.cmd", "a.conf")
    ]


def test_under_a_root_with_errors_references_are_not_checked_and_a_note_says_so(folder: Path) -> None:
    _appliance(folder, "x = \ninclude b.conf", a_cmd="run q\n", b_conf='job "j" { every = 5 command = "run q" }\n')
    codes, notes = _lint("a.cmd")
    assert (codes, len(notes)) == ([], 1)
    assert "sched.conf has syntax errors" in notes[0]


STANZAS_WITH_ERRORS = """\
sched { backing_store = "s.db"  zone = UTC }
job "unquoted" { cron = 30 2 * * *  argv = ( "/bin/true" "%{listed}" "%{unknown}" ) }
progam "misspelt" { argv = ( "/bin/true" ) }
program "pattern" { argv = ( "/bin/true" )  args = ( "[" )
  program "inside" { argv = ( "/bin/true" ) }
}
listed = ( 1 2 )
days "months" { dates = ( "*-13-01" ) }
dayz "misspelt" { dates = ( "*-12-01" ) }
"""
REFERENCES_TO_THEM = """\
job "a" { every = 60  command = "run unquoted" }
job "b" { every = 60  command = "run misspelt" }
job "c" { every = 60  command = "run pattern x" }
job "d" { every = 60  command = "run inside x" }
job "e" { every = 60  command = "config set job unquoted enabled no" }
job "f" { cron = "1 1 * * *"  only = months  command = "run unquoted" }
job "g" { cron = "1 1 * * *"  only = misspelt  command = "run unquoted" }
"""
WRONG_REFERENCES = """\
job "h" { every = 60  command = "run nope" }
job "i" { every = 60  command = "config set job nope enabled no" }
job "j" { cron = "1 1 * * *"  only = nope  command = "run a" }
job "k" { cron = "1 1 * * *"  zone = "Europe/Nowhere"  command = "run unquoted" }
job "l" { calendar = "*-02-30 07:00"  command = "run unquoted" }
"""


def test_errors_hide_no_wrong_reference_and_no_reference_to_them_is_reported(folder: Path) -> None:
    text = STANZAS_WITH_ERRORS + REFERENCES_TO_THEM + WRONG_REFERENCES
    _appliance(folder, text, a_cmd="run nope\nrun unquoted\nrun misspelt\nrun inside\nrun pattern x\n")
    lines = text.splitlines()
    diagnostics = [(d.code, lines[d.place()[0] - 1][:9]) for d in Linter().lint(Path("sched.conf"))]
    assert sorted(diagnostics) == [
        ("E201", "  program"),
        ("E201", 'dayz "mis'),
        ("E201", 'progam "m'),
        ("E203", "listed = "),
        ("E203", 'program "'),
        ("E212", 'days "mon'),
        ("E212", 'job "unqu'),
        ("E213", 'job "k" {'),
        ("E214", 'job "l" {'),
        ("E301", 'job "h" {'),
        ("E301", 'job "j" {'),
        ("E310", 'job "i" {'),
        ("E311", 'job "j" {'),
        ("W402", 'job "unqu'),
    ]
    assert _lint("a.cmd") == (["E301"], [])


def test_a_misspelt_sched_leaves_no_job_without_a_zone(folder: Path) -> None:
    _appliance(folder, 'schd { zone = UTC }\njob "a" { cron = "1 1 * * *"  command = "run nope" }\n')
    assert _lint("sched.conf")[0] == ["E201", "E301"]


@pytest.mark.parametrize("line", ["* * * * * root /bin/true", "30 2 * * * /bin/true", "@reboot /bin/true"])
def test_a_crontab_is_one_error_without_a_note_on_references(folder: Path, line: str) -> None:
    """Also one whose lines could be options with wrong names."""
    _write(folder, {"mycron": f"{line}\n@daily /bin/true\n"})
    assert _lint("mycron") == (["E118"], [])


def test_a_file_that_cannot_be_read_is_one_error_without_a_note(folder: Path) -> None:
    _appliance(folder, PROGRAM)
    (folder / "sched.conf").unlink()
    os.mkfifo(folder / "sched.conf")
    assert _lint("sched.conf") == (["E307"], [])
    (folder / "other.conf").symlink_to("other.conf")
    assert _lint("other.conf") == (["E307"], [])


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_closed_directory_is_an_error(folder: Path) -> None:
    lint = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable, "-m", "schedappliance", "lint")
    _appliance(folder, PROGRAM)
    (folder / "closed" / "d").mkdir(parents=True)
    (folder / "link.conf").symlink_to("closed/d")
    (folder / "closed").chmod(0)
    done = subprocess.run([*lint, "closed"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: Permission denied: closed\n")
    done = subprocess.run([*lint, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == "" and "error[E307]: cannot read `link.conf`: Permission denied" in done.stdout
    assert "error[E307]: cannot read the directory `closed`: Permission denied" in done.stdout
    assert done.returncode == 2
    (folder / "closed").chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_closed_directory_below_a_directory_is_named(folder: Path) -> None:
    """It was passed over in silence. What the linter leaves out anyway may be closed."""
    lint = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable, "-m", "schedappliance", "lint")
    _with_spool(folder)
    (folder / "failed" / "b.cmd").unlink()
    _write(folder, dict.fromkeys(["a/deep/x.conf", "systemd/x.conf", ".git/x.conf", "failed/x.conf"], "A = 1\n"))
    for name in ("systemd", ".git", "var/spool/work", "var/spool/failed/directory"):
        (folder / name).chmod(0)
    done = subprocess.run([*lint, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (folder / "a" / "deep").chmod(0)
    (folder / "var" / "spool").chmod(0)
    done = subprocess.run([*lint, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout.count("error[") == 1
    assert "error[E307]: cannot read the directory `a/deep`: Permission denied" in done.stdout
    for closed in ("a/deep", "systemd", ".git", "var/spool", "var/spool/work", "var/spool/failed/directory"):
        (folder / closed).chmod(0o700)


def test_a_note_says_that_a_syntax_error_hides_wrong_references(folder: Path) -> None:
    _appliance(folder, 'x = \njob "j" { every = 5  command = "run q" }\n')
    codes, notes = _lint("sched.conf")
    assert (codes, notes) == (["E116"], ["sched.conf: references are not checked: it has syntax errors"])


def test_a_stanza_file_that_the_root_does_not_reach_is_checked_without_references(folder: Path) -> None:
    _appliance(folder, PROGRAM, b_conf='job "j" { every = 5 command = "run q" }\njob "k" { }\n')
    codes, notes = _lint("b.conf")
    assert codes == ["E205", "E205"]
    assert "does not include it" in notes[0]


def test_an_included_file_is_checked_with_the_declarations_of_the_other_files(folder: Path) -> None:
    stanzas = PROGRAM + "known = 1\ninclude b.conf\n"
    job = 'job "j" { every = 5 command = "run p" }\njob "k" { every = 5 command = "config get %s" }\n'
    _appliance(folder, stanzas, b_conf=job % "known")
    assert _lint("b.conf") == ([], [])
    _appliance(folder, stanzas, b_conf=job % "unknown")
    assert _lint("b.conf") == (["W402"], [])


def test_an_included_file_gets_an_error_for_an_undeclared_program(folder: Path) -> None:
    _appliance(folder, "include b.conf\n", b_conf='job "k" { every = 5 command = "run q" }\n')
    assert _lint("sched.conf")[0] == ["E301"]
    assert _lint("b.conf")[0] == ["E301"]


def test_an_include_without_a_path_is_no_directory(folder: Path) -> None:
    _appliance(folder, 'include ""\nx = 1\n')
    codes, *_ = _lint("sched.conf")
    assert codes == ["E305"]


def test_a_file_included_inside_a_stanza_is_checked_as_part_of_that_stanza(folder: Path) -> None:
    _appliance(folder, 'program "p" { include b.conf }\n', b_conf='argv = ( "/bin/true" )\n')
    assert _lint("appliance.yaml", "sched.conf")[0] == []
    assert _lint("b.conf")[0] == []


def test_an_appliance_file_brings_in_its_stanza_files(folder: Path) -> None:
    _appliance(folder, "include b.conf\n", b_conf="frobnicate { }\n")
    (mistake,) = Linter().lint(Path("appliance.yaml"))
    assert (mistake.code, mistake.source.name) == ("E201", "b.conf")


@pytest.mark.parametrize(
    ("stanzas", "codes"),
    [("x = 1", ["E308"]), ("sched { }", ["E308"]), ("", ["E117"]), ('sched { backing_store = "s.db" }', [])],
)
def test_a_spool_needs_a_backing_store(folder: Path, stanzas: str, codes: list[str]) -> None:
    _write(folder, {"appliance.yaml": "config: sched.conf\nspool: { path: spool }\n", "sched.conf": stanzas})
    assert _lint("appliance.yaml")[0] == codes


@pytest.mark.parametrize(
    ("appliance", "keys"),
    [
        ("console: { listen: s.db }", "`backing_store` and `console.listen`"),
        *((f"console: {{ listen: s.db{suffix} }}", "`backing_store` and `console.listen`") for suffix in BESIDE),
        (
            "console: { listen: s.db.output/x.sock }",
            "`console.listen` lies in the directory `s.db.output` of `backing_store`",
        ),
        ("console: { listen: ./spool/new/../.lock }", "`spool.path` and `console.listen`"),
        ("console: { listen: spool/new/x.sock }", "`console.listen` lies in the directory `new` of `spool.path`"),
        ("console: { listen: spool }", "`spool.path` and `console.listen`"),
        ("log: { file: spool/done/log }", "`log.file` lies in the directory `done` of `spool.path`"),
        ("log: { file: s.db-wal }", "`backing_store` and `log.file`"),
        ("log: { file: sched.conf }", "`config` and `log.file`"),
        ("log: { file: appliance.yaml }", "`config` and `log.file`"),
        ("log: { file: more/a.conf }", "`config` and `log.file`"),
        ("log: { file: variables }", "`env_file` and `log.file`"),
        ("log: { file: web-tokens }", "`log.file` and `web.tokens`"),
        ("log: { file: web-tokens.new }", "`log.file` and `web.tokens`"),
        ("console: { listen: x }\nlog: { file: x.lock }", "`console.listen` and `log.file`"),
        ("console: { listen: x }\nweb: { listen: ./x }", "`console.listen` and `web.listen`"),
        ("console: { listen: x }\nweb: { listen: ./x.new }", "`console.listen` and `web.listen`"),
        ("log: { file: more/log }", "`log.file` lies in the directory `more`, whose files are included"),
        ("console: { listen: more/x }", "`console.listen` lies in the directory `more`, whose files are included"),
        ("web: { tokens: more/x }", "`web.tokens` lies in the directory `more`, whose files are included"),
        ("log: { file: more/.log }\nconsole: { listen: more/b/x }", None),
        ("console: { listen: spool/x }", None),
        ("console: { listen: s.db.sock }\nlog: { file: s.db.log }\nweb: { listen: web.sock }", None),
    ],
)
def test_each_path_of_an_appliance_has_one_use(folder: Path, appliance: str, keys: str | None) -> None:
    """The start blamed another process, or told to move the log of the store away."""
    files = {"appliance.yaml": f"config: sched.conf\nspool: {{ path: spool }}\n{appliance}\n"}
    program = f'program "p" {{ argv = ( "/bin/true" ) env_file = "{folder}/variables" }}\n'
    stanzas = f'sched {{ backing_store = "s.db" }}\ninclude more\n{program}'
    _write(folder, {**files, "sched.conf": stanzas, "more/a.conf": "x = 1\n"})
    mistakes = [mistake for mistake in Linter().lint(Path("appliance.yaml")) if mistake.is_error]
    assert [mistake.code for mistake in mistakes] == (["E216"] if keys else [])
    assert all(mistake.message.startswith(keys or "") for mistake in mistakes)


@pytest.mark.parametrize(("place", "codes"), [("more", ["E216"]), (".", [])])
def test_the_store_is_not_in_an_included_directory(folder: Path, place: str, codes: list[str]) -> None:
    """The first start made it, and no later one read the files. Directories there, such as a spool, are not read."""
    files = {"appliance.yaml": "config: sched.conf\nspool: { path: more/spool }\n", "more/a.conf": "x = 1\n"}
    _write(folder, {**files, "sched.conf": f'sched {{ backing_store = "{place}/s.db" }}\ninclude more\n'})
    assert _lint("appliance.yaml")[0] == codes


@pytest.mark.parametrize("directories", ["spool: { path: s.db.output }", "spool: { path: s.db.output/spool }"])
def test_the_spool_is_not_in_the_directory_of_the_outputs(folder: Path, directories: str) -> None:
    files = {"appliance.yaml": f"config: sched.conf\n{directories}\n"}
    _write(folder, {**files, "sched.conf": 'sched { backing_store = "s.db" }\n'})
    assert _lint("appliance.yaml")[0] == ["E216"]


@pytest.mark.parametrize("store", ["spool/new", "spool/work/s.db"])
def test_the_store_is_not_in_a_directory_of_the_spool(folder: Path, store: str) -> None:
    files = {"appliance.yaml": "config: sched.conf\nspool: { path: spool }\n"}
    _write(folder, {**files, "sched.conf": f'sched {{ backing_store = "{store}" }}\n'})
    assert _lint("appliance.yaml")[0] == ["E216"]


def test_the_appliance_loads_the_files_that_lint_passes(folder: Path) -> None:
    _appliance(folder, PROGRAM + 'program "gone" { argv = ( "/nowhere/x" ) }\n')
    assert load(Path("sched.conf")).accepted and _lint("sched.conf")[0] == ["W403"]
    _appliance(folder, PROGRAM + 'job "j" { every = 5 command = "run q" }\n')
    assert not load(Path("sched.conf")).accepted and _lint("sched.conf")[0] == ["E301"]


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_root_without_a_statement_is_an_error(folder: Path, text: str) -> None:
    _appliance(folder, text)
    assert _lint("sched.conf")[0] != []


@pytest.mark.parametrize("config", ["broken.yaml", "missing.yaml"])
def test_a_note_names_the_root_that_does_not_load(folder: Path, config: str) -> None:
    _write(folder, {"a.cmd": "run q\n", "broken.yaml": "config: [\n"})
    assert config in _lint("a.cmd", config=config)[1][0]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", ["E109"]),
        ("sched in 5 pid\n" * (MAX_LINES + 1), ["E108"]),
        ("sched in 5 pid\n" * MAX_LINES, []),
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
def test_every_line_of_a_command_file_is_checked(folder: Path, text: str, codes: list[str]) -> None:
    _write(folder, {"a.cmd": text})
    assert _lint("a.cmd")[0] == codes


def test_a_mistake_in_a_command_file_is_reported_on_its_line(folder: Path) -> None:
    _write(folder, {"a.cmd": "# ünï\r\n\r\n  sched in 5 frobnicate\r\n"})
    (mistake,) = Linter().lint(Path("a.cmd"))
    assert mistake.place() == (3, 14, 3, 24)


@pytest.mark.parametrize("name", ["x.cmd", "x.conf", "appliance.yaml"])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"%s# \xff\n", "E105"),
        (b"%s# \r \n", "E106"),
        (b"\xef\xbb\xbf%s", "E106"),
        (b"%s# \0\n", "E106"),
        (b"%s" + b"#" * MAX_BYTES, "E108"),
    ],
    ids=["not UTF-8", "lone CR", "BOM", "NUL", "too large"],
)
def test_every_file_must_be_plain_text(folder: Path, name: str, data: bytes, code: str) -> None:
    _appliance(folder, PROGRAM)
    good = {"x.cmd": b"run p\n", "x.conf": b"x = 1\n", "appliance.yaml": b"config: sched.conf\n"}[name]
    (folder / name).write_bytes(data % good)
    assert _lint(name)[0] == [code]


@pytest.mark.parametrize("name", ["x.cmd", "x.conf", "appliance.yaml"])
def test_an_unreadable_file_is_reported(folder: Path, name: str) -> None:
    (folder / name).symlink_to("nowhere")
    assert _lint(name)[0] == ["E307"]


FINDINGS = {"x.conf": 'Banner = "a\nx = 1\nX = 2\n'}


@pytest.mark.parametrize(
    ("output_format", "lines"),
    [
        (
            "concise",
            [
                'x.conf:1:10: E103 unterminated string; add the closing `"`',
                "x.conf:3:1: W401 duplicate option `X`; remove one of them; the last one counts",
                "1 file checked: 1 error, 1 warning",
            ],
        ),
        (
            "github",
            [
                "::error file=x.conf,line=1,col=10,endLine=1,endColumn=11,title=E103::"
                'unterminated string; add the closing `"`',
                "::warning file=x.conf,line=3,col=1,endLine=3,endColumn=2,title=W401::"
                "duplicate option `X`; remove one of them; the last one counts",
            ],
        ),
    ],
)
def test_a_line_format_has_one_line_for_each_diagnostic(
    folder: Path, capsys: pytest.CaptureFixture[str], output_format: str, lines: list[str]
) -> None:
    _write(folder, FINDINGS)
    assert main(["lint", "--format", output_format, "x.conf"]) == 1
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("output_format", "shown"),
    [("json", "[]\n"), ("github", ""), ("concise", "1 file checked: 0 errors, 0 warnings\n")],
)
def test_a_format_for_programs_prints_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str], output_format: str, shown: str
) -> None:
    _appliance(folder, PROGRAM)
    assert main(["lint", "--format", output_format, "sched.conf"]) == 0
    assert capsys.readouterr() == (shown, "")


@pytest.mark.parametrize(("name", "path"), [("a%b,c:d.conf", "a%25b%2Cc%3Ad.conf"), ("ü.conf", "ü.conf")])
def test_the_name_of_a_file_is_escaped_for_github(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, path: str
) -> None:
    _write(folder, {name: "a = 100%;\n"})
    main(["lint", "--format", "github", name])
    assert f"file={path},line=1" in capsys.readouterr().out


def test_with_strict_a_warning_is_a_finding(folder: Path) -> None:
    _write(folder, {"x.conf": "x = 1\nx = 2\n", "y.conf": "x = 1\n", "z.conf": "x = 1 2\n"})
    status = {name: (main(["lint", name]), main(["lint", "--strict", name])) for name in ("x.conf", "y.conf", "z.conf")}
    assert status == {"x.conf": (0, 1), "y.conf": (0, 0), "z.conf": (1, 1)}


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_used_only_on_a_terminal_and_only_if_the_user_allows_it(
    folder: Path, environment: dict[str, str], coloured: bool
) -> None:
    _write(folder, FINDINGS)
    shown = on_a_terminal("lint", "x.conf", cwd=folder, **environment)
    assert b"error[E103]" in shown and (b"\x1b[" in shown) == coloured


@pytest.mark.slow
def test_nothing_from_a_file_controls_the_terminal(folder: Path) -> None:
    name = "x\x1b[2J\u202e.conf"
    (folder / name).write_text('oops "\u202e" = 1\n')
    (folder / "appliance.yaml").write_text("nonsense: 1\n")
    for form in ("full", "concise", "json", "github"):
        shown = on_a_terminal("lint", "--format", form, name, cwd=folder, NO_COLOR="1").decode()
        assert all(line.isprintable() for line in shown.splitlines()), shown
        assert "error" in shown or "E" in shown


def test_annotations_and_notes_escape_also_in_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "x\x1b[2J\u202e.conf"
    (folder / name).write_text("oops\n")
    (folder / "appliance.yaml").write_text("nonsense: 1\n")
    main(["lint", "--format", "github", name])
    captured = capsys.readouterr()
    assert captured.out.startswith("::error file=x\\u{1b}[2J\\u{202e}.conf,")
    assert captured.err.startswith("note: x\\u{1b}[2J\\u{202e}.conf: references are not checked")


def test_colour_is_not_used_in_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folder, FINDINGS)
    main(["lint", "x.conf"])
    assert "\x1b" not in capsys.readouterr().out


def _lint_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes, *arguments: str) -> int:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    return main(["lint", "--format", "concise", *arguments])


def test_stdin_without_a_name_is_a_stanza_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _lint_stdin(monkeypatch, b"x = ;\xff\n", "-") == 1
    assert capsys.readouterr().out.startswith("<stdin>:1:")
    assert not list(folder.iterdir())


def test_stdin_takes_the_place_of_the_file_that_it_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _appliance(folder, "include b.conf\nx = = 1\n", b_conf=PROGRAM, a_cmd="run q\n")
    good = b'include b.conf\njob "j" { every = 60 command = "run p" }\n'
    assert _lint_stdin(monkeypatch, good, "-", "--stdin-filename", "sched.conf") == 0
    assert _lint_stdin(monkeypatch, good.replace(b"run p", b"run q"), "-", "--stdin-filename", "./sched.conf") == 1
    assert "E301" in capsys.readouterr().out
    assert _lint_stdin(monkeypatch, b"run p x\n", "-", "--stdin-filename", "new.cmd") == 0
    assert "sched.conf has syntax errors" in capsys.readouterr().err
    _write(folder, {"sched.conf": "include b.conf\n"})
    assert _lint_stdin(monkeypatch, b"run p x\n", "-", "--stdin-filename", "new.cmd") == 1
    other = PROGRAM.replace('"p"', '"q"').encode()
    assert _lint_stdin(monkeypatch, other, "-", "a.cmd", "--stdin-filename", "b.conf") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 files checked: 0 errors, 0 warnings"


def test_options_may_stand_between_the_paths(folder: Path) -> None:
    _write(folder, {"x.conf": "x = 1\n", "y.conf": "x = 1\n"})
    assert main(["lint", "x.conf", "--strict", "y.conf"]) == 0


def test_a_name_for_stdin_requires_stdin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folder, {"x.conf": "x = 1\n"})
    assert main(["lint", "--stdin-filename", "y.conf", "x.conf"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


TWICE = "x = 1\nx = 2"


@pytest.mark.parametrize(
    ("stanzas", "codes"),
    [
        (f"{TWICE}  # lint: ignore[W401] meant so\n", []),
        ("x = 1\n# lint: ignore[W401]\nx = 2\n", []),
        ("x = 1\n\t #lint:ignore[ W401 ]\nx = 2\n", []),
        ('program "p" {\n  argv = ( "/no" "%{no}" )  # lint: ignore[W402, W403]\n}\n', []),
        ('program "p" {\n  argv = ( "/no" "%{no}" )  # lint: ignore[W402]\n}\n', ["W403"]),
        (f"# lint: ignore[W401]\n{TWICE}\n", ["W401", "W405"]),
        (f"{TWICE}\n# lint: ignore[W401]\n", ["W401", "W405"]),
        (f"{TWICE}  # lint: ignore[W401, W403]\n", ["W405"]),
        (f"{TWICE}  # lint: ignore[]\n", ["W401", "W405"]),
        (f"{TWICE}  # lint: ignore[w401]\n", ["W401", "W405"]),
        ("sched { y = 1 }  # lint: ignore[E202]\n", ["E202", "W405"]),
        ("x = 1  # lint: ignore[W401]\n", ["W405"]),
        pytest.param("x = 1\n# lint: ignore[W401]\nx = 2  # lint: ignore[W402]\n", ["W405"]),
        pytest.param('x = "# lint: ignore[W401]"\n', []),
    ],
)
def test_a_comment_ignores_the_warnings_that_it_names(folder: Path, stanzas: str, codes: list[str]) -> None:
    _appliance(folder, stanzas)
    assert sorted(_lint("sched.conf")[0]) == codes


def test_a_comment_in_a_command_file_applies_to_the_line_below_it(folder: Path) -> None:
    _appliance(folder, PROGRAM, a_cmd="# lint: ignore[W402]\nconfig get x\n", b_cmd="# lint: ignore[W402]\nrun p\n")
    assert [_lint(name)[0] for name in ("a.cmd", "b.cmd")] == [[], ["W405"]]


def test_an_ignore_comment_for_a_code_that_was_not_checked_is_not_reported_as_unused(folder: Path) -> None:
    _write(folder, {"a.cmd": "# lint: ignore[W402]\nconfig get x\n", "a.conf": "x = 1  # lint: ignore[W404, W403]\n"})
    assert _lint("a.cmd", "a.conf")[0] == []


def test_schema_prints_the_schema_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed == (Path(__file__).parent.parent.parent / "etc" / "appliance.schema.json").read_text()
    schema = json.loads(printed)
    assert schema["required"] == ["config"] and schema["additionalProperties"] is False
    for name in KEYS:
        *sections, key = name.split(".")
        place = schema
        for section in sections:
            place = place["properties"][section]
            assert place["additionalProperties"] is False
        assert place["properties"][key]["description"] == KEYS[name].help


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("x = 1\n" + "#" * (MAX_BYTES - 6), []),
        ("x = 1\n" + "#" * (MAX_BYTES - 5), ["E108"]),
        ("s {" * MAX_DEPTH + "}" * MAX_DEPTH, ["E201"]),
        ("s {" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1), ["E108"]),
        ("s {" * 50_000 + "}" * 50_000, ["E108"]),
        ("x = (" + " a" * (MAX_TOKENS - 3) + ")", ["E108"]),
    ],
    ids=["bytes", "a byte more", "depth", "a level more", "many levels more", "a token more"],
)
def test_a_file_over_a_limit_gives_one_diagnostic(folder: Path, text: str, codes: list[str]) -> None:
    (folder / "x.conf").write_text(text)
    assert list(dict.fromkeys(_lint("x.conf")[0])) == codes


PATHS = ["DIR", "DIR/../inner", "link", "DIR/sched.conf DIR", ". DIR", "link/sched.conf DIR"]


@pytest.mark.parametrize("paths", PATHS)
def test_a_mistake_is_shown_once_by_whatever_path_its_file_is_reached(
    folder: Path, paths: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The working directory is above the files, so the appliance file and its stanza file have relative names."""
    inner = folder / "inner"
    inner.mkdir()
    _appliance(inner, PROGRAM + 'job "a" { every = 1h  command = "run nothing" }\n')
    (folder / "link").symlink_to(inner)
    arguments = paths.replace("DIR", str(inner)).split()
    assert main(["lint", "--format", "concise", *arguments]) == 1
    mistake, count = capsys.readouterr().out.splitlines()
    assert "E301" in mistake
    assert Path(mistake.partition(":")[0]).samefile(inner / "sched.conf")
    assert count == "2 files checked: 1 error, 0 warnings"


def test_both_names_of_a_file_that_is_included_twice_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _appliance(folder, 'include "conf.d"\n', conf_d__a_conf="")
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / "a.conf").write_text('job "x" { every = 1h  command = pid }\n')
    (folder / "conf.d" / "b.conf").symlink_to("a.conf")
    assert main(["lint", "sched.conf"]) == 1
    shown = capsys.readouterr().out
    assert "conf.d/b.conf:1" in shown and "conf.d/a.conf:1" in shown
