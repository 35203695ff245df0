"""`schedappliance preview`: its files, its store, its limits and its exit statuses."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schedappliance.cli.main import main
from schedappliance.store.tables import open_store
from tests.support.core import NODE
from tests.support.store_files import file_states

JOB = 'program "p" { argv = ( "/bin/echo" ) }\njob "j" { every = 10 command = "run p" }\n'
STORE = 'sched { backing_store = "sched.db" }\n'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "appliance.yaml").write_text(f"node: {NODE}\nconfig: sched.conf\n")
    (tmp_path / "sched.conf").write_text(STORE + JOB)
    return tmp_path


def preview(files: Path, *arguments: str) -> int:
    return main(["preview", "--config", str(files / "appliance.yaml"), *arguments])


def rows(files: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert preview(files, "--format", "json", *arguments) == 0
    return list(json.loads(capsys.readouterr().out))


def test_without_a_store_the_declared_jobs_are_shown_and_no_store_is_created(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file_states(files)
    shown = rows(files, capsys, "--for", "1m")
    assert [row["due_ms"] % 10_000 for row in shown] == [0] * 6
    assert {(row["id"], row["declared"], row["command"], row["mark"]) for row in shown} == {
        (f"{NODE}-000000001", "j", "run p", "run")
    }
    assert file_states(files) == before
    preview(files, "--for", "1m")
    assert "there is no store yet" in capsys.readouterr().err


@pytest.mark.parametrize("directory", ["", "nowhere/"])
def test_without_a_backing_store_the_files_alone_decide(
    files: Path, capsys: pytest.CaptureFixture[str], directory: str
) -> None:
    """Also if the directory of the store is missing."""
    head = STORE.replace("sched.db", f"{directory}sched.db") if directory else ""
    (files / "sched.conf").write_text(head + JOB)
    assert len(rows(files, capsys, "--for", "1m")) == 6
    preview(files, "--for", "1")
    assert ("memory" in capsys.readouterr().err) is not bool(directory)
    assert sorted(path.name for path in files.iterdir()) == ["appliance.yaml", "sched.conf"]


@pytest.mark.parametrize("output_format", ["table", "json"])
def test_a_limit_ends_the_preview(files: Path, capsys: pytest.CaptureFixture[str], output_format: str) -> None:
    """Also of a span that takes hours to walk through."""
    preview(files, "--for", "3000d", "--limit", "7", "--format", output_format)
    out, err = capsys.readouterr()
    assert out.count("run p") == 7
    assert "further rows follow from 20" in (out if output_format == "table" else err)
    preview(files, "--for", "1m", "--limit", "6", "--format", output_format)
    out, err = capsys.readouterr()
    assert (out.count("run p"), "further rows" in out + err) == (6, False)
    preview(files, "--for", "10m", "--limit", "0", "--format", output_format)
    out, err = capsys.readouterr()
    assert (out.count("run p"), "further rows" in out + err) == (60, False)


def test_the_table_ends_with_a_summary(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sched.conf").write_text(STORE + JOB + 'job "far" { at = 9000000000 command = pid }\n')
    preview(files, "--for", "1m")
    header, *shown, summary = capsys.readouterr().out.splitlines()
    assert header.split() == ["DUE", "TIME", "JOB", "MARK", "COMMAND"]
    assert [line.split()[1:] for line in shown] == [["j", "run", "run", "p"]] * 6
    assert summary.endswith(": 6 runs; 2 jobs, 1 due later")


@pytest.mark.parametrize(("zone", "offset"), [('zone = "Asia/Tokyo"', "+09:00"), ("", "+05:30")])
def test_a_table_shows_all_instants_in_one_zone(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, zone: str, offset: str
) -> None:
    """In that of `sched`, or else of the machine. JSON is in UTC."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    own = 'job "k" { cron = "0 * * * *" zone = UTC command = "run p" }\n'
    (files / "sched.conf").write_text(STORE.replace("}", f"{zone} }}") + JOB.replace("= 10", "= 1h") + own)
    preview(files, "--for", "2h")
    _, *shown, summary = capsys.readouterr().out.splitlines()
    assert [line.split()[0][19:] for line in shown] == [offset] * 4
    assert [line.split()[1:4] for line in shown if "in UTC" not in line] == [["j", "run", "run"]] * 2
    assert [line.partition("in UTC")[0].split()[1:3] for line in shown if "in UTC" in line] == [["k", "run,"]] * 2
    first, last = summary.split(": ")[0].split(" to ")
    assert (first[19:], last[19:]) == (offset, offset)
    assert all(row["due"].endswith("Z") for row in rows(files, capsys, "--for", "2h"))


def test_an_interval_with_options_has_no_zone_of_its_own(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stanzas = STORE.replace("}", 'zone = "Asia/Tokyo" }')
    (files / "sched.conf").write_text(stanzas + JOB.replace("= 10", "= 1h until = 2030-01-01T00:00:00Z"))
    preview(files, "--for", "2h")
    assert " in UTC" not in capsys.readouterr().out


def test_a_store_alone_shows_the_files_that_were_accepted_last(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the files on the disk are now, and wherever the store is."""
    store = open_store(files / "sched.db", NODE, "0123", 5)
    with store.transaction():
        store.settings.add_generation("old", 0, (("/etc/sched.conf", JOB.replace('"j"', '"old"')),))
        store.settings.add_generation("new", 0, (("/etc/sched.conf", 'include "j"\n'), ("/etc/j", JOB)))
    store.close()
    moved, before = files / "moved.db", (files / "sched.db").read_bytes()
    (files / "sched.db").rename(moved)
    (files / "sched.conf").write_text("broken {\n")
    assert main(["preview", "--store", str(moved), "--for", "1m", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert {(row["id"], row["declared"], row["mark"]) for row in json.loads(out)} == {(f"{NODE}-000000001", "j", "run")}
    assert "no appliance uses the store" in err
    assert moved.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "error"), [(None, "holds no stanza files"), ("x { }\n", "the stanza files in the store are rejected")]
)
def test_a_store_without_good_files_has_no_preview(
    files: Path, capsys: pytest.CaptureFixture[str], text: str | None, error: str
) -> None:
    store = open_store(files / "sched.db", NODE, "0123", 5)
    if text is not None:
        with store.transaction():
            store.settings.add_generation("new", 0, (("/etc/sched.conf", text),))
    store.close()
    assert main(["preview", "--store", str(files / "sched.db")]) == 78
    out, err = capsys.readouterr()
    assert (out, error in err) == ("", True)


def test_a_pattern_that_is_too_long_is_wrong_usage(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        preview(files, "--job", "[" * 401)
    assert end.value.code == 2
    assert "--job: the pattern has 401 characters; write at most 400" in capsys.readouterr().err


def test_the_rows_of_one_job_or_of_those_that_match(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["tidy-a", "tidy-b", "report", "r[e]port"]
    jobs = "".join(f'job "{name}" {{ every = 10 command = pid }}\n' for name in names)
    (files / "sched.conf").write_text(STORE + jobs)
    (first,) = rows(files, capsys, "--for", "10s", "--job", "tidy-a")
    words = {
        "report": {"report"},
        "tidy-*": {"tidy-a", "tidy-b"},
        first["id"]: {"tidy-a"},
        "*[bt]": {"tidy-b", "report", "r[e]port"},
        "r[e]port": {"r[e]port"},
    }
    for word, matches in words.items():
        assert {row["declared"] for row in rows(files, capsys, "--for", "1m", "--job", word)} == matches, word
    preview(files, "--for", "1m", "--job", "report", "--limit", "6")
    _, *shown, summary = capsys.readouterr().out.splitlines()
    assert (len(shown), summary.partition(": ")[2]) == (6, "6 runs")
    for word in ("tidy", "x*", f"{NODE}-000000009"):
        assert preview(files, "--job", word) == 2
        printed = capsys.readouterr()
        assert (printed.out, f"`{word}`" in printed.err) == ("", True)


def test_rows_that_are_not_shown_count_as_progress(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = 'job "often" { every = 1 command = pid }\njob "seldom" { every = 1000000 command = pid }\n'
    (files / "sched.conf").write_text(STORE + jobs)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    preview(files, "--for", "1h", "--job", "seldom", "--limit", "0")
    assert capsys.readouterr().err.count(" rows, up to ") == 3


def test_the_default_is_a_day_and_a_thousand_rows(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sched.conf").write_text(STORE + JOB.replace("every = 10", "every = 80"))
    preview(files)
    out = capsys.readouterr().out
    assert (out.count("run p"), "... further rows follow" in out) == (1000, True)


def test_mistakes_in_the_files_are_printed_as_lint_prints_them(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sched.conf").write_text(JOB.replace("run p", "run q"))
    assert preview(files) == 78
    printed = capsys.readouterr()
    assert (printed.out, printed.err.startswith("error[E301]")) == ("", True)
    main(["lint", "--config", str(files / "appliance.yaml"), str(files / "sched.conf")])
    linted, _, _ = capsys.readouterr().out.rpartition("\n1 file checked")
    assert printed.err.startswith(linted.partition("\n\n")[0])


@pytest.mark.parametrize("broken", ["appliance.yaml", "missing", "spool"])
def test_an_appliance_that_would_not_start_has_no_preview(
    files: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    config = files / "appliance.yaml"
    if broken == "missing":
        config.unlink()
    elif broken == "spool":
        config.write_text(config.read_text() + "spool: { path: spool }\n")
        (files / "sched.conf").write_text(JOB)
    else:
        config.write_text("nodes: a\n")
    assert preview(files) == 78
    out, err = capsys.readouterr()
    assert (out, "error[E" in err) == ("", True)


@pytest.mark.parametrize("how", ["text", "short", "foreign", "newer", "damaged", "directory"])
def test_a_store_that_the_appliance_cannot_use_is_an_error_and_keeps_its_bytes(
    files: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    path = files / "sched.db"
    if how == "text":
        path.write_text("this is no database\n" * 100)
    elif how == "short":
        path.write_text("short")
    elif how == "directory":
        path.mkdir()
    else:
        open_store(None if how == "foreign" else path, NODE, "0123", 5).close()
        with closing(sqlite3.connect(path)) as store:
            store.execute("CREATE TABLE t (a)" if how == "foreign" else "PRAGMA user_version = 99")
        if how == "damaged":
            path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * 8192)
    before = file_states(files) if how != "directory" else {}
    assert preview(files) == 78
    out, err = capsys.readouterr()
    assert (out, err.startswith("error: "), err.count("\n")) == ("", True, 1), err
    assert how == "directory" or file_states(files) == before


def test_an_empty_file_counts_as_a_new_store(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sched.db").touch()
    before = file_states(files)
    assert len(rows(files, capsys, "--for", "1m")) == 6
    assert file_states(files) == before


@pytest.mark.parametrize(
    "arguments", [("--for", "soon"), ("--for", "0"), ("--limit", "-1"), ("--format", "xml"), ("x",)]
)
def test_wrong_usage_is_status_2(files: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        preview(files, *arguments)
    assert (ended.value.code, capsys.readouterr().out) == (2, "")


def test_an_unused_store_is_previewed_as_if_the_appliance_started_now(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(files / "sched.db", NODE, "0123", 5)
    with store.transaction():
        store.settings.set_meta("last_wall_ms", 5)
    store.close()
    preview(files, "--for", "1m")
    assert "no appliance uses the store" in capsys.readouterr().err
