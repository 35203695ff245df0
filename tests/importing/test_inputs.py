"""Which files a path stands for, and what a file looks like."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from schedappliance.importing.inputs import kind_of
from schedappliance.lint.linter import Linter
from tests.support.imports import FOLDER, importer

TAB = FOLDER / "crontabs"


def test_a_directory_stands_for_the_files_that_cron_reads(tmp_path: Path) -> None:
    for name in ("php", "geoip.local", ".placeholder", "php.dpkg-dist", "php~", "old.rpmsave", "#php#", ".#php"):
        (tmp_path / name).write_text("")
    (tmp_path / "directory").mkdir()
    assert [path.name for path in importer("cron.d").files_of(tmp_path)] == ["geoip.local", "php"]


def test_a_directory_stands_for_its_timers_and_at_jobs() -> None:
    timers = [path.name for path in importer("timer").files_of(FOLDER / "timers")]
    assert len(timers) == 30
    # A template is not possible: it must not be left out without a word.
    assert "pg_dump@.timer" in timers
    jobs = [path.name for path in importer("at").files_of(FOLDER / "atjobs")]
    assert jobs == ["a0001101c6a3f2", "b0001201c6a3f3"]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A directory with the crontab of `deploy`, and links to both."""
    directory = tmp_path / "var/spool/cron/crontabs"
    directory.mkdir(parents=True)
    (directory / "deploy").write_text("@daily a\n")
    (tmp_path / "link").symlink_to(directory)
    (tmp_path / "mine").symlink_to(directory / "deploy")
    return directory


@pytest.mark.parametrize(
    ("working_directory", "path"),
    [
        (".", "/SPOOL"),
        (".", "/SPOOL/deploy"),
        (".", "//SPOOL/deploy"),
        (".", "/SPOOL/../crontabs/deploy"),
        (".", "link"),
        (".", "link/deploy"),
        (".", "mine"),
        ("var/spool/cron", "crontabs"),
        ("var/spool/cron", "crontabs/deploy"),
        ("var/spool/cron/crontabs", "."),
        ("var/spool/cron/crontabs", "deploy"),
        ("var/spool/cron/crontabs", "./deploy"),
    ],
)
def test_a_crontab_in_the_spool_of_cron_belongs_to_the_user_of_its_name(
    working_directory: str, path: str, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a relative path or a link, the jobs of all users were jobs of the appliance."""
    monkeypatch.chdir(tmp_path / working_directory)
    (imported,) = importer("crontab").path(Path(path.replace("/SPOOL", str(spool))))
    assert imported.title.endswith("read as a crontab of deploy")
    assert imported.entries[0].jobs[0].options["user"] == "deploy"
    assert imported.notes == []


def test_the_crontabs_in_a_directory_belong_to_the_users_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "deploy").write_text("@daily a\n")
    (imported,) = importer("crontab").path(tmp_path)
    assert imported.entries[0].jobs[0].options["user"] == "deploy"
    (imported,) = importer("crontab", user="root").path(tmp_path)
    assert imported.entries[0].jobs[0].options["user"] == "root"
    (imported,) = importer("crontab").path(tmp_path / "deploy")
    assert "user" not in imported.entries[0].jobs[0].options


@pytest.mark.parametrize(
    ("working_directory", "path"), [("etc", "crontab"), (".", "etc/crontab"), (".", "link/crontab")]
)
def test_the_crontab_of_the_system_is_known_by_each_path_to_it(
    working_directory: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    # Its own name says where it is, also if it is a link.
    (tmp_path / "static").write_text("@daily nosuch a\n")
    (tmp_path / "etc/crontab").symlink_to(tmp_path / "static")
    (tmp_path / "link").symlink_to(tmp_path / "etc")
    monkeypatch.chdir(tmp_path / working_directory)
    (imported,) = importer("crontab").path(Path(path))
    assert imported.entries[0].jobs[0].options["user"] == "nosuch"


def test_lint_knows_a_file_of_cron_d_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cron.d").mkdir()
    monkeypatch.chdir(tmp_path / "cron.d")
    kind = kind_of(Path("php"), "@daily nosuch a\n")
    assert kind is not None
    assert kind.argument == "cron.d"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("crontab", "@daily root /bin/true\n0 0 * * * deploy x\n", "each command begins with the name of a user"),
        ("cron.d", "A=b c d e f /g\n0 2 * * * pg_dump shop\n@daily /bin/true\n", "the file has no user column"),
        ("cron.d", "@daily unknown a\n", None),
        ("cron.d", "@daily root a\n@daily /bin/true\n", None),
        ("crontab", "@daily root a\n@daily /bin/true\n", None),
    ],
)
def test_a_crontab_of_the_other_kind_is_rejected(kind: str, text: str, message: str | None, tmp_path: Path) -> None:
    (tmp_path / "tab").write_text(text)
    imported = importer(kind).file(tmp_path / "tab")
    assert [diagnostic.message for diagnostic in imported.diagnostics] == [message] * bool(message)
    assert bool(imported.entries) != bool(message)


@pytest.mark.parametrize(
    ("path", "name", "argument"),
    [
        (TAB / "etc/crontab", "a crontab", "crontab"),
        (TAB / "personal", "a crontab", "crontab"),
        (TAB / "cronie", "a crontab", "crontab"),
        (TAB / "etc/cron.d/php", "a crontab", "cron.d"),
        (TAB / "etc/cron.d/logcheck", "a crontab", "cron.d"),
        (TAB / "anacrontab", "an anacrontab", "crontab"),
        (FOLDER / "timers/fstrim.timer", "a unit of systemd", "timer"),
        (FOLDER / "timers/systemd-tmpfiles-clean.timer", "a unit of systemd", "timer"),
        (FOLDER / "atjobs/a0001101c6a3f2", "a job of at", "at"),
    ],
)
def test_a_file_of_another_program_is_recognized(path: Path, name: str, argument: str) -> None:
    text = path.read_text()
    kind = kind_of(path, text)
    assert kind is not None
    assert (kind.name, kind.argument) == (name, argument)
    assert text[kind.span.start : kind.span.end].strip() == text[kind.span.start : kind.span.end]


def test_a_crontab_with_a_user_column_is_recognized_elsewhere(tmp_path: Path) -> None:
    """`lint` named `import crontab`, which then named `import cron.d`."""
    path = tmp_path / "backup"
    path.write_text("MAILTO=root\n0 2 * * * root /usr/bin/backup\n@daily daemon /bin/tidy\n")
    (diagnostic,) = Linter().lint(path)
    assert diagnostic.help.startswith(f"`schedappliance import cron.d {path}` ")
    assert importer("cron.d").file(path).entries


def test_the_command_that_imports_a_file_is_one_for_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "it's a tab"
    path.write_text("@daily /bin/tidy\n")
    (diagnostic,) = Linter().lint(path)
    assert shlex.split(diagnostic.help.split("`")[1]) == ["schedappliance", "import", "crontab", str(path)]


def test_stanza_files_are_not_taken_for_files_of_other_programs() -> None:
    root = FOLDER.parent.parent
    files = [path for path in (*root.glob("etc/*"), *FOLDER.parent.glob("diagnostics/*.*")) if path.is_file()]
    assert len(files) > 50
    recognized = {path.name for path in files if kind_of(path, path.read_bytes().decode("utf-8", "replace"))}
    assert recognized == {"E118.conf"}


def test_a_service_is_imported_by_the_name_of_its_timer(tmp_path: Path) -> None:
    service = tmp_path / "x.service"
    service.write_text("[Service]\nExecStart=/bin/true\n")
    (diagnostic,) = Linter().lint(service)
    assert diagnostic.help.startswith(f"`schedappliance import timer {tmp_path / 'x.timer'}` ")


def test_a_drop_in_is_imported_by_the_name_of_its_timer(tmp_path: Path) -> None:
    drop_in = tmp_path / "x.timer.d" / "override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Timer]\nOnCalendar=\nOnCalendar=daily\n")
    (diagnostic,) = Linter().lint(drop_in)
    assert diagnostic.help.startswith(f"`schedappliance import timer {tmp_path / 'x.timer'}` ")
    (entry,) = importer("timer").file(drop_in).entries
    assert entry.failure == "only a timer has times; name the timer; its service and its drop-ins are imported with it"


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "SHELL=/bin/sh\n", "* * * *\n", "[Section]\nA=1\n"])
def test_other_texts_are_not_recognized(text: str) -> None:
    assert kind_of(Path("x"), text) is None
