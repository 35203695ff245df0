"""A shared spool with real users of its group: no member speaks for another, stops another, or gets another's result.

Rule: the members have no role; they only may drop files.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from schedappliance.engine.intake import MOST_OPEN
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

VICTIM = pwd.getpwnam("nobody")
GROUP = grp.getgrgid(VICTIM.pw_gid).gr_name
MEMBERS = [user for user in pwd.getpwall() if user.pw_gid == VICTIM.pw_gid and user != VICTIM]
OUTSIDER = pwd.getpwnam("daemon")
LINE = "sched in 900 config set victim 1\n"


@pytest.fixture
def shared(public_path: Path) -> Iterator[Daemon]:
    """An appliance of root with a spool for the group of `nobody`."""
    appliance = APPLIANCE_FILE.replace("../var/spool", f"../var/spool, group: {GROUP}")
    daemon = Daemon(public_path, appliance=appliance)
    yield daemon.start()
    daemon.end()


@pytest.fixture
def attacker() -> pwd.struct_passwd:
    """Another member of the group."""
    if not MEMBERS:
        pytest.skip(f"no second user has the primary group {GROUP}")
    return MEMBERS[0]


def spool(daemon: Daemon) -> Path:
    return daemon.var / "spool"


def does(user: pwd.struct_passwd, script: str, *words: Path | str, umask: int = 0o027) -> None:
    """Runs a shell script as this user."""
    subprocess.run(
        ["sh", "-ec", script, "sh", *map(str, words)],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        umask=umask,
        cwd="/",
        check=True,
        timeout=PATIENCE_SECONDS,
    )


def results(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """The results of the drops of this name, the oldest first."""
    rows = daemon.rows("SELECT result FROM drops WHERE name = ? ORDER BY mark", name)
    return [json.loads(text) for (text,) in rows]


def result(daemon: Daemon, name: str) -> dict[str, Any]:
    eventually(lambda: results(daemon, name) or daemon.ended(), f"the result of {name}")
    daemon.assert_healthy()
    return results(daemon, name)[0]


def reason(daemon: Daemon, name: str) -> str:
    """Why a drop was rejected."""
    rejection = result(daemon, name)
    assert (rejection["accepted"], rejection["results"]) == (False, [])
    (diagnostic,) = rejection["diagnostics"]
    assert diagnostic["help"]
    return str(diagnostic["message"])


def test_a_member_drops_through_tmp_and_directly(shared: Daemon) -> None:
    through = 'printf "%s" "$2" > "$1/tmp/a"; mv "$1/tmp/a" "$1/new/through.cmd"'
    does(VICTIM, through, spool(shared), LINE)
    does(VICTIM, 'printf "%s" "$2" > "$1/new/directly.cmd"', spool(shared), LINE)
    for name in ("through.cmd", "directly.cmd"):
        assert result(shared, name)["accepted"], result(shared, name)
        assert result(shared, name)["user"] == VICTIM.pw_name


def test_a_file_that_other_members_can_write_is_rejected(shared: Daemon, attacker: pwd.struct_passwd) -> None:
    """With umask 002, another member appends a line that would run as the victim."""
    does(VICTIM, 'printf "%s" "$2" > "$1/tmp/victims"', spool(shared), LINE, umask=0o002)
    does(attacker, 'echo "sched in 900 config set attacker 1" >> "$1/tmp/victims"', spool(shared))
    does(VICTIM, 'mv "$1/tmp/victims" "$1/new/victims.cmd"', spool(shared))
    assert reason(shared, "victims.cmd") == "the file is writable by its group or by everybody"
    assert shared.data("sched list") == []


def test_a_file_that_another_member_moves_into_the_spool_is_rejected(
    shared: Daemon, attacker: pwd.struct_passwd
) -> None:
    """The attacker may write the directory, but not the file of the victim in it."""
    elsewhere = shared.root / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    for number, user in enumerate((VICTIM, OUTSIDER)):
        path = elsewhere / f"{number}"
        path.write_text(LINE)
        path.chmod(0o644)
        os.chown(path, user.pw_uid, OUTSIDER.pw_gid)
        does(attacker, 'mv "$2" "$1/new/$3.cmd"', spool(shared), path, str(number))
    assert reason(shared, "0.cmd") == "the file does not belong to the spool's group"
    assert "is not in the spool's group" in reason(shared, "1.cmd")
    assert shared.data("sched list") == []


def test_files_that_a_member_keeps_open_do_not_delay_others(shared: Daemon, attacker: pwd.struct_passwd) -> None:
    """Hundreds of them, which the attacker opened just before they were claimed."""
    shared.kill()
    work = spool(shared) / "work"
    with ExitStack() as stack:
        for number in range(1, 521):
            path = work / f"{number:012d}~{number}.cmd"
            path.write_text(LINE)
            os.chown(path, attacker.pw_uid, VICTIM.pw_gid)
            stack.enter_context(path.open("a"))
        shared.start()
        does(VICTIM, 'printf "%s" "$2" > "$1/tmp/a"; mv "$1/tmp/a" "$1/new/victims.cmd"', spool(shared), LINE)
        assert result(shared, "victims.cmd")["accepted"]
        assert reason(shared, "520.cmd") == "a process has the file open for writing"
        eventually(lambda: shared.data("summary")["spool_waiting"] == MOST_OPEN, "the files that are waited for")
        assert shared.say("spool why 1.cmd").endswith("it is being written\n")
    assert result(shared, "1.cmd")["accepted"]


def test_a_file_in_tmp_can_be_moved_only_by_its_owner(shared: Daemon, attacker: pwd.struct_passwd) -> None:
    does(VICTIM, 'printf "%s" "$2" > "$1/tmp/victims"', spool(shared), LINE)
    with pytest.raises(subprocess.CalledProcessError):
        does(attacker, 'mv "$1/tmp/victims" "$1/new/victims.cmd"', spool(shared))
    assert (spool(shared) / "tmp" / "victims").exists()
