"""The command line as a whole: its help, what it imports, and how it ends."""

from __future__ import annotations

import errno
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from schedappliance.cli.errors import FAILED
from schedappliance.cli.main import SHORT, SUBCOMMANDS, main
from tests.support.waiting import PATIENCE_SECONDS

# What every console command pays for; `--endpoint` needs no appliance file.
CONSOLE_MODULES = {
    "schedappliance",
    "schedappliance.cli",
    "schedappliance.cli.arguments",
    "schedappliance.cli.appliance_file",
    "schedappliance.cli.console",
    "schedappliance.cli.errors",
    "schedappliance.cli.main",
    "schedappliance.cli.streams",
    "schedappliance.client",
    "schedappliance.client.console",
    "schedappliance.client.errors",
    "schedappliance.client.places",
    "schedappliance.client.wire",
    "schedappliance.edge",
    "schedappliance.edge.console",
    "schedappliance.edge.console.unix_socket",
    "schedappliance.visible",
}
EXPENSIVE = {"dataclasses", "inspect", "difflib", "lark", "sqlite3", "subprocess", "watchdog", "yaml"}


def help_text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    overview = help_text(capsys)
    for name, summary in SUBCOMMANDS.items():
        assert re.search(rf"^    {name}\s+{re.escape(summary)}$", overview, re.MULTILINE)
        module = "console" if name in SHORT else name
        assert callable(importlib.import_module(f"schedappliance.cli.{module}").run)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_help_of_a_subcommand_fits_a_terminal_and_ends_with_its_exit_statuses(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "88")
    text = help_text(capsys, name)
    assert text.startswith(f"usage: schedappliance {name}")
    assert max(map(len, text.splitlines())) <= 86
    statuses = [line.split()[0] for line in text.partition("\nexit status:\n")[2].splitlines()]
    assert (statuses[0], "2" in statuses) == ("0", True)


@pytest.mark.parametrize("words", [[], ["nonsense"], ["--", "lint"], ["--nonsense"], ["console", "--nonsense"]])
def test_wrong_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: schedappliance ")


@pytest.mark.parametrize(
    "words",
    [
        "lint ",
        "lint --config ",
        "doctor --config ",
        "serve --config ",
        "console --endpoint ",
        "metrics --to ",
        "store backup ",
        "store check ",
        "init ",
        "import crontab ",
        "submit --spool ",
        "submit ",
    ],
)
def test_an_empty_path_is_no_directory(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that is not set made `lint ""` check the working directory."""
    with pytest.raises(SystemExit) as ended:
        main(words.split(" "))
    assert ended.value.code == 2
    assert "the path is empty" in capsys.readouterr().err


def test_an_empty_code_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", ""]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["lint", "--help"], ["explain"]])
def test_an_output_that_cannot_be_written_is_status_1(words: list[str]) -> None:
    """Python itself flushes stdout too late: it reports a bug, and ends with status 120."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "schedappliance", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: No space left on device\n")


def test_a_failing_disk_is_no_failing_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error", "/srv/a")

    monkeypatch.setattr("schedappliance.cli.explain.run", fail)
    assert main(["explain"]) == FAILED
    assert capsys.readouterr().err == "error: Input/output error: /srv/a\n"


def test_a_console_command_imports_little(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom schedappliance.cli.main import main\nstatus = main(sys.argv[1:])\n"
        "print(status, *sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, "console", "--endpoint", str(tmp_path / "none.sock"), "pid"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    error, listed = done.stderr.splitlines()
    status, *modules = listed.split()
    assert (status, error.startswith("error: no appliance answers at ")) == ("69", True)
    assert {name for name in modules if name.startswith("schedappliance")} == CONSOLE_MODULES
    assert not EXPENSIVE & set(modules)


def test_an_interrupt_within_an_import_ends_with_the_same_status(tmp_path: Path) -> None:
    """Python would end itself by the signal: dataclasses call exec() while a module of them is imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'schedappliance.cli.explain':\n"
        "            exec('raise KeyboardInterrupt')\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "schedappliance", "explain"],
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_daemon_does_not_load_openssl() -> None:
    """It took 3.5 MB, and only the digest of the stanza files used it."""
    script = (
        "import sys\nfrom schedappliance.cli.main import main\n"
        "main(['serve', '--config', '/nowhere/appliance.yaml'])\n"
        "import hashlib\nprint(hashlib.sha256().name, sys.modules['_hashlib'], 'schedappliance.boot.appliance' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "sha256 None True\n"
