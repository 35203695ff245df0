"""`schedappliance top`: a screen that shows what runs, waits, failed and is next, drawn again when something happens.

Rule: `watch` says when to ask; the clock alone only moves the durations. The terminal is restored in every case.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

from schedappliance.cli import asking, tables
from schedappliance.cli.asking import asking_parser, data_of, print_json
from schedappliance.cli.errors import FAILED, OK, UNAVAILABLE, Failure, print_note
from schedappliance.cli.following import Follower, follower_of
from schedappliance.cli.status import facts_of, head_of, lines_of, tables_of
from schedappliance.client.wire import quoted
from schedappliance.clock import SystemClock
from schedappliance.visible import visible, width_of, write_as_is

DESCRIPTION = """\
Show what runs, what waits, what failed lately and what is due next, and draw it
again when it changes. Keys: up and down choose a row, s stops its run, p pauses
its job or resumes it, q quits. Without a terminal, or with --once, print the
screen once."""
# How often durations are drawn, and how soon after a change the appliance is asked again.
TICK_MS, SETTLE_MS = 1000, 1000
# A screen is asked for again after this time in any case: failures grow older than a day.
OLD_MS = 60_000
FAILURES_COUNTED = 100
UP, DOWN = ("\x1b[A", "\x1bOA", "k"), ("\x1b[B", "\x1bOB", "j")
ENTER = "\x1b[?1049h\x1b[?25l"
LEAVE = "\x1b[?25h\x1b[?1049l"


_PARTS = re.compile("\x1b\\[[0-9;]*m|.", re.DOTALL)


class Chosen(NamedTuple):
    """The object of a row: its run, None if it has none, and its job."""

    run: str | None
    job: str


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    top = asking_parser("top", DESCRIPTION, asking.STATUSES)
    top.add_argument("--once", action="store_true", help="print the screen once")
    return top.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    once = options.once or options.json or not (sys.stdin.isatty() and sys.stdout.isatty())
    if not once and os.environ.get("TERM", "dumb") == "dumb":
        print_note("this terminal cannot update a screen, so the screen is shown once")
        once = True
    with follower_of(options) as follower:
        # What happens after the first answer must be an event.
        follower.watch.begin()
        top = Top(follower)
        top.ask()
        if top.facts is None:
            raise Failure(top.trouble, UNAVAILABLE)
        if not once:
            with _screen():
                return top.follow()
    if options.json:
        print_json({name: value for name, value in top.facts.items() if name != "most"})
    else:
        tables.show(list(lines_of(top.facts, top.wall())))
    return OK if top.facts["health"]["ready"] else FAILED


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Takes the terminal, and gives it back as it was, even after a signal that ends the program."""
    before = termios.tcgetattr(0)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A stopped program would leave the terminal as it is.
    handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        tty.setcbreak(0)
        mode = termios.tcgetattr(0)
        mode[6][termios.VMIN] = 0
        termios.tcsetattr(0, termios.TCSANOW, mode)
        write_as_is(sys.stdout, ENTER)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)
        write_as_is(sys.stdout, LEAVE)
        sys.stdout.flush()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class Top:
    """The screen: what the appliance answered last, the chosen row, and what the last key did."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._clock = SystemClock()
        self.facts: dict[str, Any] | None = None
        self.trouble = ""
        self._message = ""
        self._chosen: Chosen | None = None
        self._rows: list[Chosen] = []
        # The run whose stop waits for a confirmation.
        self._to_stop: str | None = None
        self._asked_ms = 0

    def wall(self) -> int:
        return self._clock.moment().wall

    def ask(self) -> None:
        """Asks for all facts. Raises Failure if a command is rejected."""
        self._asked_ms = self._follower.now()
        try:
            self.facts = facts_of(self._follower.session, FAILURES_COUNTED)
            self.trouble = ""
        except Failure as failure:
            if failure.status != UNAVAILABLE:
                raise
            self._follower.session.close()
            self.trouble = self.trouble or f"since {tables.time_text(self.wall())}: {failure}"

    def follow(self) -> int:
        """Draws until a key ends it; the exit status."""
        is_stale = False
        while True:
            age = self._follower.now() - self._asked_ms
            if age >= (SETTLE_MS if is_stale or self.trouble else OLD_MS):
                self.ask()
                is_stale = False
            size = tables.screen_size()
            lines = self.lines(size.columns, size.lines)
            write_as_is(sys.stdout, "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines[:-1]) + lines[-1] + "\x1b[J")
            sys.stdout.flush()
            is_stale |= bool(self._follower.watch.wait(TICK_MS, (sys.stdin,)))
            is_stale |= not self._follower.watch.is_allowed
            keys = os.read(0, 64).decode(errors="replace")
            if keys and self.press(keys):
                return OK
            # An action shows at once what it changed.
            if keys and self._message:
                self._asked_ms -= SETTLE_MS
                is_stale = True

    def press(self, key: str) -> bool:
        """Does what a key asks for. Returns whether it ends the program."""
        run, self._to_stop, self._message = self._to_stop, None, ""
        if run is not None:
            self._message = self._do(f"sched stop {run}", f"{run}: stopped") if key == "y" else "not stopped"
            return False
        if key in UP or key in DOWN:
            self._choose(1 if key in DOWN else -1)
        elif key == "s" and self._chosen is not None and self._chosen.run is not None:
            self._to_stop = self._chosen.run
        elif key == "p" and self._chosen is not None:
            job, paused = self._chosen.job, {one["id"] for one in (self.facts or {})["next"] if one["paused"]}
            verb = "resume" if job in paused else "pause"
            self._message = self._do(f"sched {verb} {quoted(job)}", f"{job}: {verb}d")
        return key == "q"

    def _do(self, line: str, done: str) -> str:
        try:
            data_of(self._follower.session, line)
        except Failure as failure:
            return f"error: {failure}"
        return done

    def _choose(self, step: int) -> None:
        if self._rows:
            at = self._rows.index(self._chosen) if self._chosen in self._rows else -1 if step > 0 else 0
            self._chosen = self._rows[(at + step) % len(self._rows)]

    def lines(self, width: int, height: int) -> list[str]:
        """The lines of the screen, at most `height`, none wider than `width`."""
        assert self.facts is not None
        head = [visible(f"not connected {self.trouble}")] if self.trouble else []
        head += head_of(self.facts)
        parts = list(tables_of(self.facts, self.wall(), self._follower.now() - self._asked_ms))
        # Each table has an empty line and a head, and perhaps a line for the rest. The last line is for keys.
        most = max(1, (height - len(head) - 1) // max(1, len(parts)) - 3)
        rows: list[Chosen] = []
        lines = [_cut(line, width) for line in head]
        for columns, cells, objects in parts:
            first, *others = tables.table(columns, cells[:most])
            lines += ["", _cut(f"  {first}", width)]
            for text, one in zip(others, objects, strict=False):
                row = Chosen(one.get("run") if one.get("state") in ("started", "queued") else None, one["id"])
                rows.append(row)
                lines.append(_cut(f"{'>' if row == self._chosen else ' '} {text}", width))
            if len(cells) > len(others):
                lines.append(_cut(f"  and {len(cells) - len(others)} more", width))
        self._rows = rows
        foot = f"stop run {self._to_stop}? y/n" if self._to_stop else self._message
        foot = foot or "q quit  up/down choose  s stop  p pause/resume"
        return [*lines[: max(0, height - 1)], _cut(visible(foot), width)]


def _cut(text: str, width: int) -> str:
    """A line that is not wider than the terminal. Colours take no room."""
    parts, left = [], width
    for part in _PARTS.findall(text):
        if part.startswith("\x1b"):
            parts.append(part)
        elif width_of(part) <= left:
            parts.append(part)
            left -= width_of(part)
        else:
            # Colours that follow must still end.
            left = 0
    return "".join(parts)
