"""Random edits of one job: whatever its options were before, it stays due as its stanza says, and no due time runs twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random

import pytest

from schedappliance.engine.records import Job
from schedappliance.model.calendars.calendar import Calendar
from tests.support.core import SECOND, Appliance, agrees_with_its_store
from tests.support.random_seeds import random_seeds

EDITS = 14
# Periods of minutes and delays of seconds, so that the job is often edited while a due time waits for the end of its delay.
SCHEDULES = (
    *("every = 60", "every = 60 offset = 5", "every = 120", 'every = 60 within = "00:00..22:20"'),
    *('cron = "* * * * *"', 'cron = "*/2 * * * *"', 'cron = "* * * * *" zone = "Asia/Kolkata"'),
    *('calendar = "*:*"', 'calendar = "*:0/2"', 'calendar = "*:*:0/20" only = "weekdays"'),
    *('cron = "* * * * *" except = "weekdays" move = next', 'calendar = "*:*" until = "2023-11-14 22:20"'),
)
ONCE = ("at = boot delay = 530", 'at = "2023-11-14 22:16"')
DELAYS = {name: ("", "", "", *(f"{name} = {limit}" for limit in (10, 40, 59, 100))) for name in ("jitter", "spread")}
LINES = (
    *("sched pause x", "sched resume x", "config set job x enabled no", "config set job x enabled yes"),
    *("config set job x jitter 50", "config set job x spread 0", "config unset job x"),
)
DAYS = 'days "weekdays" { dates = "Mon..Fri" }'


def stanzas(random: Random) -> str:
    schedule = random.choice(SCHEDULES if random.random() < 0.9 else ONCE)
    options = [schedule, random.choice(("", "", "enabled = no"))]
    options += [random.choice(DELAYS[option]) for option in DELAYS if schedule in SCHEDULES]
    return f'sched {{ zone = UTC catch_up = all }}\n{DAYS}\njob "x" {{ {" ".join(options)} command = pid }}\n'


def is_due_as_its_stanza_says(appliance: Appliance, row: Job) -> None:
    """A recurrent job that is enabled has its next due time, or `sched why` tells why it has none."""
    if not row.enabled or row.is_at_boot or row.kind == "at":
        return
    now = appliance.clock.moment().wall
    if row.next_run_ms is None:
        assert "`until` has passed" in appliance.say("sched why x")
        return
    if not row.paused:
        schedule = appliance.state.schedules.of(row)
        following = schedule.next_after_nominal(now) if isinstance(schedule, Calendar) else schedule.next_after(now)
        assert now < row.next_run_ms
        assert following is None or row.next_run_ms <= following


def nominal(appliance: Appliance, row: Job, due_ms: int) -> int:
    """What a due time was before its delay, if it is one of this row."""
    calendar = appliance.state.schedules.calendar_of(row)
    return due_ms if calendar is None else calendar.nominal(due_ms)


@pytest.mark.parametrize("seed", [*range(60), *random_seeds(3)])
def test_a_recurrent_job_stays_due_after_any_edit(seed: int) -> None:
    random = Random(seed)
    appliance = Appliance(None, stanzas(random))
    (row,) = appliance.store.jobs.declared()
    # By the due time of a run: what it was before a delay. An edit in a delay can bring two of these to one instant.
    nominals = defaultdict[int, set[int]](set)
    seen = 0
    for _ in range(EDITS):
        appliance.clock.advance(random.randint(1, 90) * SECOND)
        if random.random() < 0.7:
            appliance.turn()
        if random.random() < 0.3:
            appliance.ask(random.choice(LINES))
        else:
            appliance.turn(appliance.read(stanzas(random)))
        appliance.turn()
        (before, (row,)) = row, appliance.store.jobs.declared()
        for run in appliance.history()[seen:]:
            nominals[run.due_ms] |= {nominal(appliance, by, run.due_ms) for by in (before, row)}
            seen += 1
        is_due_as_its_stanza_says(appliance, row)
        agrees_with_its_store(appliance)
    ran = Counter(run.due_ms for run in appliance.history() if run.state == "succeeded")
    assert [due for due, count in ran.items() if count > len(nominals[due])] == []
