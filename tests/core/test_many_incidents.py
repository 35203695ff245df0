"""Thousands of incidents and alerts: a turn handles a part of them, and the next turns go on."""

from __future__ import annotations

import pytest

from schedappliance.core import alerts
from schedappliance.core.alerts import ALERT_BYTES, EVENT_BYTES
from schedappliance.core.orders import MOST_SPENT
from schedappliance.engine.effects import PutOff, Reply
from tests.core.test_alerts import files, use
from tests.support.core import MINUTE, Appliance, some

# The runs of this program fail when they are claimed.
BROKEN = 'program "broken" { argv = ( "/bin/work" "%{nope}" ) args = any }\n'


def use_broken(appliance: Appliance, number: int, more: str = "") -> None:
    """A stanza watches so many jobs that will fail in a minute."""
    use(appliance, f'jobs = "broken" {more}', more=BROKEN)
    appliance.say("sched pause j")
    appliance.turn(*(appliance.typed("sched every 60 run broken") for _ in range(number)))
    appliance.clock.advance(MINUTE)


def counts_of_turns(appliance: Appliance, sql: str) -> list[int]:
    """What a statement counts after each turn until nothing more is due at this time."""
    counts = []
    while appliance.core.wake().is_due(appliance.clock.moment()):
        appliance.turn()
        counts.append(appliance.database.row(sql)[0])
    return counts


@pytest.mark.parametrize(
    "more, size", [("", EVENT_BYTES + ALERT_BYTES), ("incidents = no", ALERT_BYTES), ("after = 2", EVENT_BYTES)]
)
def test_a_turn_handles_no_more_failed_runs_than_it_can_pay_for(appliance: Appliance, more: str, size: int) -> None:
    """A thousand alerts in one turn took a second, in which no line was answered."""
    most = MOST_SPENT // size + 1
    use_broken(appliance, 2 * most + 1, more)
    failed = counts_of_turns(appliance, "SELECT count(*) FROM runs WHERE state = 'failed'")
    assert failed[:3] == [most, 2 * most, 2 * most + 1]
    assert appliance.database.row("SELECT sum(count) FROM incidents")[0] == (None if "no" in more else 2 * most + 1)


def test_few_lines_that_cause_alerts_share_a_turn(appliance: Appliance) -> None:
    use_broken(appliance, 1)
    appliance.turn()
    lines = [appliance.typed("sched every 1d run broken") for _ in range(100)]
    appliance.turn(*lines)
    runs = [appliance.typed(f"sched run {appliance.reply_to(line).output}") for line in lines]
    appliance.turn(*runs)
    replies, put_off = some(Reply, appliance.effects), [effect.event for effect in some(PutOff, appliance.effects)]
    assert len(replies) <= MOST_SPENT // (EVENT_BYTES + ALERT_BYTES) + 1
    assert put_off == runs[len(replies) :]


@pytest.fixture
def reloaded(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> Appliance:
    """A stanza with 11 incidents was renamed. A turn compares two of them."""
    monkeypatch.setattr(alerts, "MOST_COMPARED", 2)
    use_broken(appliance, 11)
    counts_of_turns(appliance, "SELECT 1")
    appliance.say("sched pause --all")
    assert len(appliance.store.incidents.all()) == 11
    appliance.turn(appliance.read(renamed()))
    return appliance


def renamed() -> str:
    return files('jobs = "broken"', more=BROKEN).replace('notify "ops"', 'notify "team"')


def left_after_turns(appliance: Appliance, turns: int) -> list[int]:
    """How many incidents are open now, and after each of some turns, which come when they are due."""
    left = [len(appliance.store.incidents.all())]
    for _ in range(turns):
        due = appliance.core.wake().boot
        assert due is not None
        appliance.after(due - appliance.clock.moment().boot)
        left.append(len(appliance.store.incidents.all()))
    return left


def compare_all(appliance: Appliance) -> None:
    while appliance.state.compared_incident is not None:
        left_after_turns(appliance, 1)


def test_a_reload_closes_the_incidents_of_a_stanza_over_several_turns(reloaded: Appliance) -> None:
    assert left_after_turns(reloaded, 4) == [7, 5, 3, 1, 0]
    assert (reloaded.state.has_incidents, reloaded.state.compared_incident) == (False, None)


def test_incidents_that_are_watched_stay_open(reloaded: Appliance) -> None:
    """The stanza has its old name again before all were compared."""
    reloaded.turn(reloaded.read(files('jobs = "broken"', more=BROKEN)))
    compare_all(reloaded)
    assert len(reloaded.store.incidents.all()) == 7


def test_a_failed_turn_compares_its_incidents_again(reloaded: Appliance) -> None:
    reloaded.database.failing_commits = 2
    assert left_after_turns(reloaded, 2) == [7, 7, 7]
    compare_all(reloaded)
    assert reloaded.store.incidents.all() == []


def test_a_start_closes_the_incidents_that_were_left(reloaded: Appliance) -> None:
    reloaded.restart(stanzas=renamed())
    assert reloaded.state.compared_incident is not None
    compare_all(reloaded)
    assert reloaded.store.incidents.all() == []
