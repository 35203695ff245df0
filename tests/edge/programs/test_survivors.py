"""Process groups: which members are alive."""

from __future__ import annotations

import os
import signal
import subprocess

from schedappliance.edge.programs.survivors import in_group
from tests.support.waiting import eventually


def test_in_group_lists_living_members_without_zombies() -> None:
    script = "sleep 3600 & echo $!; wait"
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
