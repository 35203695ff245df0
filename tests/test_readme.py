"""The README is run: its first command starts the appliance in a copy of the checkout, its examples give what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.model.appliance_file import KEYS
from schedappliance.model.commands import FORMS
from schedappliance.model.options import FILES_ONLY, STANZAS
from tests.support.daemon import eventually

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text()
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", ".*_cache", ".hypothesis", "__pycache__", "dist", "build")

# The install from the network, then every example.
pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """The commands of the console blocks, each with the output that must follow."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout in a directory whose name holds a space and is longer than a socket's may be."""
    place = tmp_path_factory.mktemp("readme") / f"a directory {'x' * 100}" / "schedappliance"
    shutil.copytree(CHECKOUT, place, ignore=LEFT_OUT)
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    log = place / "log"
    with log.open("wb") as out:
        command = blocks("sh")[0]
        serving = subprocess.Popen(
            ["bash", "-c", command], cwd=place, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    try:
        eventually(lambda: " is ready" in log.read_text() or serving.poll() is not None, "the first command")
        assert serving.poll() is None, log.read_text()
        yield place
    finally:
        if serving.poll() is None:
            os.killpg(serving.pid, signal.SIGTERM)
            serving.wait(30)


def pattern(output: str) -> re.Pattern[str]:
    """What the README shows, with times and the user's name left open, and `…` for any rows."""
    lines = []
    for line in output.splitlines(keepends=True):
        if line == "…\n":
            lines.append("(?:.*\n)*")
        else:
            text = re.escape(line)
            text = re.sub(r"\b1[0-9]{9}\b", "[0-9]{10}", text)
            text = re.sub(r"\\-1[0-9]{12}\\-[0-9a-f]{12}", "-[0-9]{13}-[0-9a-f]{12}", text)
            text = re.sub(r"\b20\d\d\\-\d\d\\-\d\dT\d\d:\d\d:\d\dZ", "[0-9TZ:-]{20}", text)
            lines.append(text.replace('"USER"', '"[^"]*"').replace("`USER`", "`[^`]*`"))
    return re.compile("".join(lines))


def test_every_example_gives_what_the_readme_says(checkout: Path) -> None:
    for command, output in examples():
        if command.startswith("cat ") and command.endswith(".conf"):
            (checkout / command.removeprefix("cat ")).write_text(output)
        done = subprocess.run(
            ["bash", "-c", command], cwd=checkout, capture_output=True, text=True, timeout=60, check=False
        )
        assert pattern(output).fullmatch(done.stdout), f"$ {command}\n{done.stdout}\n{done.stderr}\nwanted:\n{output}"


def test_what_only_files_set_is_told_completely() -> None:
    (told,) = re.findall(r"What is executed\n[^.]*trusted to the files alone\.", README)
    assert set(re.findall(r"`(\w+)`", told)) == FILES_ONLY | {"Authorization"}


def test_the_shell_lines_drop_and_hear_the_answer(checkout: Path) -> None:
    (functions,) = [block for block in blocks("sh") if "mktemp" in block]
    for shell in ("sh", "bash"):
        for line, status in (("run hello", 0), ("run helo", 1)):
            script = f"{functions}\nname=$(echo '{line}' | drop var/spool work) && answer var/spool \"$name\""
            done = subprocess.run(
                [shell, "-c", script], cwd=checkout, capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode, done.stderr) == (status, "")
            assert json.loads(done.stdout)["accepted"] is (status == 0)


def test_the_readme_names_every_option_key_and_command() -> None:
    inner = {name: spec for outer in STANZAS.values() for name, spec in outer.stanzas.items()}
    for name, spec in {**STANZAS, **inner}.items():
        assert f"`{name}" in README.lower()
        for option in spec.options:
            assert f"`{option}`" in README, f"{name}.{option}"
    for key in KEYS:
        assert f"`{key.split('.')[-1]}`" in README or f": {key.split('.')[-1]}`" in README, key
    for form in FORMS.values():
        assert form.usage in README
