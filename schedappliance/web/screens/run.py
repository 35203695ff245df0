"""The screen of one run: what happened, why, and the output, which the stream of the page continues."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from schedappliance.client.states import LIVE
from schedappliance.client.wire import quoted
from schedappliance.web.appliance.feed import Row
from schedappliance.web.rendering.addresses import address, run_href
from schedappliance.web.rendering.ansi import PLAIN, Style, paint, style_of
from schedappliance.web.screens.actions import is_action
from schedappliance.web.screens.attachments import attachment
from schedappliance.web.screens.look import Look

# A page shows so many bytes of an output; the rest is in the file that the viewer can download.
MOST_SHOWN = 1024 * 1024
# A line without end is cut after so many bytes, so that it can be shown while it is written.
LONGEST_LINE = 65_536
FOLLOW_SECONDS = 0.5


@dataclass
class Reading:
    """How far an output is shown: the attempt, the byte after the last one, the number of lines, and the colour.

    `unfinished`: the bytes of a line that has not ended. `is_over`: nothing more is to be shown. `is_earlier`: there is a
    later attempt.
    """

    attempt: int | None = None
    at: int = 0
    lines: int = 0
    style: Style = PLAIN
    unfinished: bytes = b""
    is_over: bool = False
    is_earlier: bool = False

    def position(self) -> str:
        """From where another stream can continue. An unfinished line is read again."""
        return f"{self.attempt or 0}-{self.at - len(self.unfinished)}-{self.lines}-{self.style.codes()}"


def reading_from(position: str) -> Reading:
    """The reading at a position; a new one if it is none."""
    *words, codes = position.split("-")
    if len(words) != 3 or not all(word.isascii() and word.isdecimal() and len(word) < 16 for word in words):
        return Reading()
    attempt, at, lines = map(int, words)
    return Reading(attempt or None, at, lines, style_of(codes))


def run_of(look: Look) -> str:
    return f"{look.part('job')}/{look.part('occurrence')}"


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    run = run_of(look)
    word = quoted(run)
    details = await look.details(f"sched show {word}")
    numbers = [one["attempt"] for one in details["attempts_made"]]
    # A number of no attempt stands for the last one: only the page would fail, and its stream would load it for ever.
    attempt = chosen if (chosen := look.number("attempt")) in numbers else None
    may_read = await look.may(f"sched output {word}")
    reading = Reading(attempt)
    # A stream sends only what is added to the output, and does that itself.
    output = await read_more(look, reading) if may_read and not look.is_stream else Markup("")
    stop, again = f"sched stop {word}", await _again(look, details)
    is_wrapped = look.query("wrap") != "no"
    return {
        "run": details,
        "why": await look.data_if_allowed(f"sched why {word}"),
        "is_live": details["state"] in LIVE,
        "late_ms": None if details["started_ms"] is None else max(0, details["started_ms"] - details["due_ms"]),
        "may_read": may_read,
        "output": output,
        "attempts": _attempts(run, numbers, attempt),
        "download": address(f"{run_href(run)}/output", attempt=attempt),
        "stream_address": address(run_href(run), attempt=attempt, position=reading.position()),
        "stop": stop,
        "again": again,
        "is_wrapped": is_wrapped,
        "wrap_href": address(run_href(run), attempt=attempt, wrap="no" if is_wrapped else ""),
        "allowed": await look.allowed(filter(is_action, (stop, again))),
    }


def _attempts(run: str, numbers: list[int], chosen: int | None) -> list[tuple[str, str, bool]]:
    """A tab for each attempt: its label, its address, and whether it is shown. Without a choice, that is the last one."""
    shown = chosen or max(numbers, default=None)
    return [(f"Attempt {number}", address(run_href(run), attempt=number), number == shown) for number in numbers]


async def _again(look: Look, run: Row) -> str:
    """The command that runs the same again: the job, or the command of a job that is gone. Raises Unavailable."""
    is_known = run["id"] in look.feed.jobs or look.feed.has_more_jobs
    return await look.line("run", run) if is_known else str(run["command"])


async def _part(look: Look, attempt: int | None, at: int) -> tuple[Row, bytes]:
    """The part of the output that begins at a byte, and its bytes. Raises Error."""
    of_attempt = f" attempt {attempt}" if attempt else ""
    part = await look.data(f"sched output {quoted(run_of(look))}{of_attempt} from {at} as base64")
    return part, base64.b64decode(part["base64"])


async def read_more(look: Look, reading: Reading) -> Markup:
    """The further lines of the output, up to its present end or to the limit. Raises Error."""
    written, is_whole = bytearray(reading.unfinished), False
    while not reading.is_over and reading.at < MOST_SHOWN:
        part, fresh = await _part(look, reading.attempt, reading.at)
        reading.attempt, reading.at = part["attempt"], part["next"]
        written += fresh
        # Without the next part, these bytes are shown when it comes.
        reading.unfinished = bytes(written)
        if not fresh or part["next"] >= part["size"]:
            is_whole = part["ended"]
            reading.is_earlier = is_whole and (part["attempt"] or 0) < part["attempts"]
            reading.is_over = is_whole and part["state"] not in LIVE
            return _painted(bytes(written), reading, is_whole or len(written) > LONGEST_LINE)
    if reading.is_over or not written:
        reading.is_over = True
        return Markup("")
    lines = _painted(bytes(written), reading, True)
    reading.is_over, reading.unfinished = True, b""
    return lines + _REST.format(address(f"{run_href(run_of(look))}/output", attempt=reading.attempt))


_REST = Markup('<li class="rest">The output is longer. <a href="{}">Download it</a> to see the rest.</li>')


def _painted(written: bytes, reading: Reading, is_whole: bool) -> Markup:
    """The lines as HTML. Without `is_whole`, a line that has not ended is left for later."""
    whole = written if is_whole else written[: written.rfind(b"\n") + 1]
    painted = paint(whole.decode(errors="replace"), reading.style, first_line=reading.lines + 1)
    reading.style, reading.lines = painted.style, reading.lines + painted.lines
    reading.unfinished = painted.rest.encode() + written[len(whole) :]
    return painted.html


async def follow(look: Look, reading: Reading) -> Markup:
    """The lines that have been written since. Raises Error."""
    if not await look.may(f"sched output {quoted(run_of(look))}"):
        reading.is_over = True
    return await read_more(look, reading)


async def download(look: Look) -> Response:
    """The bytes of an output. Raises Error."""
    name = run_of(look).replace("/", "-")
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in ".-_") else "_" for sign in name)
    return await attachment(f"{safe}.txt", "text/plain; charset=utf-8", _whole(look))


async def _whole(look: Look) -> AsyncIterator[bytes]:
    """All bytes that were written when the download began. A program may write for ever. Raises Error."""
    part, fresh = await _part(look, look.number("attempt"), 0)
    end = part["size"]
    yield fresh
    while fresh and part["next"] < end:
        part, fresh = await _part(look, part["attempt"], part["next"])
        yield fresh
