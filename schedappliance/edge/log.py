"""The log on stderr or in a file: one line for each message, from any thread or library.

Rule: no thread waits for a reader of the log. Lines that cannot be written are counted, and the count takes their place.
"""

# The way of a line. Example: a turn logs two lines, while the reader of a pipe hangs.
#
#   write         The deciding thread adds both lines to `lines`.
#   end_turn      After the answers were sent, it puts them into the queue: both or none. It never waits.
#   _write_lines  The thread `log` takes them out of the queue, a hundred times a second at most, and writes them. Only this
#                 thread waits for the reader.
#   later         MOST_QUEUED lines wait in the queue. The lines of the next turns are lost, and `_lost` counts them.
#   at last       The reader goes on. The line "log lines missing here: 312" takes the place of the lost lines.
#
# All other threads use `logger`. Its lines go into the same queue. The module logging alone would write on the thread that
# logs, under a lock.

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import sys
import threading
import traceback
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from schedappliance.clock import log_time
from schedappliance.diagnostics import Unusable
from schedappliance.edge.limited_lines import LimitedLines
from schedappliance.edge.threads import start_thread
from schedappliance.kinds import FREE_ROOM, FULL, not_a_file, uncreatable
from schedappliance.visible import json_text, visible, visible_lines

if TYPE_CHECKING:
    from schedappliance.clock import Clock
    from schedappliance.engine.effects import LogMessage

LOGGER = "schedappliance"
LEVELS = logging.getLevelNamesMapping()
# The queue holds about 1 MB of text. Further turns lose their lines, always all of a turn.
MOST_QUEUED = 10_000
# A line break within a message, which takes one line in the log.
BREAK = "\\n"
LAST_LINES_SECONDS = 2.0
# The writing thread waits for this time after it has emptied the queue, and then writes the lines of several turns together.
# Otherwise each turn would wake it, and share the interpreter with it: a turn of one command takes 0.36 ms of processor time
# then, and 0.26 ms with this pause.
PAUSE_SECONDS = 0.01
# The most lines that are written together: until they are written, they count as queued.
MOST_JOINED = 1000
FILE_MODE = 0o640


class Line(NamedTuple):
    """A line to be written."""

    # In lower case.
    level: str
    message: str
    wall_ms: int
    # A traceback, with its line ends.
    trace: str = ""
    # What the line is about, for a log in JSON.
    fields: tuple[tuple[str, Any], ...] = ()
    # What stands before the message in a log in text.
    head: str = ""
    # How many lines it reports that were lost or left out. If it is lost itself, they are still to be reported.
    missing: int = 0


def _as_text(line: Line) -> str:
    message = visible(f"{line.head}{line.message}".replace("\n", BREAK))
    trace = line.trace and visible_lines(line.trace)
    return f"{log_time(line.wall_ms)} {line.level} {message}\n{trace}"


def _as_json(line: Line, static: Mapping[str, str]) -> str:
    row = {
        "time": log_time(line.wall_ms, in_utc=True),
        "level": line.level,
        "message": line.message,
        **static,
        **dict(line.fields),
    }
    if line.trace:
        row["traceback"] = line.trace.rstrip("\n")
    return f"{json_text(row)}\n"


class Log:
    """The daemon's log. A separate thread writes the lines, so that a reader that hangs blocks no other thread.

    The deciding thread creates it and calls `write` and `end_turn`. Any thread may use `logger` and `pass_on`.
    """

    def __init__(
        self,
        level: str,
        log_format: str,
        clock: Clock,
        descriptor: int = 2,
        fields: Mapping[str, str] = MappingProxyType({}),
        path: Path | None = None,
    ) -> None:
        """`fields`: what each line of a log in JSON has, beside the fields of its own.

        `path`: that of a log file, for `audit`.
        """
        # The file, which only the writing thread uses.
        self._descriptor = descriptor
        self._path = _file_of(descriptor) if path is None else str(path)
        self._is_audited = path is not None
        self._ends_in_part = False
        # Why the file could not be opened again, and why the last line could not be written; empty if it could.
        self._open_trouble = self._write_trouble = ""
        # Whether the queue holds a call of this kind already; the writing thread resets it.
        self._is_reopening = False
        self._is_audit_queued = False

        # The lines of this turn, and its wall time.
        self.lines: list[Line] = []
        self._turn_ms = 0
        self._clock = clock

        # How many lines about commands, drops and runs each user may still have.
        self._limited = LimitedLines()

        # The queue: the lines of a turn each, or a call, or None at the end.
        self._queue: SimpleQueue[list[Line] | Callable[[], None] | None] = SimpleQueue()
        self._is_closing = threading.Event()
        # Guards the fields from here to `_lines_of_second`. Reentrant: the garbage collector may run in a thread that holds this
        # lock, and an error in a finalizer is logged here too.
        self._count_lock = threading.RLock()
        self._queued = 0
        # How many lines were lost since the last line that reported it, and since the start.
        self._lost = 0
        self.lost_total = 0
        # The lines of this second, with the second in place of their time, so that equal lines are equal.
        self._second = 0
        self._lines_of_second: set[Line] = set()

        self._format = partial(_as_json, static=fields) if log_format == "json" else _as_text
        self._is_logged = {name.lower(): number >= LEVELS[level.upper()] for name, number in LEVELS.items()}
        self._deciding_thread = threading.get_ident()
        self.logger = logging.getLogger(LOGGER)
        self.logger.handlers[:] = [_OwnHandler(self._log)]
        self.logger.setLevel(level.upper())
        self.logger.propagate = False
        self._writer = start_thread("log", self._write_lines)

    def write(self, effect: LogMessage) -> None:
        """Performs the effect LogMessage. The module logging takes six times as long as this."""
        if self._is_logged[effect.level] and self._has_room(effect):
            if not self.lines:
                self._turn_ms = self._clock.moment().wall
            line = Line(effect.level, effect.message, self._turn_ms, fields=effect.fields)
            if not (effect.once and self._repeats(line)):
                self.lines.append(line)

    def _has_room(self, effect: LogMessage) -> bool:
        share = effect.share
        return not share or self._limited.has_room(share, effect.level, self._clock.moment().boot)

    def _log_left_out(self) -> None:
        moment = self._clock.moment()
        left_out = self._limited.take_left_out(moment.boot)
        if lines := [Line(level, text, moment.wall, missing=number) for level, text, number in left_out]:
            self._enqueue(lines)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the log file that the appliance file names. None if nothing is, and for a log on stderr."""
        return (self._open_trouble or self._write_trouble or None) if self._is_audited else None

    def end_turn(self) -> None:
        """Passes the lines of a turn to the writing thread, after the answers were sent."""
        if self.lines:
            lines, self.lines = self.lines, []
            self._enqueue(lines)

    def _log(self, line: Line) -> None:
        """Logs a line from any thread, after the lines that the same thread has logged before."""
        if self._repeats(line):
            return
        if threading.get_ident() == self._deciding_thread:
            self.end_turn()
        self._enqueue([line])

    def pass_on(self, lines: list[Line]) -> None:
        """Logs lines of a program, from any thread. The same line may come again within a second."""
        if self._is_logged[lines[0].level]:
            self._enqueue(lines)

    def _repeats(self, line: Line) -> bool:
        """Whether the same line was logged in the same second. If not, the line is remembered.

        So a device logs a line once in a second, however often its cause occurs.
        """
        second = line.wall_ms // 1000
        line = line._replace(wall_ms=second)
        with self._count_lock:
            if second != self._second or len(self._lines_of_second) >= MOST_QUEUED:
                self._second = second
                self._lines_of_second.clear()
            is_repeated = line in self._lines_of_second
            self._lines_of_second.add(line)
            return is_repeated

    def _enqueue(self, lines: list[Line]) -> None:
        """Queues all lines of a turn, or none. A large turn does not mean a slow reader, so its size is not limited."""
        with self._count_lock:
            if self._queued >= MOST_QUEUED:
                self._count_lost(lines)
                return
            lines = [*self._missing(lines[0].wall_ms), *lines]
            self._queued += len(lines)
            self._queue.put(lines)

    def _missing(self, wall_ms: int) -> list[Line]:
        """The line that reports how many lines are missing here; none if none are."""
        lost, self._lost = self._lost, 0
        return [Line("warning", f"log lines missing here: {lost}", wall_ms, missing=lost)] if lost else []

    def _write_lines(self) -> None:
        """The body of the writing thread."""
        lines: list[Line] = []
        is_open = True
        while is_open:
            item = self._queue.get()
            if isinstance(item, list):
                lines += item
                if len(lines) < MOST_JOINED and not self._queue.empty():
                    continue
            if lines:
                self._write_counted(lines)
                lines = []
            if callable(item):
                item()
            is_open = item is not None
            if self._queue.empty():
                self._is_closing.wait(PAUSE_SECONDS)

    def _write_counted(self, lines: list[Line]) -> None:
        lost = self._write_all(lines)
        with self._count_lock:
            self._queued -= len(lines)
            self._count_lost(lost)
            # When the queue is empty, no later line may come to report the lost ones.
            missing = [] if lost or self._queued else self._missing(lines[-1].wall_ms)
        if missing:
            lost = self._write_all(missing)
            with self._count_lock:
                self._count_lost(lost)

    def _count_lost(self, lines: list[Line]) -> None:
        self._lost += sum(line.missing or 1 for line in lines)
        self.lost_total += sum(not line.missing for line in lines)

    def _write_all(self, lines: list[Line]) -> list[Line]:
        """Writes lines without Python's buffers and locks. Returns those that were not written as a whole."""
        texts = [self._format(line).encode(errors="backslashreplace") for line in lines]
        if self._ends_in_part:
            texts[0] = b"\n" + texts[0]
        ends = list(accumulate(map(len, texts)))
        written, error = _write(self._descriptor, b"".join(texts))
        self._write_trouble = _unwritable(self._path, error) if error else ""
        if written:
            self._ends_in_part = written not in ends
        return lines[bisect_right(ends, written) :]

    def reopen(self) -> None:
        """Continues in the file that has the name of the log file now, since a rotation has renamed the old one.

        A log that is not a file stays as it is. The writing thread opens the file, which may hang.
        """
        if self._path is not None and not self._is_reopening:
            self._is_reopening = True
            self._queue.put(partial(self._open_again, self._path))

    def audit(self) -> None:
        """Logs how many lines about commands, drops and runs were left out.

        Opens the log file of the appliance file again if it was moved or removed, and tries to write it if that failed.
        Another log stays as it is.
        """
        self._log_left_out()
        if self.trouble:
            self._retry()
        if self._is_audited and self._path is not None and not self._is_audit_queued:
            self._is_audit_queued = True
            self._queue.put(partial(self._open_if_moved, self._path))

    def _retry(self) -> None:
        """Logs how many lines are missing: an idle appliance has no other line that shows whether it can be written."""
        with self._count_lock:
            missing = [] if self._queued else self._missing(self._clock.moment().wall)
        if missing:
            self._enqueue(missing)

    def _open_if_moved(self, path: str) -> None:
        self._is_audit_queued = False
        try:
            is_open = os.path.samestat(os.stat(path), os.fstat(self._descriptor))  # noqa: PTH116
        except OSError:
            is_open = False
        if is_open:
            # Somebody may have moved the file back.
            self._open_trouble = ""
        else:
            self._open_again(path)

    def _open_again(self, path: str) -> None:
        self._is_reopening = False
        try:
            file = _open_file(path, stat.S_IMODE(os.fstat(self._descriptor).st_mode))
        except OSError as error:
            cause = not_a_log(Path(path)) or uncreatable(Path(path), error)
            trouble = f"{cause.message}; {cause.help}; until then, the log goes on in the file that had its name"
            if trouble != self._open_trouble:
                self.logger.warning(trouble)
            self._open_trouble = trouble
            return
        self._open_trouble = ""
        os.dup2(file, self._descriptor)
        os.close(file)
        self.logger.info("opened the log file %s again", path)

    def close(self) -> None:
        """Writes the queued lines. Gives up after LAST_LINES_SECONDS if no reader takes them."""
        self.end_turn()
        self._log_left_out()
        self._queue.put(None)
        self._is_closing.set()
        self._writer.join(LAST_LINES_SECONDS)

    def take_over(self) -> None:
        """Routes the messages of libraries, failed threads and Python's own warnings to this log."""
        logging.getLogger().handlers[:] = [_LibraryHandler(self.logger)]
        threading.excepthook = self._on_thread_end
        sys.unraisablehook = self._on_unraisable
        warnings.showwarning = self._on_warning

    def _on_thread_end(self, ended: threading.ExceptHookArgs) -> None:
        if ended.exc_type is not SystemExit:
            name = ended.thread.name if ended.thread else "unknown"
            self.logger.error("thread %s ended: %s", name, _in_short(ended.exc_value))

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        about = unraisable.err_msg or "exception ignored"
        self.logger.error("%s: %s", about, _in_short(unraisable.exc_value))

    def _on_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG002
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        self.logger.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


class _OwnHandler(logging.Handler):
    """Logs the messages of the daemon's own devices."""

    def __init__(self, log: Callable[[Line], None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        trace = f"{logging.Formatter().formatException(record.exc_info)}\n" if record.exc_info else ""
        self._log(Line(record.levelname.lower(), record.getMessage(), int(record.created * 1000), trace))


class _LibraryHandler(logging.Handler):
    """Logs a library's warnings and errors as warnings, since the daemon continues after them."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        error = f": {_in_short(record.exc_info[1])}" if record.exc_info else ""
        self._logger.warning("%s: %s%s", record.name, record.getMessage(), error)


def _in_short(error: BaseException | None) -> str:
    """An exception in one line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _file_of(descriptor: int) -> str | None:
    """The path of the file that a descriptor writes to; None if it is not a file, or has no name."""
    try:
        status = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        return path if stat.S_ISREG(status.st_mode) and os.path.samestat(status, os.stat(path)) else None  # noqa: PTH116
    except OSError:
        return None


def not_a_log(path: Path) -> Unusable | None:
    """Why no log can be at a path; None if a file is there, or nothing. A directory above it may be closed."""
    unusable, other = not_a_file(path), "name another file in `log: file`"
    if unusable is None:
        return None
    if path.is_char_device() or path.is_block_device():
        # Nobody may move it away.
        return Unusable(unusable.message, f"{other}; without the key, the log goes to stderr")
    return Unusable(unusable.message, f"move it away, or {other}")


def _unwritable(path: str | None, error: OSError) -> str:
    remedy = FREE_ROOM if error.errno in FULL else "look for errors of its disk in the log of the kernel"
    return f"the log file {path} cannot be written: {error.strerror}; {remedy}"


def open_log_file(path: Path) -> int:
    """Opens the log file for appending, or creates it. Raises Unusable."""
    try:
        return _open_file(str(path), FILE_MODE)
    except OSError as error:
        if unusable := not_a_log(path):
            raise unusable from error
        cause = uncreatable(path, error)
        raise Unusable(f"cannot open the log file: {cause.message}", f"{cause.help}, or change `log: file`") from error


def _open_file(path: str, mode: int) -> int:
    """Opens a file for appending, or creates it with these permissions. Raises OSError, also for what is not a file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL)
        os.fchmod(file, mode)
    except FileExistsError:
        file = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return file


def _write(descriptor: int, text: bytes) -> tuple[int, OSError | None]:
    """Writes a text. Returns how many bytes could be written, and the error that prevented the others.

    Waits for a reader even if the descriptor does not block.
    """
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()
        except OSError as error:
            return len(text) - len(rest), error
    return len(text), None
