"""What a form means: which commands it gives, and where the viewer goes then."""

from __future__ import annotations

import pytest

from schedappliance.web.messages import Answer, Messages
from schedappliance.web.pages import actions
from schedappliance.web.pages.run import Reading, _painted, reading_from
from schedappliance.web.pages.runs import _cells
from schedappliance.web.viewer import Viewer

ALICE, BOB = (Viewer(name, None, "socket") for name in ("alice", "bob"))


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"line": ["sched pause a"]}, ["sched pause a"]),
        ({"verb": ["pause"], "id": ["a", "b c"]}, ["sched pause a", 'sched pause "b c"']),
        ({"verb": ["delete"], "id": ["a"]}, []),
        ({"verb": ["hold"], "duration": ["2h"], "reason": ["new disks"]}, ['sched hold for 2h "new disks"']),
        ({"verb": ["hold"], "duration": [""], "reason": ["for"]}, ['sched hold "for"']),
        ({"verb": ["hold"]}, ["sched hold"]),
        ({}, []),
    ],
)
def test_the_commands_of_a_form(fields: dict[str, list[str]], lines: list[str]) -> None:
    assert actions._lines(fields) == lines


@pytest.mark.parametrize("line", ["sched run a", "RUN hello", "sched every 1h run hello", "spool retry x"])
def test_a_command_that_the_page_gives(line: str) -> None:
    assert actions._is_action(line)


@pytest.mark.parametrize(
    "line", ["", "shutdown", "config set a 1", "sched run a\nshutdown", "json sched run a", "sched"]
)
def test_a_command_that_the_page_does_not_give(line: str) -> None:
    assert not actions._is_action(line)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/jobs?show=off", "/jobs?show=off"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("/" + "a" * 3000, "/"),
        ("", "/"),
    ],
)
def test_a_redirection_leads_to_this_page(text: str, address: str) -> None:
    assert actions.own_address(text) == address


def test_a_message_is_shown_once_and_to_its_viewer_only() -> None:
    messages, answer = Messages(), Answer(False, "sched pause a", "Done.")
    key = messages.put(ALICE, answer)
    assert messages.take(BOB, key) is None
    assert messages.take(ALICE, key) == answer
    assert messages.take(ALICE, key) is None


def test_many_commands_have_one_answer() -> None:
    good, bad = Answer(False, "sched pause a", "Done."), Answer(True, "sched pause b", "no such job")
    assert actions._together([good, good]) == Answer(False, "", "2 commands carried out.")
    assert actions._together([good, bad]) == Answer(
        True, "", "1 command carried out, 1 not.", ("sched pause b: no such job",)
    )


def test_a_cell_of_a_table_is_no_formula() -> None:
    row = dict.fromkeys(("name", "program", "user", "origin", "state", "reason", "due_ms", "claimed_ms"))
    row |= dict.fromkeys(("started_ms", "ended_ms", "exit_status", "exit_signal", "attempts", "cpu_ms"))
    cells = _cells(row | {"run": "a-1/1", "command": "=1+1", "memory_bytes": 5, "missed": None})
    assert cells[:3] == ["a-1/1", None, "'=1+1"] and cells[-2:] == [5, None]


def test_a_line_of_an_output_is_held_back_until_it_has_ended() -> None:
    reading = Reading(1, 12)
    assert _painted(b"\x1b[31mone\ntwo", reading, False) == '<li id="L1"><span class="fg1">one</span></li>'
    assert reading.held == b"two" and reading.mark() == "1-9-1"
    assert _painted(b"two", reading, True) == '<li id="L2"><span class="fg1">two</span></li>'


def test_a_mark_says_where_an_output_continues() -> None:
    assert reading_from("2-4711-30") == Reading(2, 4711, 30)
    assert reading_from("0-0-0") == Reading()
    for text in ("", "1-2", "1-x-3", "1-2-3-4", "1--3", f"1-{'9' * 20}-3"):
        assert reading_from(text) == Reading(), text
