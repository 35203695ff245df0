"""Edits of the stanza files by operators and editors: a valid file becomes active, an invalid one changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import STANZAS, Daemon
from tests.support.waiting import eventually


def option(daemon: Daemon) -> str:
    return daemon.say("config get message_expiration").strip().removeprefix("Message_Expiration = ")


def edited(daemon: Daemon, value: int) -> str:
    return re.sub("Message_Expiration = .*", f"Message_Expiration = {value}", daemon.conf.read_text())


def wait_for(daemon: Daemon, value: int) -> None:
    eventually(lambda: daemon.ended() or option(daemon) == str(value), f"the value {value}")
    daemon.assert_healthy()


def test_a_valid_edit_becomes_active_however_it_was_made(daemon: Daemon) -> None:
    daemon.start()
    daemon.conf.write_text(edited(daemon, 1))
    wait_for(daemon, 1)

    aside = daemon.etc / "sched.conf.new"
    aside.write_text(edited(daemon, 2))
    subprocess.run(["mv", str(aside), str(daemon.conf)], check=True)
    wait_for(daemon, 2)

    text = edited(daemon, 3)
    with daemon.conf.open("r+") as file:
        file.truncate(0)
        file.write(text)
    wait_for(daemon, 3)

    subprocess.run(["sed", "-i", "s/Message_Expiration = 3/Message_Expiration = 4/", str(daemon.conf)], check=True)
    wait_for(daemon, 4)

    text = edited(daemon, 5)
    daemon.conf.unlink()
    daemon.wait_for_log("cannot read")
    assert option(daemon) == "4"
    daemon.conf.write_text(text)
    wait_for(daemon, 5)

    elsewhere = daemon.root / "elsewhere.conf"
    elsewhere.write_text(edited(daemon, 6).replace("../var", str(daemon.var)))
    link = daemon.etc / "link"
    link.symlink_to(elsewhere)
    link.rename(daemon.conf)
    wait_for(daemon, 6)


def test_an_invalid_edit_changes_nothing_and_the_log_says_why(daemon: Daemon) -> None:
    daemon.start()
    good = daemon.conf.read_text()
    daemon.conf.write_text(good.replace('program "hello"', 'progam "hello"') + "Message_Expiration = 5\n")
    daemon.wait_for_log("the stanza files are rejected; the running configuration stays active")
    line = good[: good.index('program "hello"')].count("\n") + 1
    daemon.wait_for_log(f"{daemon.conf}:{line}:1: ")
    (message,) = [text for text in daemon.log.splitlines() if f"{daemon.conf}:{line}:1: " in text]
    assert " error " in message
    assert "E201" in message
    assert "unknown stanza `progam`" in message
    assert "did you mean `program`?" in message
    assert option(daemon) == "86400"
    daemon.say("run hello")
    daemon.wait_for_state("succeeded")
    answer = daemon.say("config reload")
    assert f"{daemon.conf}:{line}:1: " in answer
    assert answer.endswith("Reconfigure failed.\n")
    daemon.conf.write_text(good.replace("86400", "7"))
    wait_for(daemon, 7)


def test_an_unfinished_file_delays_the_reload_unless_a_command_asks_for_it(daemon: Daemon) -> None:
    daemon.start()
    text = edited(daemon, 1)
    with daemon.conf.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        waits = f"{daemon.conf} is open for writing"
        eventually(lambda: daemon.data("config status")["waits"] == waits, waits)
        assert daemon.say("config reload").endswith("Reconfigure failed.\n")
        file.write(text[len(text) // 2 :])
    wait_for(daemon, 1)
    # The close of the file is one more hint, so the files may be read again meanwhile.
    eventually(lambda: daemon.data("config status")["waits"] is None, "the end of the wait")
    assert daemon.data("config status")["watch"] == "events"
    daemon.conf.write_text(text[: text.index("program")])
    waits = f"{daemon.conf} holds only the beginning of the active text"
    eventually(lambda: daemon.data("config status")["waits"] == waits, waits)
    assert f"\nwatch: events\nwaits: {waits}\n" in daemon.say("config status")
    daemon.conf.write_text(edited(daemon, 1).replace("Message_Expiration = 1", "Message_Expiration = 2"))
    wait_for(daemon, 2)
    assert daemon.data("config status")["generation"] == 3


def test_many_mistakes_are_all_reported_at_once(daemon: Daemon) -> None:
    daemon.start()
    daemon.conf.write_text(
        STANZAS % daemon.etc
        + 'shed { }\nprogram "x" { }\njob "y" { every = 0 command = "run nope" }\njob "z" { command = "nonsense" }\n'
    )
    answer = daemon.say("config reload")
    for code in ("E201", "E205", "E204", "E110"):
        assert code in answer, (code, answer)


def test_an_edit_of_an_included_file_or_directory_becomes_active(daemon: Daemon) -> None:
    (daemon.etc / "more.conf").write_text("From_File = 1\n")
    (daemon.etc / "conf.d").mkdir()
    daemon.conf.write_text(daemon.conf.read_text() + 'include "more.conf"\ninclude "conf.d"\n')
    daemon.start()
    (daemon.etc / "more.conf").write_text("From_File = 2\n")
    eventually(lambda: daemon.say("config get from_file") == "From_File = 2\n", "the included file")
    (daemon.etc / "conf.d" / "a.conf").write_text("From_Directory = 1\n")
    eventually(lambda: daemon.say("config get from_directory") == "From_Directory = 1\n", "a new file")
    (daemon.etc / "conf.d" / "a.conf").write_text("From_Directory = {\n")
    daemon.wait_for_log("conf.d/a.conf:1:")
    (daemon.etc / "conf.d" / "a.conf").unlink()
    eventually(lambda: "is not set" in daemon.say("config get from_directory"), "its removal")
    (daemon.etc / "more.conf").unlink()
    daemon.wait_for_log("more.conf`: No such file or directory")
    assert daemon.say("config get from_file") == "From_File = 2\n"
    (daemon.etc / "more.conf").write_text("From_File = 3\n")
    eventually(lambda: daemon.say("config get from_file") == "From_File = 3\n", "the file that is back")


def test_files_with_another_backing_store_are_rejected(daemon: Daemon) -> None:
    daemon.start()
    daemon.conf.write_text(edited(daemon, 5).replace("sched.db", "other.db"))
    daemon.wait_for_log("restart required: `backing_store` cannot be changed")
    assert f"{daemon.conf}:1:9: " in daemon.log
    assert option(daemon) == "86400"
    assert not (daemon.var / "other.db").exists()
    daemon.conf.write_text(edited(daemon, 6).replace("other.db", "sched.db"))
    wait_for(daemon, 6)


def test_another_spelling_of_the_same_backing_store_is_accepted(daemon: Daemon) -> None:
    daemon.start()
    daemon.conf.write_text(edited(daemon, 5).replace("../var/sched.db", f"{daemon.var}/./sched.db"))
    wait_for(daemon, 5)


def test_sighup_reloads_the_files(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("the stanza files are unchanged")
    daemon.conf.write_text("broken {\n")
    for _ in range(5):
        daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("Reconfigure failed.")
    assert option(daemon) == "86400"
    daemon.assert_healthy()


def test_a_reload_reschedules_only_declared_jobs_that_changed(daemon: Daemon) -> None:
    job = 'job "a" { every = 1h command = "run hello" }\n'
    daemon.conf.write_text(daemon.conf.read_text() + job)
    daemon.start()
    (before,) = daemon.data("sched list")
    assert before["next_run_ms"] % 3_600_000 == 0
    assert "declared" in daemon.say(f"sched delete {before['id']}")
    daemon.conf.write_text(daemon.conf.read_text().replace('"run hello" }', '"run sleep 1" }'))
    eventually(lambda: daemon.data("sched list")[0]["command"] == "run sleep 1")
    assert daemon.data("sched list") == [before | {"command": "run sleep 1"}]
    daemon.conf.write_text(daemon.conf.read_text().replace("1h", "2h"))
    eventually(lambda: daemon.data("sched list")[0]["interval_ms"] == 7_200_000)
    assert daemon.data("sched list")[0]["id"] == before["id"]
    daemon.conf.write_text(STANZAS % daemon.etc)
    eventually(lambda: daemon.data("sched list") == [])


def chain(directory: Path, length: int) -> None:
    for number in range(length):
        (directory / f"{number}.inc").write_text(f'include "{number + 1}.inc"\n')
    (directory / f"{length}.inc").write_text("")


BAD_EDITS = {
    "a name that is too long": f'include "{"x" * 300}"\n',
    "deep nesting": "sched { " * 3000 + "}" * 3000 + "\n",
    "a chain of includes": 'include "0.inc"\n',
    "a file name that is not valid text": 'include "odd.d"\n',
    "a fifo": 'include "fifo"\n',
    "itself": 'include "sched.conf"\n',
    "a device": 'include "/dev/zero"\n',
    "a process": 'include "/proc/self/mem"\n',
    "a pattern that is too large": 'program "p" { argv = ( "/bin/true" ) args = ( "%s" ) }\n'
    % ("(" * 2000 + ")" * 2000),
    "a large number": f'program "p" {{ argv = ( "/bin/true" ) timeout = {"9" * 5000} output_limit = {"9" * 5000} }}\n',
    "a wide stanza": "a = ( " + "x " * 20_000 + ")\n",
}


@pytest.mark.parametrize("edit", BAD_EDITS)
def test_no_edit_ends_the_appliance(daemon: Daemon, edit: str) -> None:
    chain(daemon.etc, 400)
    (daemon.etc / "odd.d").mkdir()
    with open(os.fsencode(daemon.etc) + b"/odd.d/\xff.conf", "w") as file:  # noqa: PTH123
        file.write("A = 1\n")
    os.mkfifo(daemon.etc / "fifo")
    daemon.start()
    text = daemon.conf.read_text()
    daemon.conf.write_text(text + BAD_EDITS[edit])
    eventually(
        lambda: daemon.ended() or "are rejected" in daemon.log or "configuration 2 is" in daemon.log, "a verdict"
    )
    daemon.conf.write_text(text.replace("86400", "5"))
    wait_for(daemon, 5)
    daemon.conf.write_text(text + BAD_EDITS[edit])
    done = daemon.lint(daemon.conf)
    assert "Traceback" not in done.stderr, done.stderr[-600:]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_a_file_of_another_user_is_not_read_while_it_is_open(daemon: Daemon) -> None:
    """As with the packages: the files belong to root, and the daemon, without capabilities, may not ask for writers."""
    job = 'job "hourly" { every = 1h command = "run hello" }\n'
    daemon.conf.write_text(daemon.conf.read_text() + job)
    os.chown(daemon.conf, 1, 1)
    daemon.wrapper = ["setpriv", "--bounding-set=-lease", "--inh-caps=-lease"]
    daemon.start()
    daemon.say("sched pause hourly")
    text = "# Another text\n" + daemon.conf.read_text()
    with daemon.conf.open("w") as file:
        file.write(text.removesuffix(job))
        file.flush()
        reason = f"{daemon.conf} has been written and not closed"
        eventually(lambda: daemon.data("config status")["waits"] == reason, "the doubt")
        assert daemon.data("config status")["generation"] == 1
        file.write(job)
    eventually(lambda: daemon.data("config status")["generation"] == 2, "the whole file")
    assert [(job["id"], job["paused"]) for job in daemon.data("sched list")] == [("example.com-000000001", True)]
