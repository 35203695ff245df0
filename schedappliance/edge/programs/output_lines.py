"""Passes the lines that programs write on to the log, while they run (`log: programs`).

Rule: it runs on the collector. A long line is cut. Where too many lines come at once, the log names what is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schedappliance.diagnostics import counted
from schedappliance.edge.log import Line

if TYPE_CHECKING:
    from schedappliance.clock import Clock
    from schedappliance.engine.output_parts import OutputPart
    from schedappliance.engine.records import AttemptKey

# In one second. The log queues 10,000 lines, so the lines of programs leave room for all others.
MOST_LINES, MOST_OF_PROGRAM = 1000, 250
LONGEST_LINE = 1000
# The most bytes of one program that are read at once. The rest is left out.
READ_BYTES = 1024 * 1024


@dataclass(slots=True)
class OutputLines:
    """How much of the output of an attempt was passed on. `fields`: of its lines in the log."""

    fields: tuple[tuple[str, Any], ...]
    # How many bytes were read.
    read_bytes: int = 0
    # The last of them is inside a line that was logged or left out, so the rest of this line is skipped.
    is_in_line: bool = False

    @property
    def head(self) -> str:
        """The text before a line in a log in text."""
        values = dict(self.fields)
        return f"run {values['run']} ({values.get('job_name') or values['program']}): "

    def split(self, content: bytes, is_end: bool) -> tuple[list[bytes], int]:
        """The lines in the next part of the output, and the size of an unfinished line at its end, which is not logged yet."""
        *lines, rest = content.split(b"\n")
        # The rest waits for its line end, unless there is none to come, or it is too long, or only the rest of a line.
        is_taken = bool(rest) and (is_end or self.is_in_line or len(rest) > LONGEST_LINE)
        if is_taken:
            lines.append(rest)
        if lines and self.is_in_line:
            del lines[0]
        unfinished = 0 if is_taken else len(rest)
        if taken_bytes := content[: len(content) - unfinished]:
            self.is_in_line = not taken_bytes.endswith(b"\n")
        return lines, unfinished


class OutputLog:
    """Reads the outputs of running programs. `part`: as `Outputs.part`. `log` takes lines from any thread."""

    def __init__(
        self,
        part: Callable[[AttemptKey, int, int, int | None], OutputPart],
        log: Callable[[list[Line]], None],
        clock: Clock,
    ) -> None:
        self._part, self._log, self._clock = part, log, clock
        self._second, self._room = -1, 0

    def pass_on(self, key: AttemptKey, lines: OutputLines, inode: int | None, is_end: bool = False) -> None:
        """Logs what a program has written since the last call.

        `is_end`: it has ended, so an unfinished line is logged too.
        """
        try:
            part = self._part(key, lines.read_bytes, READ_BYTES, inode)
        except OSError:
            # The end of the run reports an output that cannot be read.
            return
        is_cut = part.next < part.size
        contents, unfinished = lines.split(part.content, is_end or is_cut)
        lines.read_bytes = part.size if is_cut else part.next - unfinished
        lines.is_in_line |= is_cut
        moment = self._clock.moment()
        most = self._reserve(len(contents))
        texts = [_text(content) for content in contents[:most]]
        if omission := _left_out(len(contents) - most, part.size - part.next):
            texts.append(omission)
        if texts:
            self._log([Line("info", text, moment.wall, fields=lines.fields, head=lines.head) for text in texts])

    def _reserve(self, count: int) -> int:
        """How many of these lines may be logged in this second."""
        second = self._clock.moment().boot // 1000
        if second != self._second:
            self._second, self._room = second, MOST_LINES
        most = min(count, MOST_OF_PROGRAM, self._room)
        self._room -= most
        return most


def _text(line: bytes) -> str:
    text = line[:LONGEST_LINE].removesuffix(b"\r").decode(errors="replace")
    omitted = len(line) - LONGEST_LINE
    return f"{text} [... {counted(omitted, 'byte')} left out ...]" if omitted > 0 else text


def _left_out(lines: int, size: int) -> str | None:
    parts = [counted(number, unit) for number, unit in ((lines, "line"), (size, "byte")) if number]
    return f"[... {' and '.join(parts)} left out ...]" if parts else None
