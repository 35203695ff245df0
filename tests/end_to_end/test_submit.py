"""`submit` and the shell functions of docs/spool.md with a real appliance: many at once, interrupted, rejected."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, begin, command
from tests.support.documents import shell_functions
from tests.support.waiting import PATIENCE_SECONDS, eventually

WRITERS = 16


def spool(daemon: Daemon) -> Path:
    return daemon.var / "spool"


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def arguments(daemon: Daemon, *words: str | Path) -> list[str]:
    return ["submit", "--config", str(daemon.etc / "appliance.yaml"), *map(str, words)]


def submit(daemon: Daemon, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    return command(*arguments(daemon, *words), **how)


def file(daemon: Daemon, text: str, folder: str = "files") -> Path:
    path = daemon.root / folder / "work.cmd"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def made(daemon: Daemon) -> Daemon:
    """A stopped appliance that has run once, so that its spool exists."""
    daemon.start()
    assert daemon.stop() == 0
    return daemon


def test_a_file_is_queued_under_its_name_and_done(daemon: Daemon) -> None:
    daemon.start()
    done = submit(daemon, file(daemon, "sched in 900 version\n"))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"work-\d{13}-[0-9a-f]{12}\.cmd\n", done.stdout)
    result = daemon.result(done.stdout.strip(), "done")
    assert result["results"][0]["output"] == "example.com-000000001"


def test_the_answer_is_what_the_console_would_print(daemon: Daemon) -> None:
    daemon.start()
    text = (
        "# work\nsched in 900 version\nrun hello\nconfig set message_expiration 1\njson config get message_expiration\n"
    )
    done = submit(daemon, "--wait", "-", input=text)
    assert (done.returncode, done.stderr) == (0, "")
    console = daemon.ask("json config get message_expiration")
    assert done.stdout == f"example.com-000000001\nexample.com-000000002/1\nMessage_Expiration = 1\n{console}"
    assert names(spool(daemon) / "tmp") == names(spool(daemon) / "new") == []


def test_mistakes_are_shown_as_lint_shows_them(daemon: Daemon) -> None:
    """At the places of the file that was given, not of the queued one."""
    daemon.start()
    path = file(daemon, "sched in 900 version\n\tsched in 5 run helo\nsched in soon version\n")
    done = submit(daemon, "--wait", path)
    assert (done.returncode, done.stdout) == (1, "")
    linted = command("lint", "--config", str(daemon.etc / "appliance.yaml"), str(path))
    assert done.stderr == linted.stdout.rpartition("\n\n")[0] + "\n"
    assert f"--> {path}:2:17" in done.stderr
    assert daemon.data("sched list") == []


def test_a_mistake_that_only_the_store_reveals_is_reported_at_its_place(daemon: Daemon) -> None:
    daemon.start()
    path = file(daemon, "config get message_expiration\nsched delete example.com-000000099\n")
    done = submit(daemon, "--wait", "--format", "json", path)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (1, "", 1)
    (row,) = json.loads(done.stdout)["diagnostics"]
    assert (row["file"], row["line"], row["code"]) == (str(path), 2, "E501")


def test_files_wait_while_the_appliance_is_down_and_are_done_in_order(daemon: Daemon) -> None:
    made(daemon)
    queued = [submit(daemon, file(daemon, f"config set order{n} 1\nsched in 900 version\n")) for n in range(3)]
    assert [done.returncode for done in queued] == [0, 0, 0]
    late = submit(daemon, "--wait", "--timeout", "0", file(daemon, "sched in 900 version\n"))
    assert (late.returncode, late.stdout) == (75, "")
    assert len(names(spool(daemon) / "new")) == 4
    waiting = begin(*arguments(daemon, "--wait", file(daemon, "sched list\n")))
    eventually(lambda: len(names(spool(daemon) / "new")) == 5, "the one that waits")
    daemon.start()
    out, err = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, err) == (0, "")
    assert out.count("example.com-") == 4
    ids = [daemon.result(done.stdout.strip(), "done")["results"][1]["output"] for done in queued]
    assert ids == [f"example.com-00000000{n}" for n in (1, 2, 3)]
    assert late.stderr.startswith("error: no result yet; it stays queued under work-")
    name = late.stderr.split()[-1]
    assert daemon.result(name, "done")["results"][0]["output"] == "example.com-000000004"


@pytest.mark.parametrize("how", ["submit", "shell", "both"])
def test_files_of_one_name_submitted_at_once_do_not_collide(daemon: Daemon, how: str) -> None:
    """Sixteen writers submit files of one name: nothing is overwritten, and each gets its own answer."""
    daemon.start()
    script = f'{shell_functions()}\nname=$(printf "%s\\n" "$2" | drop "$1" work) && answer "$1" "$name"'
    writers = []
    for number in range(WRITERS):
        line = f"sched in 900 config set writer {number}"
        if how == "shell" or (how == "both" and number % 2):
            writers.append(begin("-c", script, "sh", str(spool(daemon)), line, python=["sh"]))
        else:
            path = file(daemon, f"{line}\n", f"files{number}")
            words = arguments(daemon, "--wait", "--format", "json", path)
            writers.append(begin(*words))
    heard = []
    for writer in writers:
        out, err = writer.communicate(timeout=PATIENCE_SECONDS)
        assert (writer.returncode, err) == (0, "")
        (result,) = json.loads(out)["results"]
        heard.append(result["output"])
    commands = {row["id"]: row["command"] for row in daemon.data("sched list")}
    assert [commands[job_id] for job_id in heard] == [f"config set writer {number}" for number in range(WRITERS)]
    assert len(commands) == WRITERS
    eventually(lambda: names(spool(daemon) / "work") == [], "an empty work/")
    assert names(spool(daemon) / "tmp") == names(spool(daemon) / "new") == []
    assert Counter(Path(name).suffix for name in names(spool(daemon) / "done")) == {".cmd": WRITERS, ".result": WRITERS}


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_shell_functions_report_mistakes(daemon: Daemon, shell: str) -> None:
    daemon.start()
    script = f'{shell_functions()}\nname=$(printf "%s\\n" "$2" | drop "$1" work) || exit 9\nanswer "$1" "$name"'
    wrong = begin("-c", script, shell, str(spool(daemon)), "run helo", python=[shell])
    out, _ = wrong.communicate(timeout=PATIENCE_SECONDS)
    assert (wrong.returncode, json.loads(out)["diagnostics"][0]["code"]) == (1, "E301")
    nowhere = begin("-c", script, shell, str(daemon.root / "nowhere"), "run hello", python=[shell])
    out, err = nowhere.communicate(timeout=PATIENCE_SECONDS)
    assert (nowhere.returncode, out) == (9, "")
    assert "No such file or directory" in err


def test_ctrl_c_ends_the_wait_but_not_the_work(daemon: Daemon) -> None:
    made(daemon)
    waiting = begin(*arguments(daemon, "--wait", file(daemon, "sched list\n")))
    (name,) = eventually(lambda: names(spool(daemon) / "new"), "the file")
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, out) == (130, "")
    assert err.splitlines()[-1] == f"interrupted: it stays queued under {name}"
    assert names(spool(daemon) / "tmp") == []
    daemon.start()
    assert daemon.result(name, "done")["accepted"] is True


def test_submit_says_why_nothing_can_be_queued(daemon: Daemon) -> None:
    path = file(daemon, "sched list\n")
    for words in (["--spool", str(daemon.root)], []):
        done = submit(daemon, *words, path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1), done.stderr
        assert done.stderr.startswith("error: no spool at ")
    (daemon.etc / "appliance.yaml").write_text("config: sched.conf\n")
    done = submit(daemon, path)
    assert done.returncode == 78
    assert done.stderr.endswith("appliance.yaml has no `spool.path`; give --spool DIR\n")
    (daemon.etc / "appliance.yaml").write_text("confg: sched.conf\n")
    done = submit(daemon, path)
    assert (done.returncode, "error[E209]" in done.stderr) == (78, True)


@pytest.mark.parametrize(
    "words",
    [
        ["--timeout", "5", "a.cmd"],
        ["--wait", "--timeout", "soon", "a.cmd"],
        ["--name", "a b", "a.cmd"],
        ["--format", "yaml", "a.cmd"],
        ["a.cmd", "b.cmd"],
        ["nowhere.cmd"],
        [],
    ],
)
def test_wrong_usage_queues_nothing(daemon: Daemon, words: list[str]) -> None:
    for folder in ("tmp", "new", "done", "failed"):
        (spool(daemon) / folder).mkdir(parents=True)
    (daemon.root / "a.cmd").write_text("sched list\n")
    done = submit(daemon, *words, cwd=daemon.root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert names(spool(daemon) / "new") == []


def test_a_full_disk_is_reported_and_leaves_no_file(daemon: Daemon) -> None:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    small = daemon.root / "small"
    small.mkdir()
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        for folder in ("tmp", "new", "done", "failed"):
            (small / folder).mkdir()
        path = file(daemon, f"sched list # {'x' * 200_000}\n")
        done = submit(daemon, "--spool", small, path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"error: cannot write to {small}/tmp: No space left on device; nothing was queued; try again\n"
        )
        assert names(small / "tmp") == names(small / "new") == []
        assert submit(daemon, "--spool", small, file(daemon, "sched list\n")).returncode == 0
    finally:
        subprocess.run(["umount", "-l", small], check=True)


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP", "EMLINK"])
@pytest.mark.parametrize("renameat2", [True, False], ids=["renameat2", "no renameat2"])
def test_a_file_is_queued_on_a_file_system_without_hard_links(daemon: Daemon, error: str, renameat2: bool) -> None:
    """As on FAT, and on some network and FUSE file systems."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    for folder in ("tmp", "new"):
        (spool(daemon) / folder).mkdir(parents=True)
    trace = daemon.root / "trace"
    python = [strace, "-f", "-o", str(trace), "-e", f"inject=?link,?linkat:error={error}"]
    python += [] if renameat2 else ["-e", "inject=renameat2:error=EINVAL"]
    python += [sys.executable, "-m", "schedappliance"]
    path = file(daemon, "sched list\n")
    done = command("submit", "--spool", str(spool(daemon)), str(path), python=python)
    assert (done.returncode, done.stderr) == (0, "")
    assert error in trace.read_text()
    assert names(spool(daemon) / "new") == [done.stdout.strip()]
    assert names(spool(daemon) / "tmp") == []


def test_submit_without_wait_loads_no_parser(daemon: Daemon) -> None:
    """Rule of the command line: a one-shot command imports only what it needs."""
    for folder in ("tmp", "new"):
        (spool(daemon) / folder).mkdir(parents=True)
    script = (
        "import sys\nfrom schedappliance.cli.main import main\nstatus = main(sys.argv[1:])\n"
        "print(status, *sys.modules, file=sys.stderr)\n"
    )
    for words in (["--spool", str(spool(daemon))], ["--config", str(daemon.etc / "appliance.yaml")]):
        done = command("submit", *words, str(file(daemon, "sched list\n")), python=[sys.executable, "-c", script])
        status, *modules = done.stderr.split()
        assert status == "0"
        unneeded = {"lark", "watchdog", "sqlite3", "subprocess", "socket", "json", "schedappliance.lint.linter"}
        assert not unneeded & set(modules)
        assert ("yaml" in modules) == (words[0] == "--config")
    assert len(names(spool(daemon) / "new")) == 2


def test_the_runs_of_a_drop_are_awaited_and_the_worst_status_counts(daemon: Daemon) -> None:
    daemon.conf.write_text(
        daemon.conf.read_text() + 'program "end" { argv = ( "/bin/sh" "-c" "exit $1" "end" ) args = ( "\\d+" ) }\n'
    )
    daemon.start()
    lines = ("#id: a-token", "run end 3", "# a comment", "sched in 1d run hello", "json run end 7", "run end 0")
    work = file(daemon, "".join(f"{line}\r\n" for line in lines))
    done = submit(daemon, "--wait-runs", work)
    assert (done.returncode, done.stdout.count("\n")) == (7, 4)
    assert submit(daemon, "--wait-runs", work).stdout == done.stdout
    assert re.findall(r"^note: run \S+/1: failed: exit status (\d)$", done.stderr, re.MULTILINE) == ["3", "7"]
    done = submit(daemon, "--wait-runs", "--format", "json", file(daemon, "run hello\n"))
    (end,) = json.loads(done.stdout)["runs"]
    assert (done.returncode, end["state"], end["exit_status"]) == (0, "succeeded", 0)
    slow = submit(daemon, "--wait-runs", "--timeout", "1", file(daemon, "run sleep 600\n"))
    assert slow.returncode == 75 and "has not ended in time; it goes on" in slow.stderr
    daemon.say(f"sched stop {slow.stdout.strip()}")
    assert submit(daemon, "--wait-runs", file(daemon, "run helo\n")).returncode == 1
