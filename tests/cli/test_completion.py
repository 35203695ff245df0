"""`schedappliance completion`: the script in a real bash, and what it knows of the subcommands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from schedappliance.cli.errors import OK
from schedappliance.cli.main import SUBCOMMANDS, main
from tests.support.completion import completed


@pytest.fixture(scope="module")
def script() -> str:
    return subprocess.run(
        [sys.executable, "-m", "schedappliance", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ti", ["timeline"]),
        ("s", ["serve", "status", "stop", "submit", "store", "schema"]),
        ("runs --f", ["--failed"]),
        ("runs --config etc/appliance.yaml --f", ["--failed"]),
        ("lint --format ", ["full", "concise", "json", "github"]),
        ("lint --format j", ["json"]),
        ("store b", ["backup"]),
        # What follows an action belongs to it.
        ("store backup b", []),
        ("store --c", []),
        ("store backup --c", ["--config"]),
        ("import crontab cr", []),
        ("import crontab --z", ["--zone"]),
        ("import --zone UTC at a", []),
        ("completion bash ", []),
        ("notify ", ["mail", "webhook", "ping"]),
        ("notify mail ", []),
        ("notify webhook --as ", ["json", "slack", "ntfy"]),
        ("web t", ["token"]),
        ("web token ", ["add", "list", "remove"]),
        ("web token add ", []),
        ("web token add --u", ["--user"]),
        ("web token list --u", []),
        ("completion ", ["bash", "zsh"]),
        ("why --en", ["--endpoint"]),
        # The shell completes files.
        ("lint ", []),
        ("logs --config ", []),
        ("nonsense ", []),
        # No appliance runs.
        ("why ", []),
        ("run --wait ni", []),
    ],
)
def test_bash_completes_subcommands_options_and_choices(script: str, words: str, offered: list[str]) -> None:
    assert completed(script, words) == offered


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_option_of_the_help_is_offered(script: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE)
    assert {*options} <= {*completed(script, f"{name} -")}


def test_the_script_for_zsh_uses_that_for_bash(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == OK
    assert capsys.readouterr().out == f"autoload -U +X bashcompinit && bashcompinit\n{script}"


@pytest.mark.parametrize("arguments", [[], ["fish"], ["bash", "--after", "sched "]])
def test_one_shell_must_be_named(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["completion", *arguments])
    assert end.value.code == 2


def test_the_words_of_a_console_line_need_no_appliance(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", "--endpoint", str(tmp_path / "socket"), "--after", "config "]) == OK
    assert "showrecurse" in capsys.readouterr().out.split()
    assert main(["completion", "--endpoint", str(tmp_path / "socket"), "--after", "sched show "]) == OK
    assert capsys.readouterr().out.strip() == ""
