"""When a turn opens a transaction: only to store something or for due work."""

from __future__ import annotations

import pytest

from schedappliance.engine.events import ConnectionClosed, Event, SpoolSeen, WatchChanged
from schedappliance.engine.intake import SpoolBacklog
from tests.support.core import SECOND, Appliance


def transactions(appliance: Appliance) -> list[str]:
    """The statements that begin a transaction, in order."""
    statements: list[str] = []
    appliance.store._database._connection.set_trace_callback(
        lambda statement: statements.append(statement) if statement.startswith("BEGIN") else None
    )
    return statements


@pytest.mark.parametrize("events", [(), (WatchChanged("poll"),), (SpoolSeen(SpoolBacklog()), WatchChanged("events"))])
def test_a_turn_that_stores_nothing_opens_no_transaction(appliance: Appliance, events: tuple[Event, ...]) -> None:
    appliance.say("sched in 60 run hello")
    appliance.core.wake()
    opened = transactions(appliance)
    appliance.after(30 * SECOND, *events)
    assert opened == []
    if events:
        assert appliance.data("config status")["watch"] == [e.watch for e in events if isinstance(e, WatchChanged)][-1]


def test_due_work_opens_a_transaction(appliance: Appliance) -> None:
    appliance.say("sched in 60 run hello")
    appliance.core.wake()
    opened = transactions(appliance)
    appliance.after(60 * SECOND)
    assert len(opened) == 1
    assert [state for _, _, state in appliance.states()] == ["started"]


def test_an_event_opens_a_transaction(appliance: Appliance) -> None:
    appliance.core.wake()
    opened = transactions(appliance)
    appliance.turn(ConnectionClosed(7))
    assert len(opened) == 1


def test_a_clock_step_opens_a_transaction(appliance: Appliance) -> None:
    appliance.say("sched in 60 run hello")
    appliance.core.wake()
    opened = transactions(appliance)
    appliance.clock.step(-3600 * SECOND)
    appliance.turn()
    assert len(opened) == 1
    assert "the clock was set back" in appliance.logged()
