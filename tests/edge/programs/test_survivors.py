"""What /proc tells of groups: who still lives in one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from schedappliance.edge.programs.survivors import in_group, serves
from tests.support.daemon import eventually


def test_the_living_of_a_group_are_found_and_its_zombies_are_not() -> None:
    script = "sleep 60 & echo $!; wait"
    leader = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert leader.stdout
        child = int(leader.stdout.readline())
        assert sorted(in_group(leader.pid)) == sorted([leader.pid, child])
        leader.kill()
        eventually(lambda: in_group(leader.pid) == [child], "the zombie")
        assert os.getpgid(leader.pid) == leader.pid, "a zombie has its group"
    finally:
        os.killpg(leader.pid, signal.SIGKILL)
        leader.communicate()
    eventually(lambda: in_group(leader.pid) == [], "the end of the group")


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
def test_the_configuration_of_a_process_stands_in_its_command_line(
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
