"""The children that make previews: shared, bounded, and ended with the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.clock import SystemClock
from schedappliance.edge import previews
from schedappliance.edge.loop import Loop
from schedappliance.edge.previews import MOST_WAITING, Previews
from schedappliance.edge.threads import Inbox, Worker
from schedappliance.engine.effects import MakePreview
from schedappliance.engine.events import PreviewMade


class Scripted(Previews):
    """Previews whose child is a shell script in place of the real command."""

    script = "echo $$; echo 'note: it is held' >&2"

    def _command(self, _wanted: MakePreview) -> list[str]:
        return ["/bin/sh", "-c", self.script]


@pytest.fixture
def made() -> Iterator[Scripted]:
    loop = Loop(SystemClock(), Inbox())
    worker = Worker("preview", loop.inbox)
    device = Scripted(Path("/x"), loop, worker)
    yield device
    device.close()
    worker.close()
    loop.close()


def ask(device: Scripted, *numbers: int, stamp: int = 0) -> None:
    for number in numbers:
        device.make(MakePreview(number, 1000, 5, None, False, (0, stamp)))


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


def test_a_child_that_takes_too_much_processor_time_is_ended(made: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "CPU_SECONDS", 1)
    made.script = "while :; do :; done"
    ask(made, 1)
    (event,) = answers(made, 1)
    assert event.problem == "it took more than 1 seconds of processor time"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exec yes", "its rows are longer than 1,048,576 bytes"),
        ("echo 'note: x' >&2; echo 'error: no file' >&2; exit 78", "no file"),
        ("echo 'warning[W1]: x' >&2; echo 'error[E1]: wrong' >&2; echo '  --> f:1' >&2; exit 78", "error[E1]: wrong"),
        ("kill -9 $$", "its process was ended"),
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


def test_few_different_previews_wait_and_none_is_left_at_the_end(made: Scripted) -> None:
    made.script = "exec sleep 1000"
    for number in range(MOST_WAITING + 1):
        ask(made, number, stamp=number)
    (event,) = answers(made, 1)
    assert (event.reply_to, event.problem) == (MOST_WAITING, f"{MOST_WAITING} others are being made")
    made.close()
    assert all(event.problem is not None for event in answers(made, MOST_WAITING))
