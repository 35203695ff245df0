"""The children that make previews: shared, bounded, and ended with the daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.clock import SystemClock
from schedappliance.edge import previews
from schedappliance.edge.loop import Loop
from schedappliance.edge.previews import MOST_OF_ALL, MOST_OF_USER, Previews
from schedappliance.edge.threads import Inbox, Worker
from schedappliance.engine.effects import MakePreview
from schedappliance.engine.events import PreviewMade

ROOT, GUEST, OTHER = 0, 1001, 1002
# A report on mistakes in stanza files. Warnings and notes may come before the error.
REPORT = """\
note: x
warning[W1]: odd
  --> /etc/a.conf:1:1
  help: none

error[E1]: wrong: x
   --> /etc/x.conf:3:1
    |
  3 | x --> y
    | ^
  help: mend it
error[E2]: more
  --> /etc/y.conf:1:1
  help: another
"""


class Scripted(Previews):
    """Previews whose child is a shell script in place of the real command."""

    script = "echo $$; echo 'note: it is held' >&2"
    # The script for requests with this stamp.
    special: tuple[int, str] = -1, ""

    def _command(self, wanted: MakePreview) -> list[str]:
        stamp, script = self.special
        return ["/bin/sh", "-c", script if stamp == wanted.stamp[1] else self.script]


@pytest.fixture
def made() -> Iterator[Scripted]:
    loop = Loop(SystemClock(), Inbox())
    workers = Worker("own previews", loop.inbox), Worker("previews", loop.inbox)
    device = Scripted(Path("/x"), None, loop, workers, trusted=frozenset({ROOT}))
    yield device
    device.close()
    for worker in workers:
        worker.close()
    loop.close()


def ask(device: Scripted, *numbers: int, stamp: int = 0, uid: int = GUEST) -> None:
    for number in numbers:
        device.make(MakePreview(number, uid, 1000, 5, None, False, (0, stamp)))


def answers(device: Scripted, number: int) -> list[PreviewMade]:
    """The next events, as the loop passes them to the core."""
    events: list[PreviewMade] = []
    while len(events) < number:
        events += [event for event in device.loop.wait(None, None)[0] if isinstance(event, PreviewMade)]
    return events


def test_equal_requests_share_a_child_until_something_changes(made: Scripted) -> None:
    ask(made, 1, 2)
    first, second = answers(made, 2)
    assert (first.reply_to, second.reply_to, first.note) == (1, 2, "it is held")
    assert first.text == second.text
    ask(made, 3)
    ask(made, 4, stamp=1)
    again, other = answers(made, 2)
    assert again.text == first.text
    assert other.text != first.text


def test_a_child_that_takes_too_long_is_ended(made: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "DEADLINE_MS", 10)
    made.script = "exec sleep 1000"
    ask(made, 1)
    (event,) = answers(made, 1)
    assert event.problem is not None and event.problem.startswith("it took longer than")
    assert event.remedy == "give a shorter time or a smaller limit"


def test_a_child_that_takes_too_much_processor_time_is_ended(made: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "CPU_SECONDS", 1)
    made.script = "while :; do :; done"
    ask(made, 1)
    (event,) = answers(made, 1)
    assert event.problem == "it took more than 1 seconds of processor time"


def test_a_child_gives_way_to_the_daemon_whatever_its_nice_value_is(
    made: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    nice: list[int] = []
    monkeypatch.setattr(os, "getpriority", lambda *_: 12)
    monkeypatch.setattr(os, "setpriority", lambda _which, _pid, value: nice.append(value))
    ask(made, 1)
    assert [event.problem for event in answers(made, 1)] == [None]
    assert nice == [12 + previews.NICE]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exec yes", "its rows are longer than 1,048,576 bytes"),
        ("echo 'note: x' >&2; echo 'error: no file; make one' >&2; exit 78", "no file; make one"),
        (f"printf '%s' '{REPORT}' >&2; exit 78", "/etc/x.conf:3:1: E1 wrong: x; mend it"),
        ("echo 'error[E2]: bad' >&2; echo '  --> /etc/x' >&2; exit 78", "/etc/x: E2 bad"),
        ("printf 'Traceback:\n  at x\nTypeError: y\n' >&2; exit 1", "TypeError: y"),
        ("exit 3", "its process failed"),
        ("kill -9 $$", "its process was ended by signal 9"),
    ],
)
def test_a_child_that_fails_is_a_problem_that_is_not_kept(made: Scripted, script: str, problem: str) -> None:
    made.script = script
    ask(made, 1)
    (event,) = answers(made, 1)
    assert event.problem == problem
    made.script = "echo well"
    ask(made, 2)
    (event,) = answers(made, 1)
    assert (event.text, event.problem) == ("well\n", None)


@pytest.mark.parametrize(("store", "source"), [(None, ["--config", "/x"]), (Path("/s"), ["--store", "/s"])])
def test_a_child_reads_the_accepted_files_if_a_store_keeps_them(
    made: Scripted, store: Path | None, source: list[str]
) -> None:
    made.store = store
    words = Previews._command(made, MakePreview(1, GUEST, 90_000, 5, "j", True, (0, 0)))
    words = words[words.index("preview") + 1 :]
    assert words == [*source, "--for", "90", "--limit", "5", "--format", "json", "--job=j"]


def test_a_user_waits_for_few_previews_and_none_is_left_at_the_end(made: Scripted) -> None:
    made.script = "exec sleep 1000"
    for number in range(MOST_OF_USER + 1):
        ask(made, number, stamp=number)
    (event,) = answers(made, 1)
    assert (event.reply_to, event.problem) == (MOST_OF_USER, f"{MOST_OF_USER} others of this user are being made")
    made.close()
    assert all(event.problem is not None for event in answers(made, MOST_OF_USER))


def test_all_users_wait_for_few_previews(made: Scripted) -> None:
    made.script = "exec sleep 1000"
    for number in range(MOST_OF_ALL + 1):
        ask(made, number, stamp=number, uid=GUEST + number)
    (event,) = answers(made, 1)
    assert (event.reply_to, event.problem) == (MOST_OF_ALL, f"{MOST_OF_ALL} others are being made")
    ask(made, 50, stamp=1, uid=GUEST)  # It shares an answer.
    made.close()
    assert {event.reply_to for event in answers(made, MOST_OF_ALL + 1)} == {*range(MOST_OF_ALL), 50}


def test_the_previews_of_a_guest_do_not_delay_those_of_root(made: Scripted) -> None:
    """A user with a role for `preview` alone took it from everybody, for as long as he liked."""
    made.script = "exec sleep 1000"
    for number in range(MOST_OF_USER):
        ask(made, number, stamp=number)
    made.special = 10, "echo well"
    ask(made, 10, stamp=10, uid=ROOT)
    (event,) = answers(made, 1)
    assert (event.reply_to, event.text) == (10, "well\n")


def test_users_take_turns(made: Scripted, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    made.special = 0, f"cat {gate}"
    for number in range(3):
        ask(made, number, stamp=number)
    ask(made, 10, stamp=10, uid=OTHER)
    ask(made, 11, stamp=11, uid=OTHER)
    gate.write_text("")
    assert [event.reply_to for event in answers(made, 5)] == [0, 10, 1, 11, 2]
