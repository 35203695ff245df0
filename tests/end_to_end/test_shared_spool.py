"""A shared spool with real users of its group: no member speaks for another, stops another, or gets another's result.

Rule: the members have no role; they only may drop files.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from schedappliance.cli.main import main
from schedappliance.engine.intake import MOST_OPEN
from tests.support.daemon import APPLIANCE_FILE, Daemon, command
from tests.support.documents import shell_functions
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


def test_doctor_finds_a_spool_or_a_socket_that_is_not_as_the_appliance_made_it(
    public_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    appliance = APPLIANCE_FILE.replace("../var/spool", f"../var/spool, group: {GROUP}")
    daemon = Daemon(public_path, appliance=appliance)
    daemon.is_copy = False  # doctor knows a daemon by its command

    def findings() -> list[str]:
        main(["doctor", "--config", str(daemon.etc / "appliance.yaml")])
        return [line.partition(";")[0] for line in capsys.readouterr().out.splitlines()[:-1]]

    try:
        assert findings() == []
        daemon.start()
        assert findings() == []
        (spool(daemon) / "new").chmod(0o2770)
        os.chown(spool(daemon) / "done", -1, OUTSIDER.pw_gid)
        spool(daemon).chmod(0o700)
        daemon.socket_path.chmod(0o600)
        os.chown(daemon.socket_path, OUTSIDER.pw_uid, -1)
        places = [Path(line.partition(": ")[0]).name + line.partition(":")[2][:5] for line in findings()]
        assert sorted(places) == [
            "console.sock W607",
            "console.sock W609",
            "done W609",
            "new W609",
            "spool W609",
        ]
    finally:
        daemon.end()


@pytest.fixture
def attacker() -> pwd.struct_passwd:
    """Another member of the group."""
    if not MEMBERS:
        pytest.skip(f"no second user has the primary group {GROUP}")
    return MEMBERS[0]


def spool(daemon: Daemon) -> Path:
    return daemon.var / "spool"


def as_user(user: pwd.struct_passwd) -> dict[str, Any]:
    """The arguments of `subprocess.run` for a program of this user."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def does(user: pwd.struct_passwd, script: str, *words: Path | str, umask: int = 0o027) -> None:
    """Runs a shell script as this user."""
    arguments = ["sh", "-ec", script, "sh", *map(str, words)]
    subprocess.run(arguments, umask=umask, check=True, timeout=PATIENCE_SECONDS, **as_user(user))


def submits(user: pwd.struct_passwd, daemon: Daemon, call: str) -> Any:
    """What a function of `submit` returns to this user, who may be unable to load modules of Python."""
    script = (
        "import encodings.ascii, json, os, sys; from pathlib import Path; from schedappliance.clock import SystemClock\n"
        "from schedappliance.client.drop import drop, wait_for_result\n"
        f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})\n"
        f"spool, clock = Path(sys.argv[1]), SystemClock()\nprint(json.dumps({call}))\n"
    )
    done = command(str(spool(daemon)), python=[sys.executable, "-c", script])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
    # `>>` could also create the file, which the kernel may forbid for a file of somebody else (fs.protected_regular).
    append = 'dd of="$1/tmp/victims" oflag=append conv=notrunc,nocreat status=none'
    does(attacker, f'echo "sched in 900 config set attacker 1" | {append}', spool(shared))
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


def test_two_members_with_one_name_get_their_own_results(shared: Daemon, attacker: pwd.struct_passwd) -> None:
    drop = 'printf "%s" "$2" > "$1/tmp/$(id -u)"; mv "$1/tmp/$(id -u)" "$1/new/one.cmd"'
    does(VICTIM, drop, spool(shared), LINE)
    result(shared, "one.cmd")
    does(attacker, drop, spool(shared), "nonsense\n")
    eventually(lambda: len(results(shared, "one.cmd")) == 2, "both results")
    for user, folder in ((VICTIM, "done"), (attacker, "failed")):
        path = spool(shared) / folder / f"{user.pw_uid}~one.result"
        eventually(path.exists, str(path))
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (user.pw_uid, 0o600)
        does(user, f'{shell_functions()}\nanswer "$1" one || [ "$2" = failed ]', spool(shared), folder)
    with pytest.raises(subprocess.CalledProcessError):
        does(attacker, 'ls "$1/done"', spool(shared))
    assert shared.say("spool retry one") == "one.cmd is retried\n"


def test_submit_waits_for_the_result_of_its_own_user(shared: Daemon, attacker: pwd.struct_passwd) -> None:
    """The attacker reads the name of a waiting drop and takes it too."""
    name = submits(VICTIM, shared, f'drop(spool, "work", {LINE.encode()!r})')
    result(shared, name)
    does(attacker, 'echo nonsense > "$1/tmp/$2"; mv "$1/tmp/$2" "$1/new/$2"', spool(shared), name)
    eventually(lambda: len(results(shared, name)) == 2, "the result of the attacker")
    eventually(lambda: os.listdir(spool(shared) / "work") == [], "an empty work/")
    for user, accepted in ((VICTIM, True), (attacker, False)):
        answer = submits(user, shared, f'wait_for_result(spool, "{name}", clock, 0)')
        assert (answer["accepted"], answer["user"]) == (accepted, user.pw_name)


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
