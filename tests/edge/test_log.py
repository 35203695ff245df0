"""The log: one line per message, in order, from any thread or library; lines that cannot be written are counted."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from schedappliance.clock import Moment, SystemClock, log_time
from schedappliance.diagnostics import Unusable
from schedappliance.edge.log import LOGGER, MOST_QUEUED, Line, Log, _as_json, _as_text, open_log_file
from schedappliance.engine.effects import LogMessage
from schedappliance.model.appliance_file import usable_appliance_file
from tests.support.waiting import PATIENCE_SECONDS, eventually

# In its own process, since these hooks affect the whole process.
EVERYBODY = """
import gc, logging, sys, threading, warnings
from schedappliance.clock import SystemClock
from schedappliance.edge.log import Log

log = Log("debug", sys.argv[1], SystemClock())
log.take_over()
log.logger.info("ours")
logging.getLogger("library.part").debug("of no interest")
logging.getLogger("library.part").error("two\\nlines, %d%%", 5)
try:
    raise ValueError("caught")
except ValueError:
    logging.getLogger("library").exception("went wrong")
warnings.warn("old", UserWarning, stacklevel=1)

def end(how):
    raise how

for how in (OSError("in a thread"), SystemExit(3)):
    thread = threading.Thread(target=end, args=(how,), name="theirs")
    thread.start()
    thread.join()

class Bad:
    def __del__(self):
        raise RuntimeError("at its end")

Bad()
gc.collect()
log.close()
"""
EXPECTED = [
    ("info", "ours"),
    ("warning", "library.part: two\nlines, 5%"),
    ("warning", "library: went wrong: ValueError: caught (<string>:12)"),
    ("warning", "UserWarning: old (<string>:15)"),
    ("error", "thread theirs ended: OSError: in a thread (<string>:18)"),
    ("error", "exception ignored: RuntimeError: at its end (<string>:27)"),
]


def logged(log_format: str) -> list[str]:
    command = [sys.executable, "-W", "always", "-c", EVERYBODY, log_format]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_json_log_has_one_object_per_message() -> None:
    rows = [json.loads(line) for line in logged("json")]
    assert [(row["level"], row["message"]) for row in rows] == EXPECTED
    assert all(set(row) == {"time", "level", "message"} for row in rows)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_the_repeated_hour_in_autumn_has_no_two_equal_times() -> None:
    first_ms = 1_793_511_000_007
    assert log_time(first_ms) == "2026-11-01T01:30:00.007-04:00"
    assert log_time(first_ms + 3_600_000) == "2026-11-01T01:30:00.007-05:00"
    assert log_time(first_ms, in_utc=True) == "2026-11-01T05:30:00.007Z"
    assert log_time(first_ms + 3_600_000, in_utc=True) == "2026-11-01T06:30:00.007Z"


def test_a_text_log_has_local_times_and_a_json_log_has_utc() -> None:
    text, row = logged("text")[0], json.loads(logged("json")[0])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d info ours", text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"])


def test_a_text_log_has_one_line_per_message() -> None:
    lines = [line.split(" ", 1)[1] for line in logged("text")]
    assert lines == [f"{level} {message}".replace("\n", "\\n") for level, message in EXPECTED]


def test_a_text_log_names_the_run_before_a_line_of_a_program() -> None:
    line = Line("info", "a \x1b[1m word\r", 1_700_000_000_000, fields=(("event", "output"),), head="run n-1/1 (p): ")
    assert _as_text(line).partition(" ")[2] == "info run n-1/1 (p): a \\u{1b}[1m word\\u{d}\n"
    assert json.loads(_as_json(line, {"env": "test"}))["message"] == "a \x1b[1m word\r"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; restores the logger afterwards."""
    logger = logging.getLogger(LOGGER)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    ends = os.pipe()
    yield ends
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
    for end in ends:
        with suppress(OSError):
            os.close(end)


def turn(log: Log, *messages: str) -> None:
    for message in messages:
        log.write(LogMessage("info", message))
    log.end_turn()


def many(word: str, count: int = MOST_QUEUED) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def messages(read: bytes) -> list[str]:
    return [line.split(" ", 2)[2] for line in read.decode().splitlines()]


def read_until(reading: int, end: bytes, at_once: int = 65536) -> bytes:
    """Reads up to this text, and perhaps more."""
    heard = b""
    while end not in heard:
        heard += os.read(reading, at_once)
    return heard


def read_by(reading: int) -> tuple[threading.Thread, list[str]]:
    """A thread that reads, and the messages that it has read when it has ended."""
    heard: list[str] = []

    def read() -> None:
        heard.extend(messages(b"".join(iter(lambda: os.read(reading, 65536), b""))))

    thread = threading.Thread(target=read)
    thread.start()
    return thread, heard


def heard_of(pipe: tuple[int, int], log_lines: Callable[[Log], None]) -> list[str]:
    """The messages that a reader gets who begins to read after all of them were logged."""
    log = Log("info", "text", SystemClock(), pipe[1])
    log_lines(log)
    reader, heard = read_by(pipe[0])
    log.close()
    os.close(pipe[1])
    reader.join()
    return heard


def test_a_turn_larger_than_the_queue_is_written_whole(pipe: tuple[int, int]) -> None:
    lines = many("line", 3 * MOST_QUEUED)
    assert heard_of(pipe, lambda log: turn(log, *lines)) == lines


def test_turns_that_follow_one_another_are_written_together(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the writing thread waits after a line. The end of the log ends its wait."""
    log = Log("info", "text", SystemClock(), pipe[1])
    wait, waiting = log._is_closing.wait, threading.Event()

    def noted_wait(_seconds: float) -> bool:
        waiting.set()
        return wait(PATIENCE_SECONDS)

    monkeypatch.setattr(log._is_closing, "wait", noted_wait)
    turn(log, "first")
    assert waiting.wait(PATIENCE_SECONDS)
    assert messages(os.read(pipe[0], 65536)) == ["first"]
    write, written = os.write, list[bytes]()

    def noted(descriptor: int, data: bytes) -> int:
        written.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr("schedappliance.edge.log.os.write", noted)
    for number in range(3):
        turn(log, f"turn {number}")
    log.close()
    assert [messages(data) for data in written] == [["turn 0", "turn 1", "turn 2"]]


def test_turns_that_nobody_reads_are_replaced_by_their_number(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)

    def log_lines(log: Log) -> None:
        turn(log, *many("early"))
        turn(log, *many("lost"))
        log.logger.info("lost too")

    assert heard_of(pipe, log_lines) == [*many("early"), f"log lines missing here: {MOST_QUEUED + 1}"]


def test_lines_after_a_gap_follow_its_number(pipe: tuple[int, int]) -> None:
    log = Log("info", "text", SystemClock(), pipe[1])
    turn(log, *many("early"))
    turn(log, "not to be heard")
    heard = read_until(pipe[0], b"missing here: 1\n")
    turn(log, "late")
    with closing(log):
        heard += read_until(pipe[0], b" late\n")
    assert messages(heard) == [*many("early"), "log lines missing here: 1", "late"]


def test_the_number_of_a_gap_comes_in_its_place(pipe: tuple[int, int]) -> None:
    log = Log("info", "text", SystemClock(), pipe[1])
    first, second = many("first", MOST_QUEUED // 2), many("second", MOST_QUEUED // 2)
    turn(log, *first)
    turn(log, *second)
    turn(log, "not to be heard")
    heard = read_until(pipe[0], b" second 0\n", 4096)
    turn(log, "late")
    with closing(log):
        heard += read_until(pipe[0], b" late\n")
    assert messages(heard) == [*first, *second, "log lines missing here: 1", "late"]


def test_a_finalizer_may_log_while_a_line_is_counted(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector runs in any thread that allocates, also in one that holds the lock of the log."""
    log = Log("info", "text", SystemClock(), pipe[1])
    missing, unlogged = log._missing, ["exception ignored"]

    def interrupted(wall_ms: int) -> list[Line]:
        if unlogged:
            log.logger.error(unlogged.pop())
        return missing(wall_ms)

    monkeypatch.setattr(log, "_missing", interrupted)
    saying = threading.Thread(target=log.logger.info, args=("a line",), daemon=True)
    saying.start()
    saying.join(PATIENCE_SECONDS)
    assert not saying.is_alive()
    with closing(log):
        assert sorted(messages(read_until(pipe[0], b"a line\n"))) == ["a line", "exception ignored"]


def test_a_descriptor_that_does_not_block_gets_every_line(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    lines = many("line")
    assert heard_of(pipe, lambda log: turn(log, *lines)) == lines


def test_a_line_of_the_logger_follows_the_lines_of_the_turn_before_it(pipe: tuple[int, int]) -> None:
    def log_lines(log: Log) -> None:
        log.write(LogMessage("info", "first"))
        log.logger.warning("second")
        turn(log, "third")

    assert heard_of(pipe, log_lines) == ["first", "second", "third"]


class Stopped(SystemClock):
    """A clock that stands still until it is set. `wall`: in milliseconds."""

    wall = 1_793_511_000_007

    def moment(self) -> Moment:
        return Moment(self.wall, 0)


def test_a_line_for_each_signal_is_logged_once_in_a_second(pipe: tuple[int, int]) -> None:
    """The lines of commands are all logged, since each of them tells of another command."""

    def log_lines(log: Log) -> None:
        for _ in range(100):
            log.write(LogMessage("info", "reloaded", once=True))
        log.end_turn()
        turn(log, "command", "command")
        log.write(LogMessage("info", "reloaded", once=True))
        log.write(LogMessage("warning", "reloaded", once=True))
        log.end_turn()
        clock.wall += 1000
        log.write(LogMessage("info", "reloaded", once=True))

    clock = Stopped()
    log = Log("info", "text", clock, pipe[1])
    log_lines(log)
    log.close()
    os.close(pipe[1])
    heard = messages(b"".join(iter(lambda: os.read(pipe[0], 65536), b"")))
    assert heard == ["reloaded", "command", "command", "reloaded", "reloaded"]


def test_lines_about_commands_are_limited_for_each_user_and_the_others_are_counted(pipe: tuple[int, int]) -> None:
    """A user without a role sent 2,500 lines a second, and filled the disk with 2.7 MB of log a second."""

    def log_lines(log: Log) -> None:
        for _ in range(3000):
            log.write(LogMessage("warning", "of bob", share="user=bob uid=7 rejected"))
        log.write(LogMessage("warning", "of eve", share="user=eve uid=8 rejected"))
        log.write(LogMessage("info", "accepted of bob", share="user=bob uid=7 accepted"))
        log.write(LogMessage("info", "accepted of root"))
        log.end_turn()
        log.audit()
        log.audit()

    heard = heard_of(pipe, log_lines)
    assert heard.count("of bob") == 1000
    assert heard[1000:] == [
        "of eve",
        "accepted of bob",
        "accepted of root",
        "user=bob uid=7 rejected: 2,000 more lines were left out",
    ]


def test_the_lines_that_were_left_out_are_counted_even_if_nobody_reads_the_log(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)

    def log_lines(log: Log) -> None:
        turn(log, *many("early"))
        for _ in range(3000):
            log.write(LogMessage("warning", "of bob", share="user=bob uid=7 rejected"))
        log.end_turn()
        log.audit()

    assert heard_of(pipe, log_lines) == [*many("early"), "log lines missing here: 3000"]


def test_a_device_logs_the_same_line_once_in_a_second(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.time.time", lambda: 1000.5)
    monkeypatch.setattr("logging.time.time_ns", lambda: 1_000_500_000_000, raising=False)

    def log_lines(log: Log) -> None:
        for _ in range(100):
            log.logger.info("opened the log file %s again", "x")
        log.logger.info("opened the log file %s again", "y")

    assert heard_of(pipe, log_lines) == ["opened the log file x again", "opened the log file y again"]


def test_after_a_full_disk_the_log_has_whole_lines_and_the_number_of_missing_ones(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, [60]

    def written(descriptor: int, data: bytes) -> int:
        """The disk has room for so many bytes, then for none, and when it was asked once more again for all."""
        if not room:
            return write(descriptor, data)
        if not room[0]:
            room.clear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: room[0]]
        room[0] -= len(part)
        return write(descriptor, part)

    log = Log("info", "text", SystemClock(), pipe[1])
    monkeypatch.setattr("schedappliance.edge.log.os.write", written)
    turn(log, "the first is whole", "the second is torn", "the third is missing")
    eventually(lambda: not log._queued, "the attempt to write")
    turn(log, "later")
    log.close()
    os.close(pipe[1])
    first, torn, *rest = os.read(pipe[0], 65536).decode().splitlines()
    assert first.endswith(" info the first is whole")
    assert len(f"{first}\n{torn}") == 60
    assert sorted(line.split(" ", 2)[2] for line in rest) == ["later", "log lines missing here: 2"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Each write of the log fails until a test clears this list."""
    write, is_full = os.write, [True]

    def written(descriptor: int, data: bytes) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr("schedappliance.edge.log.os.write", written)
    return is_full


def test_all_lines_that_a_full_disk_has_lost_are_counted(pipe: tuple[int, int], full_disk: list[bool]) -> None:
    """Each line of a lost turn, also when the line that reports earlier ones is lost, as often as that happens."""
    log = Log("info", "text", SystemClock(), pipe[1])
    for number in range(1, 8):
        turn(log, *many("lost", number))
        eventually(lambda: not log._queued, "the attempt to write")
    full_disk.clear()
    turn(log, "late")
    log.close()
    os.close(pipe[1])
    assert messages(os.read(pipe[0], 65536)) == ["log lines missing here: 28", "late"]
    assert log.lost_total == 28


def test_a_log_file_whose_name_leads_elsewhere_is_a_trouble_until_it_is_a_file_again(tmp_path: Path) -> None:
    """Nobody looks into the file that was moved away."""
    path, moved = tmp_path / "app.log", tmp_path / "app.old"
    log = Log("info", "text", SystemClock(), open_log_file(path), path=path)
    path.rename(moved)
    path.mkdir()

    def has_trouble() -> bool:
        log.audit()
        return log.trouble is not None

    eventually(has_trouble, "the trouble")
    assert log.trouble == (
        f"{path} is a directory, not a file; move it away, or name another file in `log: file`; "
        "until then, the log goes on in the file that had its name"
    )
    path.rmdir()
    eventually(lambda: not has_trouble(), "the end of the trouble")
    turn(log, "again")
    log.close()
    assert f"warning {path} is a directory, not a file" in moved.read_text()
    assert path.read_text().endswith(" info again\n")


def test_a_log_file_that_is_moved_back_is_no_trouble_any_more(tmp_path: Path) -> None:
    """Its directory is renamed, so that its name leads nowhere or to the old file, and the log can make no new one."""
    path, moved = tmp_path / "logs" / "app.log", tmp_path / "moved"
    path.parent.mkdir()
    log = Log("info", "text", SystemClock(), open_log_file(path), path=path)

    def has_trouble() -> bool:
        log.audit()
        return log.trouble is not None

    path.parent.rename(moved)
    eventually(has_trouble, "the trouble")
    moved.rename(path.parent)
    eventually(lambda: not has_trouble(), "the end of the trouble")
    turn(log, "again")
    log.close()
    assert messages(path.read_bytes())[-1] == "again"
    assert f"opened the log file {path} again" not in path.read_text()


def test_a_log_file_that_cannot_be_written_is_a_trouble_until_a_line_is_written(
    tmp_path: Path, full_disk: list[bool]
) -> None:
    path = tmp_path / "app.log"
    log = Log("info", "text", SystemClock(), open_log_file(path), path=path)
    turn(log, "lost")
    eventually(lambda: log.trouble is not None, "the trouble")
    remedy = "free space on its disk, or inodes: `df -h` and `df -i` show which"
    assert log.trouble == f"the log file {path} cannot be written: No space left on device; {remedy}"
    full_disk.clear()

    def is_over() -> bool:
        log.audit()
        return log.trouble is None

    eventually(is_over, "the end of the trouble, although nothing more is logged")
    log.close()
    assert messages(path.read_bytes()) == ["log lines missing here: 1"]


def test_a_log_on_stderr_has_no_trouble(pipe: tuple[int, int]) -> None:
    log = Log("info", "text", SystemClock(), pipe[1])
    os.close(pipe[0])
    turn(log, "lost")
    eventually(lambda: log.lost_total == 1, "the attempt to write")
    assert log.trouble is None
    log.close()
    os.close(pipe[1])


def test_lines_in_json_have_fields_of_their_own_and_static_ones(pipe: tuple[int, int]) -> None:
    log = Log("info", "json", SystemClock(), pipe[1], {"env": "prod"})
    log.write(LogMessage("info", "a run ended", fields=(("run", "x/1"), ("duration_ms", 7))))
    log.write(LogMessage("info", "the end"))
    log.close()
    first, second = [json.loads(line) for line in os.read(pipe[0], 65536).splitlines()]
    assert {key: first[key] for key in first.keys() - {"time"}} == {
        "level": "info",
        "message": "a run ended",
        "env": "prod",
        "run": "x/1",
        "duration_ms": 7,
    }
    assert second.keys() == {"time", "level", "message", "env"}


def test_only_a_file_is_a_log_file(tmp_path: Path) -> None:
    """A link could lead to any file of root, and a FIFO would block. A link to the directory is followed."""
    file = tmp_path / "appliance.yaml"
    file.write_text("config: sched.conf\nlog: { file: here/log }\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "here").symlink_to("logs")
    log = tmp_path / "logs" / "log"
    log.symlink_to(tmp_path / "victim")
    path = usable_appliance_file(file).log_file
    assert path == log
    with pytest.raises(Unusable, match=f"{log} is a symbolic link, not a file"):
        open_log_file(path)
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(Unusable, match=f"{log} is a FIFO, not a file"):
        open_log_file(path)
    with pytest.raises(Unusable, match="/dev/null is a device, not a file") as caught:
        open_log_file(Path("/dev/null"))
    assert caught.value.help.startswith("name another file in `log: file`"), "nobody may move /dev/null away"
    log.unlink()
    os.close(open_log_file(path))
    assert sorted(os.listdir(tmp_path)) == ["appliance.yaml", "here", "logs"]
