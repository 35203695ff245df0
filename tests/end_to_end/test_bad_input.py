"""Bad input at the console and to lint: a few lines that say what to do, no traceback, and the appliance stays up."""

from __future__ import annotations

import os
import re

from tests.support.daemon import Daemon, command

BAD_LINES = [
    "sched at tomorrow x",
    "sched at teatime version",
    "sched at 2400 version",
    "sched at 1 version",
    "sched at 2026-01-01 version",
    "sched at 99999999999999 version",
    "sched at 253402300800 version",
    "sched at 9999-12-31T23:59:59-23:59 version",
    "sched at 0001-01-01T00:00:00+23:59 version",
    "sched in -5 run hello",
    "sched in 0 run hello",
    "sched every 0 run hello",
    "sched every 0.5 run hello",
    "sched in 99999999999999 run hello",
    "sched in 1e5 run hello",
    "sched in nan run hello",
    "sched in 5",
    "sched in",
    "sched",
    "sched in 5 nonsense",
    "sched in 5 run nope",
    "sched every 5 sched every 5 run hello",
    "sched every 5 shutdown",
    "sched in 5 quit",
    "sched delete nope",
    "sched delete example.com-000000099",
    "sched delete example.com-99999999999999999999",
    "sched delete example.com-٠٠٠٠٠٠٠٠١",
    "sched history nope",
    "run",
    "run nope",
    "run hello extra",
    "run sleep x",
    "config get",
    "config get nope nope",
    "config set",
    "config set a",
    "config set = b",
    "config set sched x y",
    "json",
    "json json nonsense",
    "help nonsense",
    'run "hello',
    "run 'hello",
    'sched in 5 run "',
    "\\",
    '"',
    "run hello\x01",
    "run \x1b[31mhello",
    "sched in 5 config set 'a\x0bb' 1",
    "config set 'a\u2028b' 1",
    "sched in 5 " * 20 + "version",
    "sched in 5 " * 5000 + "version",
    "json " * 10_000 + "version",
    "x" * 60_000,
    "config get " + "x" * 60_000,
    "sched delete " + "x" * 60_000,
    "sched in " + "9" * 60_000 + " version",
    "sched at " + "9" * 60_000 + " version",
    "run " + "x" * 60_000,
    "run sleep " + "9" * 60_000 + "x",
    "config set " + "é" * 30_000 + " 1",
]


def test_a_bad_line_gets_a_short_answer_with_a_remedy(daemon: Daemon) -> None:
    daemon.start()
    for line in BAD_LINES:
        answer = daemon.exchange(line.encode() + b"\n").decode()
        assert answer.startswith(("error: ", "Option '", '{"error"')), (line[:80], answer[:300])
        assert 1 <= answer.count("\n") <= 5, (line[:80], answer[:300])
        assert len(answer) < 1000, (line[:80], len(answer))
        assert all(c.isprintable() or c == "\n" for c in answer), (line[:80], answer[:300])
        momentum = answer.startswith("Option '")
        assert momentum or "; " in answer, (line[:80], answer[:300])
    assert daemon.say("sched list").count("\n") == 1
    daemon.assert_healthy()


def test_a_log_message_is_one_short_line_whatever_is_typed(daemon: Daemon) -> None:
    daemon.start()
    before = daemon.log.count("\n")
    daemon.say("config set a 'x\u2028y'")
    daemon.say("sched delete nope\x1b[2J")
    daemon.exchange(b'{"v": 1, "id": 1, "command": "config set a \\"b\\nc\\""}\n')
    assert "\x1b" not in daemon.log
    for line in daemon.log.splitlines()[before:]:
        assert line[:4].isdigit(), line


def test_a_flood_of_bad_lines_is_counted_in_the_log(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.exchange(b"no-command\n" * 1500).count(b"error:") == 1500
    daemon.stop()
    logged = daemon.log.count("command='no-command' rejected: ")
    left_out = re.findall(r" uid=\d+ rejected: ([0-9,]+) more lines were left out", daemon.log)
    assert logged >= 1000
    assert logged + sum(int(number.replace(",", "")) for number in left_out) == 1500


def test_lint_of_a_name_that_is_not_valid_text_prints_no_traceback(daemon: Daemon) -> None:
    name = os.fsdecode(os.fsencode(daemon.root) + b"/\xff.conf")
    with open(name, "w") as file:  # noqa: PTH123
        file.write("shed { }\n")
    for form in ("full", "json"):
        done = command("lint", "--format", form, name)
        assert "Traceback" not in done.stderr, form
        assert done.returncode == 1
