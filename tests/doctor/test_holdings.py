"""Which appliance a process serves, by its command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from schedappliance.doctor.observe import serves


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--config", "etc/appliance.yaml"], True),
        (["--config=etc/appliance.yaml"], True),
        (["--config", "etc/../etc/appliance.yaml"], True),
        (["--config", "other.yaml"], False),
        ([], None),
    ],
)
def test_the_command_line_of_a_process_names_its_configuration(
    words: list[str], answer: bool | None, tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    script = "echo; read end"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "serve", *words], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    assert serves(process.pid, tmp_path / "etc" / "appliance.yaml") is answer
    process.communicate()
    assert serves(process.pid, tmp_path / "etc" / "appliance.yaml") is None, "it is gone"
