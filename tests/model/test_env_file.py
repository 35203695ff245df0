"""Environment files: who may own them, and which lines mean what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.model.env_file import MAX_ENV_FILE, UnusableEnvFile, read_env_file
from schedappliance.model.loading import load
from tests.support.memory_files import ROOT, diagnostics_of, held

SECRET = "geheim"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "secrets.env"
    file.touch(0o600)
    return file


def why(path: Path | str) -> str:
    with pytest.raises(UnusableEnvFile) as unusable:
        read_env_file(str(path))
    assert SECRET not in str(unusable.value)
    return str(unusable.value)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  A = b c  ", "b c"),
        ("A=", ""),
        ("A=b#c;d $HOME %{x}", "b#c;d $HOME %{x}"),
        ("A=b=c", "b=c"),
        ("A='b \\ \" '", 'b \\ " '),
        ('A="b \\"c\\" \\\\ \\$ \\` \\n \'"', 'b "c" \\ $ ` \\n \''),
        ("A=b\r", "b"),
        ("A=\u00a0b\u00a0", "\u00a0b\u00a0"),
        ("A=\ufeffb", "\ufeffb"),
        ("A=\u00e4\u20ac", "\u00e4\u20ac"),
        ("A=old\nA=new", "new"),
    ],
)
def test_a_line_sets_a_variable(path: Path, line: str, value: str) -> None:
    path.write_text(f"# comment\n; comment\n\n{line}\n")
    assert read_env_file(str(path)) == {"A": value}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (SECRET, "missing `NAME=`"),
        (f"={SECRET}", "missing `NAME=`"),
        (f"export A={SECRET}", "missing `NAME=`"),
        (f"1A={SECRET}", "invalid variable name"),
        (f"SCHED_JOB_ID={SECRET}", "invalid variable name"),
        (f"\ufeffB={SECRET}", "unexpected byte order mark (U+FEFF); save the file as UTF-8 without one"),
        (f"\ufeff# {SECRET}", "unexpected byte order mark"),
        (f"\ufeff{SECRET}", "unexpected byte order mark"),
        (f"A='{SECRET}", "single quotes must end with the line"),
        ("A='", "single quotes must end with the line"),
        (f"A='{SECRET}' b", "single quotes must end with the line"),
        (f'A="{SECRET}', "double quotes must end with the line"),
        (f'A="{SECRET}" # b', "double quotes must end with the line"),
        (f'A="{SECRET}\\"', "double quotes must end with the line"),
        (f"A={SECRET}\\", "must be in quotes"),
        (f'A={SECRET}"b"', "must be in quotes"),
        (f"A={SECRET}\0", "NUL byte"),
        (f"A=b\rB={SECRET}", "carriage return"),
    ],
)
def test_a_wrong_line_is_reported_with_its_number_and_without_its_value(path: Path, line: str, reason: str) -> None:
    path.write_text(f"A=b\n{line}\n", newline="\n")
    assert why(path).startswith(f"env_file {path}:2: ") and reason in why(path)


def test_text_that_is_not_utf_8_is_rejected(path: Path) -> None:
    path.write_bytes(b"A=\xff\n")
    assert why(path) == f"env_file {path}:1: invalid UTF-8"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_is_open_to_others_is_rejected(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert f"is open to others than its owner (mode {mode & 0o077:03o}): use `chmod 600`" in why(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_rejected(path: Path) -> None:
    os.chown(path, 65534, 65534)
    assert "belongs to user 65534, not to root or the appliance" in why(path)


def test_what_is_no_regular_file_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "not a regular file" in why(tmp_path / "fifo")
    assert "Is a directory" in why(tmp_path)
    assert "No such file or directory" in why(tmp_path / "missing")


def test_a_file_that_is_too_large_is_rejected(path: Path) -> None:
    path.write_text("A=" + "x" * MAX_ENV_FILE)
    assert "is larger than 1024 KiB" in why(path)


def test_the_linter_warns_of_a_file_at_its_place_once(path: Path) -> None:
    path.write_text(SECRET)
    text = f'defaults {{ env_file = "{path}" }}\nprogram "p" {{ argv = ( "/bin/true" ) }}\njob "j" {{ at = 1 argv = ( "/bin/true" ) }}'
    (doubt,) = diagnostics_of(text)
    assert (doubt.code, doubt.place()[0]) == ("W422", 1)
    assert SECRET not in doubt.message


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ('env_file = "relative"', "E203"),
        ('pass_env = ( "A-B" )', "E208"),
        ('pass_env = ( "SCHED_X" )', "E208"),
        ("pass_env = A", "E203"),
        ('stdin = ( "a" )', "E203"),
        ('stdin = "%{"', "E208"),
        (f'stdin = "{"x" * (1024 * 1024 + 1)}"', "E204"),
    ],
)
def test_a_wrong_value_is_reported(option: str, code: str) -> None:
    (mistake,) = load(ROOT, held({"sched.conf": f'program "p" {{ argv = ( "/bin/true" ) {option} }}'})).diagnostics
    assert mistake.code == code


def test_an_option_in_stdin_must_be_declared() -> None:
    text = 'program "p" { argv = ( "/bin/true" ) stdin = "a %{b} %%{c}" }'
    (doubt,) = diagnostics_of(text)
    assert (doubt.code, doubt.message) == ("W402", "program `p` uses option `b`, which is not declared")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
@pytest.mark.parametrize("where", ["the file", "its directory", "a link to a link"])
def test_a_symbolic_link_of_another_user_is_not_followed(tmp_path: Path, where: str) -> None:
    """The user of a program, who owns a directory on the way, could choose the secrets of another program."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    file = secrets / "other.env"
    file.write_text(f"A={SECRET}\n")
    file.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(secrets if where == "its directory" else file)
    path = link / "other.env" if where == "its directory" else link
    if where == "a link to a link":
        path = tmp_path / "first"
        path.symlink_to("link")
    assert read_env_file(str(path)) == {"A": SECRET}
    os.chown(link, 65534, 65534, follow_symlinks=False)
    assert why(path) == f"cannot read env_file `{path}`: its symbolic link `link` belongs to user 65534"


def test_links_that_lead_to_each_other_are_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "Too many levels of symbolic links" in why(tmp_path / "a")
    (tmp_path / "root").symlink_to("/")
    assert "Is a directory" in why(tmp_path / "root")
