"""The diagnostics of a loaded configuration: left-over copies are read with a warning, and one mistake is one error."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.model.loading import load

LEFT_OVER = [
    *("z.conf.bak", "z.conf~", "z.conf.bak~", "z.conf.~1~", "z.conf.bak.2", "z.conf.orig", "z.conf.rej", "z.conf.old"),
    *("z.conf.disabled", "z.conf.DISABLED", "z.conf.rpmsave", "z.conf.rpmnew", "z.conf.dpkg-old", "z.conf.dpkg-dist"),
    *("z.conf.ucf-old", "z.conf.pacnew", "z.conf.swp", "z.conf.swo", "z.conf.save", "#z.conf#", "z.bak"),
]
IN_USE = [
    "z.conf",
    "z",
    "10-z",
    "z.inc",
    "bak",
    "old.conf",
    "z.bak.conf",
    "z~.conf",
    "disabled",
    "swap",
    "#z",
    "z.sw",
    "z.1",
]


@pytest.mark.parametrize("name", LEFT_OVER + IN_USE)
def test_a_left_over_copy_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / name).write_text('job "z" { every = 60  command = "version" }\n')
    (tmp_path / "sched.conf").write_text("include jobs.d\n")
    loaded = load(tmp_path / "sched.conf")
    assert "z" in loaded.configuration.jobs, "it is read in any case"
    codes = [(d.code, Path(d.source.name).name) for d in loaded.diagnostics]
    assert codes == ([("W409", name)] if name in LEFT_OVER else [])


def test_a_copy_that_is_included_by_name_is_no_left_over(tmp_path: Path) -> None:
    (tmp_path / "z.bak").write_text("x = 1\n")
    (tmp_path / "sched.conf").write_text("include z.bak\n")
    assert load(tmp_path / "sched.conf").diagnostics == []


def test_a_comment_in_the_first_line_ignores_it(tmp_path: Path) -> None:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / "z.old").write_text("x = 1  # lint: ignore[W409] its name is an abbreviation\n")
    (tmp_path / "sched.conf").write_text("include jobs.d\n")
    assert load(tmp_path / "sched.conf").shown() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('job "a" { every = 60 command = "version" console "x" }', "E202"),
        ('job "a" { every: 60 command = "version" }', "E202"),
        ("9x 5", "E208"),
        ("timeout_ 5", "E115"),
    ],
)
def test_an_unknown_name_without_an_equals_sign_is_one_error(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "sched.conf").write_text(text + "\n")
    assert [d.code for d in load(tmp_path / "sched.conf").diagnostics] == [code]


def test_an_expression_without_quotes_hides_no_mistake_of_other_jobs(tmp_path: Path) -> None:
    (tmp_path / "sched.conf").write_text(
        'job "a" { cron = 30 2 * * *  argv = ( "/bin/true" ) }\n'
        'job "b" { every = 60  command = "run a" }\n'
        'job "c" { calendar = "*-02-30 07:00"  zone = UTC  command = "run a" }\n'
        'job "d" { cron = "30 2 * * *"  zone = "Europe/Nowhere"  command = "run a" }\n'
    )
    loaded = load(tmp_path / "sched.conf")
    assert [(d.code, d.place()[0]) for d in loaded.diagnostics] == [("E212", 1), ("E214", 3), ("E213", 4)]
