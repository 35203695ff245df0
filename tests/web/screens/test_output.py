"""The output of a run: line by line, up to a limit, and as a file."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schedappliance.client.errors import Unavailable
from schedappliance.web.rendering.ansi import Style
from schedappliance.web.screens import run
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.run import Reading, _painted, reading_from


class Appliance:
    """A run whose attempts have written this. A part of an output has four bytes at most."""

    def __init__(self, *attempts: bytes, state: str = "succeeded", is_stream: bool = False) -> None:
        self.attempts, self.state, self.is_stream = attempts, state, is_stream
        self.lines: list[str] = []
        self.command = "run a"
        self.feed = SimpleNamespace(jobs={}, has_more_jobs=False)

    def part(self, name: str) -> str:
        return {"job": "a-000000001", "occurrence": "7"}[name]

    def query(self, _name: str) -> str:
        return ""

    def number(self, _name: str) -> int | None:
        return None

    async def may(self, _line: str) -> bool:
        return True

    async def allowed(self, lines: Iterable[str]) -> frozenset[str]:
        return frozenset(lines)

    async def data_if_allowed(self, _line: str) -> None:
        return None

    async def details(self, line: str) -> Any:
        return await self.data(f"{line} output none")

    async def data(self, line: str) -> Any:
        self.lines.append(line)
        if line.startswith("sched show "):
            attempts = [{"attempt": number} for number in range(1, len(self.attempts) + 1)]
            details = {"id": "a-000000001", "command": self.command, "started_ms": None, "due_ms": 0}
            return details | {"state": self.state, "attempts_made": attempts}
        words = line.split()
        number = int(words[4]) if words[3] == "attempt" else len(self.attempts)
        begin = int(words[words.index("from") + 1])
        output = self.attempts[number - 1] if number else b""
        text = output[begin : begin + 4]
        return {
            "attempt": number or None,
            "next": begin + len(text),
            "size": len(output),
            "ended": self.state != "started" or number < len(self.attempts),
            "state": self.state,
            "attempts": len(self.attempts),
            "base64": b64encode(text).decode(),
        }


def more(appliance: Appliance, reading: Reading) -> str:
    return str(asyncio.run(run.follow(cast(Look, appliance), reading)))


def test_what_has_come_before_a_part_without_answer_is_shown_with_the_next_one() -> None:
    class Breaks(Appliance):
        async def data(self, line: str) -> Any:
            if " from 4 " in line:
                raise Unavailable("no answer", unanswered=True)
            return await super().data(line)

    reading = Reading()
    with pytest.raises(Unavailable):
        more(Breaks(b"one\ntwo\n"), reading)
    assert reading.position() == "1-0-0-"
    assert more(Appliance(b"one\ntwo\n"), reading) == '<li id="L1">one</li><li id="L2">two</li>'


def test_the_lines_up_to_the_present_end_are_shown() -> None:
    reading = Reading()
    assert more(Appliance(b"one\ntwo\nthr", state="started"), reading) == '<li id="L1">one</li><li id="L2">two</li>'
    assert (reading.attempt, reading.unfinished, reading.is_over) == (1, b"thr", False)
    assert more(Appliance(b"one\ntwo\nthree\n"), reading) == '<li id="L3">three</li>'
    assert reading.is_over


def test_an_output_beyond_the_limit_ends_with_a_link_and_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_SHOWN", 8)
    reading, long = Reading(), Appliance(b"one\ntwo\x1bthree\n" * 9, state="started")
    lines = more(long, reading)
    assert lines.count('<li class="rest">') == 1 and 'href="/runs/a-000000001/7/output?attempt=1"' in lines
    assert reading.is_over
    continued = reading_from(reading.position())
    assert more(long, continued) == "" and continued.is_over


def test_a_later_attempt_is_noticed() -> None:
    reading = Reading()
    assert more(Appliance(b"one\n", state="started"), reading) == '<li id="L1">one</li>'
    assert not reading.is_earlier
    assert more(Appliance(b"one\n", b"again\n", state="started"), reading) == ""
    assert reading.is_earlier


def test_a_run_without_attempts_has_no_output_yet() -> None:
    reading = Reading()
    assert more(Appliance(state="queued"), reading) == ""
    assert more(Appliance(b"one\n", state="started"), reading_from(reading.position())) == '<li id="L1">one</li>'


def test_a_download_has_every_byte_of_the_last_attempt() -> None:
    async def download() -> bytes:
        response: Any = await run.download(cast(Look, Appliance(b"old", b"0123456789")))
        assert response.headers["content-disposition"] == 'attachment; filename="a-000000001-7.txt"'
        return b"".join([part async for part in response.body_iterator])

    assert asyncio.run(download()) == b"0123456789"


@pytest.mark.parametrize(("command", "has_button"), [("run a", True), ("config set a 1", False)])
def test_a_button_gives_only_what_the_page_carries_out(command: str, has_button: bool) -> None:
    appliance = Appliance(b"")
    appliance.command = command
    assert (command in asyncio.run(run.collect(cast(Look, appliance)))["allowed"]) is has_button


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_number_of_no_attempt_shows_the_last_one(is_stream: bool) -> None:
    class Asked(Appliance):
        def number(self, _name: str) -> int | None:
            return 99

    values = asyncio.run(run.collect(cast(Look, Asked(b"old\n", b"one\n", is_stream=is_stream))))
    assert values["attempts"][-1] == ("Attempt 2", "/runs/a-000000001/7?attempt=2", True)
    assert bool(values["output"]) is not is_stream


def test_only_the_page_reads_the_whole_output() -> None:
    """The parts of the page that a stream sends are made each second."""
    for is_stream in (False, True):
        appliance = Appliance(b"one\n", is_stream=is_stream)
        values = asyncio.run(run.collect(cast(Look, appliance)))
        assert bool(values["output"]) is not is_stream
        assert any(line.startswith("sched output") for line in appliance.lines) is not is_stream
        assert values["attempts"] == [("Attempt 1", "/runs/a-000000001/7?attempt=1", True)]


def test_a_line_of_an_output_is_shown_when_it_has_ended() -> None:
    reading = Reading(1, 12)
    assert _painted(b"\x1b[31mone\ntwo", reading, False) == '<li id="L1"><span class="fg1">one</span></li>'
    assert reading.unfinished == b"two" and reading.position() == "1-9-1-31"
    assert _painted(b"two", reading, True) == '<li id="L2"><span class="fg1">two</span></li>'


def test_a_mark_says_where_an_output_continues() -> None:
    assert reading_from("2-4711-30-") == Reading(2, 4711, 30)
    assert reading_from("2-4711-30-1_91") == Reading(2, 4711, 30, Style(colour=9, bold=True))
    assert reading_from("0-0-0-") == Reading()
    for text in ("", "1-2", "1-2-3", "1-x-3-", "1-2-3-4-5", "1--3-", f"1-{'9' * 20}-3-"):
        assert reading_from(text) == Reading(), text


def test_a_colour_goes_on_where_a_stream_continues() -> None:
    """The page and its stream read an output one after the other."""
    reading = Reading()
    more(Appliance(b"\x1b[31mone\n", state="started"), reading)
    continued = reading_from(reading.position())
    assert more(Appliance(b"\x1b[31mone\ntwo\n"), continued) == '<li id="L2"><span class="fg1">two</span></li>'
