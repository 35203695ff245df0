"""`schedappliance web token`: tokens are printed once, and only their hashes are kept."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schedappliance.cli.main import main
from schedappliance.web.access.tokens import TokenFile, hash_of
from tests.support.size_limits import size_limit

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "appliance.yaml"
    path.write_text("config: sched.conf\n")
    return str(path)


def _add(config: str, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["web", "token", "add", name, "--user", "nobody", "--config", config]) == 0
    printed = capsys.readouterr()
    assert "not shown again" in printed.err
    return printed.out.strip()


def test_a_token_is_printed_once_and_only_its_hash_is_kept(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    token = _add(config, "deploy", capsys)
    file = Path(config).with_name("web-tokens")
    assert token.startswith("sched_") and len(token) > 40
    assert token not in file.read_text() and hash_of(token) in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert TokenFile(file, pytest.fail).user_of(token) == "nobody"
    assert main(["web", "token", "list", "--config", config]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "USER", "ADDED"] and row.split()[:2] == ["deploy", "nobody"]
    assert token not in row and hash_of(token) not in row


def test_the_appliance_file_may_be_named_before_the_action(config: str) -> None:
    assert main(["web", "--config", config, "token", "add", "one", "--user", "nobody"]) == 0
    assert Path(config).with_name("web-tokens").exists()


def test_a_removed_token_is_unknown_at_once(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    token, other = (_add(config, name, capsys) for name in ("one", "two"))
    tokens = TokenFile(Path(config).with_name("web-tokens"), pytest.fail)
    assert (tokens.user_of(token), tokens.user_of(other)) == ("nobody", "nobody")
    assert main(["web", "token", "remove", "one", "--config", config]) == 0
    assert (tokens.user_of(token), tokens.user_of(other)) == (None, "nobody")


def test_a_name_is_used_once(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    _add(config, "one", capsys)
    assert main(["web", "token", "add", "one", "--user", "nobody", "--config", config]) == 1
    assert capsys.readouterr().err == "error: there is a token `one` already\n"
    assert main(["web", "token", "remove", "two", "--config", config]) == 1
    assert capsys.readouterr().err == "error: no token `two`\n"


@pytest.mark.parametrize(("descriptor", "why"), [("full", "No space left on device"), ("abandoned", "nobody reads it")])
def test_a_token_that_nobody_has_seen_is_not_added(config: str, descriptor: str, why: str) -> None:
    reader, pipe = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-m", "schedappliance", "web", "token", "add", "one", "--user", "nobody", "--config", config],
        stdout=full if descriptor == "full" else pipe,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(full)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (1, f"error: cannot print the token: {why}; it was not added\n")
    assert sorted(path.name for path in Path(config).parent.iterdir()) == ["appliance.yaml"]


@pytest.mark.parametrize(
    ("name", "user", "why"),
    [
        ("a b", "nobody", "invalid name `a b`"),
        ("-a", "nobody", "NAME"),
        ("a", "root", "error: the page gives no commands on behalf of root"),
        ("a", "nobody-at-all", "error: no user `nobody-at-all`"),
    ],
)
def test_a_wrong_name_or_user_is_refused(
    config: str, capsys: pytest.CaptureFixture[str], name: str, user: str, why: str
) -> None:
    try:
        status = main(["web", "token", "add", name, "--user", user, "--config", config])
    except SystemExit as end:
        assert isinstance(end.code, int)
        status = end.code
    assert status == 2 and why in capsys.readouterr().err
    assert not Path(config).with_name("web-tokens").exists()


def test_a_file_that_others_may_write_holds_no_tokens(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    token = _add(config, "one", capsys)
    file = Path(config).with_name("web-tokens")
    file.chmod(0o664)
    warnings: list[str] = []
    assert TokenFile(file, warnings.append).user_of(token) is None
    assert warnings == [f"others may write to {file}, and so add tokens; chmod go-w {file}"]
    assert main(["web", "token", "list", "--config", config]) == 78


def _actions_are_refused(config: str, capsys: pytest.CaptureFixture[str], why: str) -> None:
    for action in (["list"], ["add", "two", "--user", "nobody"], ["remove", "one"]):
        assert main(["web", "token", *action, "--config", config]) == 78
        out, err = capsys.readouterr()
        assert (out, err) == ("", f"error: {why}\n"), action


@as_root
def test_a_file_of_another_user_holds_no_tokens(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    token = _add(config, "one", capsys)
    file = Path(config).with_name("web-tokens")
    warnings: list[str] = []
    tokens = TokenFile(file, warnings.append)
    assert tokens.user_of(token) == "nobody"
    os.chown(file, NOBODY, NOBODY)
    assert tokens.user_of(token) is None
    (why,) = warnings
    assert why == (
        f"{file} belongs to user {NOBODY}, who can add tokens; it must belong to root or the user of the page; "
        f"check its lines, then chown root {file}"
    )
    _actions_are_refused(config, capsys, why)
    os.chown(file, 0, 0)
    assert tokens.user_of(token) == "nobody"


@as_root
def test_the_owner_of_the_directory_may_be_the_user_of_the_page(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token = _add(config, "one", capsys)
    file = Path(config).with_name("web-tokens")
    for path in (file, file.parent):
        os.chown(path, NOBODY, NOBODY)
    assert main(["web", "token", "list", "--config", config]) == 0
    warnings: list[str] = []
    assert TokenFile(file, warnings.append).user_of(token) is None, "but it is not that of this page"
    assert len(warnings) == 1


@as_root
def test_a_link_of_another_user_leads_to_no_tokens(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = _add(config, "one", capsys)
    file = Path(config).with_name("web-tokens")
    file.rename(tmp_path / "real")
    file.symlink_to("real")
    assert TokenFile(file, pytest.fail).user_of(token) == "nobody"
    os.chown(file, NOBODY, NOBODY, follow_symlinks=False)
    warnings: list[str] = []
    assert TokenFile(file, warnings.append).user_of(token) is None
    assert f"its symbolic link `web-tokens` belongs to user {NOBODY}" in warnings[0]


def test_a_directory_in_which_others_replace_files_holds_no_tokens(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token = _add(config, "one", capsys)
    file = Path(config).with_name("web-tokens")
    warnings: list[str] = []
    tokens = TokenFile(file, warnings.append)
    file.parent.chmod(0o1777)
    assert tokens.user_of(token) == "nobody", "in a sticky directory nobody replaces files of others"
    file.parent.chmod(0o777)
    assert tokens.user_of(token) is None
    (why,) = warnings
    assert why == f"others may write to {file.parent}, and so bring removed tokens back; chmod o-w {file.parent}"
    _actions_are_refused(config, capsys, why)


def test_without_room_the_tokens_stay_as_they_are(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    _add(config, "one", capsys)
    file = Path(config).with_name("web-tokens")
    before = file.read_text()
    with size_limit(10):
        assert main(["web", "token", "add", "two", "--user", "nobody", "--config", config]) == 78
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: cannot write {file}: File too large; ")
    assert file.read_text() == before
    assert not file.with_name("web-tokens.new").exists(), "a draft stayed behind"


def test_a_damaged_line_is_named(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config).with_name("web-tokens").write_text("# a comment\none nobody\n")
    assert main(["web", "token", "list", "--config", config]) == 78
    assert "web-tokens:2: not a token" in capsys.readouterr().err


def test_the_tokens_may_be_elsewhere(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config).write_text("config: sched.conf\nweb: { tokens: other/tokens }\n")
    (tmp_path / "other").mkdir()
    _add(config, "one", capsys)
    assert (tmp_path / "other/tokens").exists()


@pytest.mark.parametrize("name", ["x" * 65, "-x", "a b"])
def test_the_rule_for_a_name_is_told(config: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["web", "token", "add", "--user", "nobody", "--config", config, "--", name])
    assert "first a letter or digit, at most 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda one: one.write_bytes(b"\xff"), "it is not UTF-8"),
    ],
)
def test_what_is_no_file_of_tokens_is_told_once(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    make(tmp_path / "tokens")
    warnings: list[str] = []
    assert not TokenFile(tmp_path / "tokens", warnings.append).has_tokens()
    assert [one.partition(";")[0] for one in warnings] == [f"cannot read the tokens in {tmp_path / 'tokens'}: {why}"]
