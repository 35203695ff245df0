"""What a form means: which commands it gives, and where the viewer goes then."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from schedappliance.web.access.viewer import Viewer
from schedappliance.web.screens import actions
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.messages import Answer, Messages

ALICE, BOB = (Viewer(name, None, "socket") for name in ("alice", "bob"))


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"line": ["sched pause a"]}, ["sched pause a"]),
        ({"verb": ["pause"], "id": ["a", "b c"]}, ["sched pause a", 'sched pause "b c"']),
        ({"verb": ["pause"], "id": ["--all"]}, ['sched pause "--all"']),
        ({"verb": ["delete"], "id": ["a"]}, []),
        ({"verb": ["hold"], "duration": ["2h"], "reason": ["new disks"]}, ['sched hold for 2h "new disks"']),
        ({"verb": ["hold"], "reason": ["disks"]}, ["sched hold disks"]),
        ({"verb": ["hold"]}, ["sched hold"]),
        ({}, []),
    ],
)
def test_the_commands_of_a_form(fields: dict[str, list[str]], lines: list[str]) -> None:
    assert actions._lines(fields) == lines


@pytest.mark.parametrize("line", ["sched run a", "RUN hello", "sched every 1h run hello", "spool retry x"])
def test_a_command_that_the_page_gives(line: str) -> None:
    assert actions.is_action(line)


@pytest.mark.parametrize(
    "line", ["", "shutdown", "config set a 1", "sched run a\nshutdown", "json sched run a", "sched"]
)
def test_a_command_that_the_page_does_not_give(line: str) -> None:
    assert not actions.is_action(line)


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


@pytest.mark.parametrize(
    ("line", "head", "shown"),
    [
        ("sched stop a-1/1", "Stop this run?", "sched stop a-1/1"),
        ("sched hold", "Hold the appliance?", "sched hold"),
        ("shutdown", "There is nothing to confirm", ""),
        ("run hello", "There is nothing to confirm", ""),
        ("", "There is nothing to confirm", ""),
    ],
)
def test_only_what_the_page_asks_about_can_be_confirmed(line: str, head: str, shown: str) -> None:
    """A link from elsewhere must not put a command of its choice before a viewer."""
    look = cast(Look, SimpleNamespace(query={"line": line, "next": "/jobs"}.__getitem__))
    values = asyncio.run(actions.confirm(look))
    assert (values["head"], values["line"], values["next"]) == (head, shown, "/jobs")
