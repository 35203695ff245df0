"""The screen of one run: what happened, why, and the output, which the stream of the page continues."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from schedappliance.client.states import LIVE
from schedappliance.client.wire import quoted
from schedappliance.web.ansi import PLAIN, Style, paint
from schedappliance.web.feed import Row
from schedappliance.web.pages.look import Look
from schedappliance.web.rendering import address, run_href

# A page shows so much of an output; the rest is in the file that the viewer can download.
MOST_SHOWN = 1024 * 1024
# A line without end is cut after so many characters, so that it can be shown while it is written.
LONGEST_LINE = 65_536
FOLLOW_SECONDS = 0.5


@dataclass
class Reading:
    """How far an output is shown: the attempt, the byte after the last one, the number of lines, and the colour."""

    attempt: int | None = None
    at: int = 0
    lines: int = 0
    style: Style = PLAIN
    held: bytes = b""
    shown: int = 0
    is_over: bool = False

    def mark(self) -> str:
        """The place from which another stream can continue. What is held back is read again."""
        return f"{self.attempt or 0}-{self.at - len(self.held)}-{self.lines}"


def reading_from(mark: str) -> Reading:
    """The reading that a mark names; a new one if it is none."""
    words = mark.split("-")
    if len(words) != 3 or not all(word.isascii() and word.isdecimal() and len(word) < 16 for word in words):
        return Reading()
    attempt, at, lines = map(int, words)
    return Reading(attempt or None, at, lines)


def run_of(look: Look) -> str:
    return f"{look.part('job')}/{look.part('occurrence')}"


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    run = run_of(look)
    word = quoted(run)
    details = await look.data(f"sched show {word}")
    details.pop("output")
    reading = Reading(look.number("attempt"))
    may_read = await look.may(f"sched output {word}")
    html = await _parts(look, word, reading) if may_read else ""
    again = _again(look, details)
    stop = f"sched stop {word}"
    return {
        "run": details,
        "why": await look.data_if_allowed(f"sched why {word}"),
        "is_live": details["state"] in LIVE,
        "late_ms": None if details["started_ms"] is None else max(0, details["started_ms"] - details["due_ms"]),
        "may_read": may_read,
        "output": html,
        "reading": reading,
        "is_cut": reading.shown >= MOST_SHOWN,
        "attempts": [
            (
                f"Attempt {one['attempt']}",
                address(run_href(run), attempt=one["attempt"]),
                one["attempt"] == reading.attempt,
            )
            for one in details["attempts_made"]
        ],
        "download": address(f"{run_href(run)}/output", attempt=look.number("attempt")),
        "stream_address": address(run_href(run), attempt=look.number("attempt"), after=reading.mark()),
        "stop": stop,
        "again": again,
        "is_wrapped": look.query("wrap") != "no",
        "wrap_href": address(
            run_href(run), attempt=look.number("attempt"), wrap="no" if look.query("wrap") != "no" else ""
        ),
        "allowed": await look.allowed([stop, again]),
    }


def _again(look: Look, run: Row) -> str:
    """The command that runs the same again: the job, or the command of a job that is gone."""
    return f"sched run {quoted(run['id'])}" if run["id"] in look.feed.jobs else str(run["command"])


async def _parts(look: Look, word: str, reading: Reading) -> Markup:
    """The lines of the output up to its present end. Raises Error."""
    written, is_whole = bytearray(reading.held), False
    while reading.shown < MOST_SHOWN:
        attempt = f" attempt {reading.attempt}" if reading.attempt else ""
        part = await look.data(f"sched output {word}{attempt} from {reading.at} as base64")
        fresh = base64.b64decode(part["base64"])
        reading.attempt, reading.at = part["attempt"], part["next"]
        reading.shown += len(fresh)
        written += fresh
        if not fresh or part["next"] >= part["size"]:
            is_whole = part["ended"]
            reading.is_over = is_whole and part["state"] not in LIVE
            break
    return _painted(bytes(written), reading, is_whole or len(written) > LONGEST_LINE)


def _painted(written: bytes, reading: Reading, is_whole: bool) -> Markup:
    """The lines as HTML. Without `is_whole`, a line that has not ended is held back."""
    whole = written if is_whole else written[: written.rfind(b"\n") + 1]
    painted = paint(whole.decode(errors="replace"), reading.style, first_line=reading.lines + 1)
    reading.style, reading.lines = painted.style, reading.lines + painted.lines
    reading.held = painted.rest.encode() + written[len(whole) :]
    return painted.html


async def follow(look: Look, reading: Reading) -> tuple[str, bool]:
    """The lines that have been written since, and whether the run is over. Raises Error."""
    word = quoted(run_of(look))
    if reading.is_over or not await look.may(f"sched output {word}"):
        return "", True
    html = await _parts(look, word, reading)
    return html, reading.is_over


async def download(look: Look) -> Response:
    """The bytes of an output. Raises Error."""
    word, parts, at = quoted(run_of(look)), [], 0
    number = look.number("attempt")
    attempt = f" attempt {number}" if number else ""
    while True:
        part = await look.data(f"sched output {word}{attempt} from {at} as base64")
        parts.append(base64.b64decode(part["base64"]))
        at = part["next"]
        if not parts[-1] or at >= part["size"]:
            break
    name = run_of(look).replace("/", "-")
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in ".-_") else "_" for sign in name)
    headers = {"Content-Disposition": f'attachment; filename="{safe}.txt"'}
    return Response(b"".join(parts), media_type="text/plain; charset=utf-8", headers=headers)
