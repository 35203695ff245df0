"""`init` writes files that are accepted at once, and replaces none."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from schedappliance.cli import init
from schedappliance.cli.main import main
from tests.support.size_limits import size_limit

SAMPLES = Path(__file__).parents[2] / "etc"


@pytest.mark.parametrize("words", [[], ["--example"]])
def test_the_linter_accepts_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", *words]) == 0
    assert capsys.readouterr().out == (
        "wrote etc/appliance.yaml\nwrote etc/sched.conf\nstart it: schedappliance serve --config etc/appliance.yaml\n"
    )
    assert main(["lint", "etc"]) == 0
    assert "2 files checked: 0 errors, 0 warnings\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["b c", "it's", "-x", "$HOME", "a;b"])
def test_the_command_that_starts_it_is_one_for_a_shell(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--", name]) == 0
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("start it: ")
    show_words = f"set -- {command}; printf '%s\\n' \"$@\""
    words = subprocess.run(["sh", "-c", show_words], capture_output=True, text=True, check=True).stdout.splitlines()
    assert words[:-1] == ["schedappliance", "serve", "--config"]
    assert Path(words[-1]).samefile(Path(name, "etc/appliance.yaml"))
    assert not words[-1].startswith("-"), "it would be an option"


def test_only_the_store_is_not_a_comment(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path)]) == 0
    written, sample = (tmp_path / "etc/sched.conf").read_text(), (SAMPLES / "sched.conf").read_text()
    active = [line for line in written.splitlines() if line and not line.startswith("#")]
    assert active == ['sched { backing_store = "../var/sched.db"  zone = "local" }']
    assert re.sub("(?m)^# ", "", written) == re.sub("(?m)^# ", "", sample)
    assert main(["init", "--example", str(tmp_path / "example")]) == 0
    assert (tmp_path / "example/etc/sched.conf").read_text() == sample
    assert "node" not in (tmp_path / "etc/appliance.yaml").read_text(), "the node is the name of the host"


def test_no_file_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/sched.conf").write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/etc/sched.conf exists already; nothing was written\n"
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["sched.conf"]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").write_text("a file")
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot write {tmp_path}/etc")


def test_a_link_that_leads_nowhere_is_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/sched.conf").symlink_to("nowhere")
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/etc/sched.conf exists already; nothing was written\n"
    assert os.listdir(tmp_path / "etc") == ["sched.conf"]


@pytest.mark.parametrize("name", ["appliance.yaml", "sched.conf"])
def test_without_room_for_both_files_there_is_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It named `None`, and left a part of a file, so that the next `init` refused."""
    assert main(["init", str(tmp_path / "other")]) == 0
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "other/etc").iterdir()}
    assert sizes["appliance.yaml"] < sizes["sched.conf"]
    capsys.readouterr()
    with size_limit(sizes[name] - 1):
        assert main(["init", str(tmp_path)]) == 1
    why = "File too large; nothing was written"
    assert capsys.readouterr() == ("", f"error: cannot write {tmp_path}/etc/{name}: {why}\n")
    assert os.listdir(tmp_path / "etc") == []
    assert main(["init", str(tmp_path)]) == 0


def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "etc/sched.conf"
    link = os.link

    def late(draft: Path, path: Path) -> None:
        mine.write_text("mine")
        link(draft, path)

    monkeypatch.setattr(os, "link", late)
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"error: cannot write {mine}: File exists; nothing was written\n")
    assert (os.listdir(mine.parent), mine.read_text()) == (["sched.conf"], "mine")


def test_the_system_has_the_paths_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "SYSTEM", tmp_path / "schedappliance")
    assert main(["init", "--system"]) == 0
    texts = "".join(path.read_text() for path in (tmp_path / "schedappliance").iterdir())
    assert "../" not in texts
    assert all(path in texts for path in init.OF_SYSTEM.values())
    with pytest.raises(SystemExit):
        main(["init", "--system", "here"])
