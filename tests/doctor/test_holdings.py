"""Which appliance a process serves, by its command line, its variables and its directory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from schedappliance.client.places import VARIABLE
from schedappliance.doctor.observe import serves


@pytest.mark.parametrize(
    ("words", "variable", "answer"),
    [
        ("serve --config etc/appliance.yaml", "", True),
        ("serve --config=etc/appliance.yaml", "", True),
        ("serve --config etc/../etc/appliance.yaml", "other.yaml", True),
        ("serve --config other.yaml", "etc/appliance.yaml", False),
        ("serve --conf other.yaml --c etc/appliance.yaml", "", True),
        ("serve --co=other.yaml", "", False),
        ("serve", "etc/appliance.yaml", True),
        ("serve", "other.yaml", False),
        ("serve --web", "", True),
        ("doctor", "etc/appliance.yaml", None),
    ],
)
def test_a_process_shows_which_appliance_file_it_was_started_with(
    words: str, variable: str, answer: bool | None, tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "appliance.yaml").touch()
    process = subprocess.Popen(
        ["/bin/sh", "-c", "echo; read end", "/usr/bin/schedappliance", *words.split()],
        cwd=tmp_path,
        env={VARIABLE: variable},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.readline()
    assert serves(process.pid, tmp_path / "etc" / "appliance.yaml") is answer
    process.communicate()
    assert serves(process.pid, tmp_path / "etc" / "appliance.yaml") is None, "it is gone"
