"""`sched wait`: answered when the run ends, when the time is over, or at once for a run that has ended."""

from __future__ import annotations

import json

import pytest

from schedappliance.engine.effects import Answer, LogMessage, Reply
from schedappliance.engine.events import ConnectionClosed, LineTyped, StopRequested
from schedappliance.engine.records import RunKey
from tests.support.core import SECOND, Appliance, ended, some

FIRST = RunKey(1, 1)
ONE = "example.com-000000001/1"


def waiting(appliance: Appliance, line: str = f"sched wait {ONE}") -> LineTyped:
    """Types a line that waits for the run of a program."""
    appliance.say("run hello")
    event = appliance.typed(line)
    appliance.turn(event)
    assert answers(appliance) == []
    return event


def answers(appliance: Appliance) -> list[tuple[int, Answer]]:
    """The answers of the last turn."""
    return [(reply.reply_to, reply.answer) for reply in some(Reply, appliance.effects)]


def nobody_waits(appliance: Appliance) -> bool:
    return not appliance.state.awaited and appliance.state.wait_until is None


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (0, Answer(f"{ONE} succeeded\n", exit_status=0)),
        (7, Answer("", f"run {ONE} failed: exit status 7", exit_status=7)),
    ],
)
def test_the_answer_tells_the_end_of_the_run_without_its_output(either: Appliance, status: int, answer: Answer) -> None:
    event = waiting(either)
    either.turn(ended(FIRST, status, output=b"out\n"))
    assert answers(either) == [(event.reply_to, answer)]
    assert nobody_waits(either)
    again = either.typed(f"sched wait {ONE}")
    either.turn(again)
    assert answers(either) == [(again.reply_to, answer)]
    assert not some(LogMessage, either.effects), "the command is not rejected, and changes nothing"


def test_the_answer_after_json_is_data(either: Appliance) -> None:
    event = waiting(either, f"json sched wait {ONE} timeout 1h")
    either.turn(ended(FIRST, 3))
    answer = either.reply_to(event)
    assert answer.is_json and isinstance(answer.output, str)
    assert json.loads(answer.output) == {"run": ONE, "state": "failed", "reason": "exit status 3", "exit_status": 3}


def test_many_clients_wait_for_one_run(either: Appliance) -> None:
    events = [waiting(either), *(either.typed(f"sched wait {ONE} timeout {number}0") for number in (1, 2))]
    either.turn(*events[1:])
    either.after(10 * SECOND)
    assert [number for number, _ in answers(either)] == [events[1].reply_to]
    either.turn(ended(FIRST))
    assert [number for number, _ in answers(either)] == [events[0].reply_to, events[2].reply_to]
    assert nobody_waits(either)


def test_when_the_time_is_over_the_run_goes_on(either: Appliance) -> None:
    event = waiting(either, f"sched wait {ONE} timeout 1.5")
    assert either.core.wake()[1] == either.clock.moment().boot + 1500
    either.after(1499)
    assert answers(either) == []
    either.after(1)
    assert either.reply_to(event).error == (
        f"run {ONE} has not ended in time; wait again, or ask `sched show` for its state"
    )
    assert either.states() == [(1, 1, "started")]
    assert nobody_waits(either)


def test_the_time_is_over_while_the_store_cannot_be_written(appliance: Appliance) -> None:
    event = waiting(appliance, f"sched wait {ONE} timeout 10")
    appliance.database.is_gone = True
    appliance.after(SECOND, ended(FIRST))
    appliance.after(10 * SECOND)
    assert "has not ended in time" in str(appliance.reply_to(event).error)
    assert nobody_waits(appliance)


def test_a_wait_that_cannot_be_stored_is_undone(appliance: Appliance) -> None:
    """The turn of another line fails; each line is then tried alone."""
    appliance.say("run hello")
    event = appliance.typed(f"sched wait {ONE} timeout 10")
    appliance.database.failing_commits = 1
    appliance.turn(event, appliance.typed("sched in 60 run hello"))
    assert [one.order.reply_to for one in appliance.state.awaited[FIRST]] == [event.reply_to]
    appliance.after(10 * SECOND)
    assert [number for number, _ in answers(appliance)] == [event.reply_to]


def test_a_client_that_leaves_is_forgotten(either: Appliance) -> None:
    event = waiting(either, f"sched wait {ONE} timeout 10")
    assert event.connection is not None
    either.turn(ConnectionClosed(event.connection))
    assert nobody_waits(either)


def test_a_stop_answers_every_client(either: Appliance) -> None:
    event = waiting(either)
    either.turn(StopRequested("test"))
    either.after(10 * SECOND)
    either.after(5 * SECOND)
    assert "the appliance is stopping" in str(either.reply_to(event).error)
    assert nobody_waits(either)


def test_an_unknown_run_is_rejected(either: Appliance) -> None:
    assert either.error(f"sched wait {ONE}").startswith(f"there is no run {ONE}")
