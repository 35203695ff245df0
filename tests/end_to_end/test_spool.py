"""The spool directory: every entry is done once or rejected with a result, and no entry blocks another."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from schedappliance.cli.main import main
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.file_changes import remove_tree
from tests.support.waiting import eventually


def spool(daemon: Daemon) -> Path:
    return daemon.var / "spool"


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_the_commands_of_a_file_are_carried_out_and_answered(daemon: Daemon) -> None:
    daemon.start()
    daemon.drop(
        "three.cmd", "# a comment\nsched in 900 version\n\nconfig set message_expiration 1\r\njson sched list\n"
    )
    result = daemon.result("three.cmd", "done")
    assert result["accepted"] is True
    assert result["user"] == "root" or os.getuid() != 0
    assert result["diagnostics"] == []
    assert result["results"][:2] == [
        {"line": 2, "output": "example.com-000000001"},
        {"line": 4, "output": "Message_Expiration = 1"},
    ]
    assert [row["id"] for row in result["results"][2]["data"]] == ["example.com-000000001"]
    eventually(lambda: names(spool(daemon) / "done") == ["three.cmd", "three.result"])
    assert daemon.say("config get message_expiration") == "Message_Expiration = 1\n"


def test_one_bad_line_rejects_the_whole_file(daemon: Daemon) -> None:
    daemon.start()
    daemon.drop("bad.cmd", "sched in 900 version\nsched in soon version\nrun hello\n")
    result = daemon.result("bad.cmd", "failed")
    assert (result["accepted"], result["results"]) == (False, [])
    (diagnostic,) = result["diagnostics"]
    assert (diagnostic["file"], diagnostic["line"], diagnostic["column"]) == ("bad.cmd", 2, 10)
    assert diagnostic["help"]
    daemon.drop("late.cmd", "config set a 1\nsched in 900 version\nsched delete example.com-000000099\n")
    (diagnostic,) = daemon.result("late.cmd", "failed")["diagnostics"]
    assert (diagnostic["line"], diagnostic["code"]) == (3, "E501")
    assert daemon.say("sched list").count("\n") == 1
    assert daemon.runs() == []
    assert daemon.say("config get a").startswith("Option 'a' is not set")
    assert daemon.say("sched in 900 version") == "example.com-000000001\n" or daemon.data("sched list")


REJECTED = [
    *("fifo", "link", "dangling", "binary", "latin", "empty", "blank", "large", "long"),
    *("bad_name.cmd~refused", "noending~refused", "-dash.cmd~refused"),
]


def test_an_entry_that_is_not_a_command_file_is_rejected_with_a_result_and_never_blocks(daemon: Daemon) -> None:
    daemon.start()
    new = spool(daemon) / "new"
    outside = daemon.root / "outside.cmd"
    outside.write_text("config set stolen 1\n")
    os.mkfifo(new / "fifo.cmd")
    (new / "link.cmd").symlink_to(outside)
    (new / "dangling.cmd").symlink_to(daemon.root / "nowhere")
    daemon.drop("binary.cmd", "version\0\1\2\n")
    (new / "latin.cmd").write_bytes(b"config set a \xe9\n")
    daemon.drop("empty.cmd", "")
    daemon.drop("blank.cmd", "\n  \n# nothing\n")
    daemon.drop("large.cmd", "# " + "x" * (1024 * 1024) + "\nversion\n")
    daemon.drop("long.cmd", "config set a " + "x" * 70_000 + "\n")
    daemon.drop("bad name.cmd", "config set a 1\n")
    daemon.drop("noending", "config set a 1\n")
    daemon.drop("-dash.cmd", "config set a 1\n")
    daemon.drop("x" * 130 + ".cmd", "config set a 1\n")
    os.mkfifo(new / "bad fifo")
    for name in REJECTED:
        result = daemon.result(name, "failed")
        assert result["accepted"] is False, name
        assert result["diagnostics"][0]["message"], name
        assert result["diagnostics"][0]["help"], name
    eventually(lambda: names(new) == [], "an empty new/")
    eventually(lambda: names(spool(daemon) / "work") == [], "an empty work/")
    failed = names(spool(daemon) / "failed")
    numbered = {"fifo.cmd", "link.cmd", "dangling.cmd", "bad_fifo~refused"}
    assert {re.sub(r"^\d{12}~", "", name) for name in failed if name[:12].isdigit()} == numbered
    assert {"fifo.result", "bad_fifo~refused.result", "x" * 100 + "~refused", "bad_name.cmd~refused"} <= set(failed)
    assert daemon.say("config get a").startswith("Option 'a' is not set")
    assert daemon.say("config get stolen").startswith("Option 'stolen' is not set")
    assert outside.exists()
    daemon.assert_healthy()


def test_work_in_progress_is_left_alone(daemon: Daemon) -> None:
    daemon.start()
    unfinished = [".hidden.cmd", "a.cmd.part", "a.cmd.swp", "a.cmd.tmp", "a.cmd~", "#a.cmd#", "b.filepart"]
    for name in unfinished:
        (spool(daemon) / "new" / name).write_text("config set a 1\n")
    daemon.drop("after.cmd", "config set b 1\n")
    daemon.result("after.cmd", "done")
    assert names(spool(daemon) / "new") == sorted(unfinished)


def test_a_file_is_taken_only_after_its_writer_has_closed_it(daemon: Daemon) -> None:
    daemon.start()
    with (spool(daemon) / "new" / "slow.cmd").open("w") as file:
        file.write("config set a 1\n")
        file.flush()
        for number in range(3):
            daemon.drop(f"{number}.cmd", "config get message_expiration\n")
            daemon.result(f"{number}.cmd", "done")
        assert names(spool(daemon) / "new") == ["slow.cmd"]
        file.write("config set b 2\n")
    assert len(daemon.result("slow.cmd", "done")["results"]) == 2


def test_a_writer_that_breaks_the_lease_does_not_end_the_appliance(daemon: Daemon) -> None:
    """Opening a file for writing while the appliance holds its lease sends SIGIO to the appliance."""
    daemon.start()
    assert daemon.process
    daemon.process.send_signal(signal.SIGIO)
    daemon.drop("a.cmd", "sched list\n")
    daemon.result("a.cmd", "done")
    daemon.assert_healthy()


def test_a_name_that_is_not_valid_text_is_rejected(daemon: Daemon) -> None:
    daemon.start()
    aside = spool(daemon) / "tmp" / "aside"
    aside.write_text("version\n")
    aside.rename(spool(daemon) / "new" / os.fsdecode(b"\xff.cmd"))
    eventually(lambda: daemon.ended() or not os.listdir(os.fsencode(spool(daemon) / "new")), "an empty new/")
    eventually(lambda: [name for name in names(spool(daemon) / "failed") if name.endswith(".result")], "the result")
    daemon.assert_healthy()


def test_a_directory_is_rejected(daemon: Daemon) -> None:
    daemon.start()
    (spool(daemon) / "new" / "a.cmd").mkdir()
    (spool(daemon) / "new" / "a.cmd" / "file").write_text("version\n")
    assert daemon.result("a.cmd", "failed")["diagnostics"]
    daemon.assert_healthy()


def test_a_rejected_directory_does_not_block_a_rejected_file_of_the_same_name(daemon: Daemon) -> None:
    daemon.start()
    (spool(daemon) / "new" / "a.cmd").mkdir()
    daemon.result("a.cmd", "failed")
    eventually(lambda: names(spool(daemon) / "new") == [])
    daemon.drop("a.cmd", "nonsense\n")
    eventually(lambda: "unknown command" in json.dumps(daemon.result("a.cmd", "failed")), "the result")
    eventually(lambda: names(spool(daemon) / "work") == [], "an empty work/")


def test_a_bad_name_cannot_replace_a_result(daemon: Daemon) -> None:
    daemon.start()
    daemon.drop("a.cmd", "nonsense\n")
    before = daemon.result("a.cmd", "failed")
    daemon.drop("a.result", "not a result\n")
    eventually(lambda: "file='a.result~refused' rejected" in daemon.log)
    assert daemon.result("a.cmd", "failed") == before


def test_a_claimed_file_that_was_not_done_is_done_at_start(daemon: Daemon) -> None:
    daemon.start()
    daemon.drop("first.cmd", "sched in 900 version\n")
    daemon.result("first.cmd", "done")
    daemon.kill()
    (spool(daemon) / "work" / "000000000007~claimed.cmd").write_text("sched in 900 version\n")
    (spool(daemon) / "work" / "stray").write_text("sched in 900 version\n")
    (spool(daemon) / "work" / "000000000005~link.cmd").symlink_to("/etc/passwd")
    daemon.start()
    assert daemon.result("claimed.cmd", "done")["results"][0]["output"] == "example.com-000000002"
    daemon.drop("next.cmd", "sched in 900 version\n")
    daemon.result("next.cmd", "done")
    assert daemon.rows("SELECT max(mark) FROM drops") == [("000000000008~next.cmd",)]
    daemon.assert_healthy()


@pytest.mark.parametrize("with_result", [True, False], ids=["result", "no result"])
def test_a_done_file_is_answered_again_at_start_but_not_repeated(daemon: Daemon, with_result: bool) -> None:
    daemon.start()
    daemon.drop("a.cmd", "sched in 900 version\nrun append\n")
    result = daemon.result("a.cmd", "done")
    daemon.wait_for_state("succeeded")
    eventually(lambda: names(spool(daemon) / "work") == [])
    daemon.kill()
    ((mark,),) = daemon.rows("SELECT mark FROM drops")
    (spool(daemon) / "done" / "a.cmd").rename(spool(daemon) / "work" / mark)
    if not with_result:
        (spool(daemon) / "done" / "a.result").unlink()
    daemon.start()
    eventually(lambda: names(spool(daemon) / "work") == [], "an empty work/")
    assert daemon.result("a.cmd", "done") == result
    assert len(daemon.data("sched list")) == 1
    assert (daemon.root / "runs").read_text().count("\n") == 1


def test_kill_9_in_the_middle_of_many_drops_loses_and_repeats_none(daemon: Daemon) -> None:
    daemon.start()
    count = 300
    for number in range(count):
        daemon.drop(f"{number:04}.cmd", f"sched in 900 config set a {number}\n")
        if number in (40, 150, 250):
            eventually(lambda: names(spool(daemon) / "done"), "a first drop")
            daemon.kill()
            daemon.start()
    eventually(lambda: len(names(spool(daemon) / "done")) == 2 * count, "the drops")
    assert names(spool(daemon) / "new") == names(spool(daemon) / "work") == names(spool(daemon) / "failed") == []
    commands = [row["command"] for row in daemon.data("sched list")]
    assert sorted(commands) == sorted(f"config set a {number}" for number in range(count))


def test_three_hundred_files_at_once_are_all_done(daemon: Daemon) -> None:
    daemon.start()
    for number in range(300):
        (spool(daemon) / "tmp" / f"{number}.cmd").write_text(
            "run append\n" if number % 100 == 0 else "sched in 900 version\n"
        )
    for number in range(300):
        (spool(daemon) / "tmp" / f"{number}.cmd").rename(spool(daemon) / "new" / f"{number}.cmd")
    eventually(lambda: len(names(spool(daemon) / "done")) == 600, "the drops")
    assert len(daemon.data("sched list")) == 297
    daemon.wait_for_state("succeeded", 3)


def test_only_its_user_can_drop(daemon: Daemon) -> None:
    daemon.start()
    for name in ("tmp", "new"):
        assert (spool(daemon) / name).stat().st_mode & 0o7777 == 0o700


def test_a_directory_that_is_a_link_is_rejected_at_start(daemon: Daemon) -> None:
    elsewhere = daemon.root / "elsewhere"
    elsewhere.mkdir()
    daemon.start()
    daemon.stop()
    (spool(daemon) / "work").rmdir()
    (spool(daemon) / "work").symlink_to(elsewhere)
    assert f"{spool(daemon) / 'work'} is a symbolic link, which is not followed" in daemon.serve_rejected()


@pytest.mark.parametrize("lock", ["", "package 7\n", None])
def test_a_directory_of_somebody_else_is_left_alone(
    daemon: Daemon, lock: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path such as `/` would close /tmp, and files in a directory `done` would be removed after a while."""
    (spool(daemon) / "done").mkdir(parents=True)
    (spool(daemon) / "done" / "tax.pdf").touch()
    (spool(daemon) / "tmp").mkdir()
    for path in (spool(daemon) / "tmp", spool(daemon)):
        path.chmod(0o1777)
    if lock is not None:
        (spool(daemon) / ".lock").write_text(lock)
    before = modes_of(daemon)
    problem = f"{spool(daemon)} is not a spool: it holds 'done', 'tmp'; name an empty directory in `spool.path`; "
    assert problem in daemon.serve_rejected()
    assert modes_of(daemon) == before
    assert main(["doctor", "--config", str(daemon.etc / "appliance.yaml")]) == 1
    printed = capsys.readouterr().out
    assert f"E629 {problem}" in printed
    assert "W609" not in printed, "a finding about the mode of a directory of somebody else"


def test_a_file_that_is_no_lock_file_is_left_alone(daemon: Daemon) -> None:
    spool(daemon).mkdir()
    (spool(daemon) / ".lock").write_text("package 7\n")
    assert f"{spool(daemon)}/.lock is not a lock file: it has other content; move it away" in daemon.serve_rejected()
    assert (spool(daemon) / ".lock").read_text() == "package 7\n"


@pytest.mark.parametrize("left", ["lost+found", ".gitkeep", ".lock"])
def test_an_empty_directory_is_taken(daemon: Daemon, left: str) -> None:
    """As a new file system is, an empty directory in Git, and a spool whose first start failed on a full disk."""
    spool(daemon).mkdir()
    (spool(daemon) / left).touch()
    daemon.start()
    assert (spool(daemon) / "done").is_dir()


@pytest.mark.parametrize("lock", [None, "", "\0\0\0\0\0"])
def test_a_spool_that_is_half_made_is_taken(daemon: Daemon, lock: str | None) -> None:
    """As a first start on a full disk leaves it, and a script that makes two directories of it."""
    for name in ("tmp", "new"):
        (spool(daemon) / name).mkdir(parents=True)
    if lock is not None:
        (spool(daemon) / ".lock").write_text(lock)
    daemon.start()
    assert (spool(daemon) / "tmp").stat().st_mode & 0o7777 == 0o700


def test_zeros_of_a_power_cut_are_a_lock_file(daemon: Daemon) -> None:
    daemon.start()
    daemon.drop("a.cmd", "config set a 1\n")
    daemon.result("a.cmd", "done")
    daemon.stop()
    (spool(daemon) / ".lock").write_bytes(b"\0" * 5)
    (spool(daemon) / "tmp").rmdir()
    daemon.start()


@pytest.mark.parametrize("removed", [".lock", "done"])
def test_a_spool_in_which_something_is_missing_is_taken(daemon: Daemon, removed: str) -> None:
    daemon.start()
    daemon.stop()
    path = spool(daemon) / removed
    path.rmdir() if path.is_dir() else path.unlink()
    (spool(daemon) / "README").touch()
    daemon.start()


def test_a_directory_that_is_replaced_by_a_link_is_not_followed(daemon: Daemon) -> None:
    """No drop is taken until it is a directory again, and none is lost."""
    daemon.start()
    eventually(lambda: daemon.data("summary")["spool_waiting"] == 0, "the first look")
    for name in ("work", "new"):
        folder, aside = spool(daemon) / name, daemon.root / "aside"
        folder.rename(aside)
        folder.symlink_to(aside)
        daemon.drop(f"{name}.cmd", f"config set {name} 1\n")
        daemon.wait_for_log(f"no drop is taken and no result is published: {folder} is a symbolic link, which is not")
        assert f": {folder} is a symbolic link, which is not followed" in daemon.data("summary")["degraded"]
        assert daemon.say(f"config get {name}").startswith(f"Option '{name}' is not set")
        folder.unlink()
        aside.rename(folder)
        assert daemon.result(f"{name}.cmd", "done")["accepted"]
        eventually(lambda: names(spool(daemon) / "work") == [], "an empty work/")
        assert daemon.data("summary")["degraded"] is None
    daemon.assert_healthy()


def modes_of(daemon: Daemon) -> dict[str, tuple[int, int, int]]:
    paths = (spool(daemon), *spool(daemon).iterdir())
    return {path.name: (status.st_mode, status.st_uid, status.st_gid) for path in paths for status in [path.stat()]}


@pytest.mark.parametrize("removed", [("",), ("new",), ("tmp", "work", "done", "failed")])
def test_directories_that_are_removed_are_made_again(daemon: Daemon, removed: tuple[str, ...]) -> None:
    daemon.start()
    daemon.drop("first.cmd", "config set first 1\n")
    daemon.result("first.cmd", "done")
    spool(daemon).chmod(0o751)
    daemon.stop()
    daemon.start()
    before = modes_of(daemon)
    # A daemon that ran would make the first one again before the last one is removed.
    with daemon.frozen():
        for name in removed:
            shutil.rmtree(spool(daemon) / name)
    daemon.wait_for_log("is made again; drops that were in it are lost")
    assert modes_of(daemon) == before
    daemon.drop("second.cmd", "config set second 1\n")
    assert daemon.result("second.cmd", "done")["accepted"]
    assert daemon.data("summary")["degraded"] is None
    assert daemon.log.count("is made again") == 1
    daemon.assert_healthy()
    assert "another appliance uses the spool" in Daemon(daemon.root / "b", appliance=elsewhere(daemon)).serve_rejected()


def elsewhere(daemon: Daemon) -> str:
    return APPLIANCE_FILE.replace("../var/spool", str(spool(daemon)))


def test_without_the_directory_above_it_no_spool_is_made(daemon: Daemon) -> None:
    """It may be the mount point of a missing file system."""
    (daemon.etc / "appliance.yaml").write_text(APPLIANCE_FILE.replace("../var/spool", "../mount/spool"))
    daemon.start()
    remove_tree(daemon.root / "mount")
    reason = f"{daemon.root}/mount/spool is missing and cannot be made again: No such file or directory"
    daemon.wait_for_log(f"degraded: no drop is taken and no result is published: {reason}")
    assert reason in daemon.data("summary")["degraded"]
    (daemon.root / "mount").mkdir()
    daemon.wait_for_log("spool: it can be used again")
    assert daemon.data("summary")["degraded"] is None
    daemon.assert_healthy()


def test_ten_thousand_lines_are_accepted_with_their_answers(daemon: Daemon) -> None:
    daemon.start()
    line = "sched at 4000000000 config set night_shift_of_the_week 1234\n"
    daemon.drop("long.cmd", line * 10_000)
    result = daemon.result("long.cmd", "done")
    assert [result["results"][at] for at in (0, -1)] == [
        {"line": 1, "output": "example.com-000000001"},
        {"line": 10_000, "output": "example.com-000010000"},
    ]


def arrival(daemon: Daemon, name: str) -> int:
    return (spool(daemon) / "new" / f"{name}.cmd").stat().st_ctime_ns


def arrives_after(daemon: Daemon, name: str, earlier: str) -> bool:
    """Drops a file; whether it arrived later than another by the clock of the file system, which has coarse ticks."""
    daemon.drop(f"{name}.cmd", f"config set order {name}\n")
    return arrival(daemon, name) > arrival(daemon, earlier)


def test_the_last_of_several_drops_wins_whatever_their_names(daemon: Daemon) -> None:
    daemon.start()
    daemon.stop()
    daemon.drop("z.cmd", "config set order z\n")
    eventually(lambda: arrives_after(daemon, "y", "z"), "a drop after z")
    eventually(lambda: arrives_after(daemon, "a", "y"), "a drop after y")
    daemon.start()
    daemon.result("a.cmd", "done")
    assert daemon.rows("SELECT name FROM drops ORDER BY mark") == [("z.cmd",), ("y.cmd",), ("a.cmd",)]
    assert daemon.say("config get order") == "order = a\n"


def test_files_that_wait_while_no_appliance_runs_are_done_at_start(daemon: Daemon) -> None:
    daemon.start()
    daemon.stop()
    daemon.drop("a.cmd", "sched in 900 version\n")
    os.mkfifo(spool(daemon) / "work" / "000000000009~fifo.cmd")
    (spool(daemon) / "work" / "000000000010~directory.cmd").mkdir()
    daemon.start()
    daemon.result("a.cmd", "done")
    daemon.assert_healthy()
