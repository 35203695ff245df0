"""Jobs whose commands change, pause, hold, delete and run the jobs that are due with them, and each other.

Random stanzas, lines, reloads and starts, all on the same minutes. After every turn, each due time was decided exactly once.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from schedappliance.engine.declared import Overdue
from schedappliance.engine.events import Event
from schedappliance.engine.records import Job, RunKey
from schedappliance.engine.schedule import Claim, Schedules, claim_now
from schedappliance.model.schedules import Once
from schedappliance.preview.driver import Agenda
from tests.simulation.world import World
from tests.support.core import MINUTE, NODE, SECOND, agrees_with_its_store, judged
from tests.support.random_seeds import random_seeds

JOBS = 6
ZONES = ("UTC", "Europe/Berlin", "Atlantic/Azores")
PERIODS = (60, 120, 300)
# More turns at one instant mean that jobs make each other due for ever.
MOST_TURNS = 60
PART = 8 * MINUTE


class Turn(NamedTuple):
    """What a turn finds: the jobs, their schedules, and the last run."""

    jobs: dict[int, Job]
    schedules: Schedules
    sequence: int


class Decided(NamedTuple):
    """A row of the history. `due_times`: how many it decides; the last is `due_ms`."""

    key: RunKey
    due_ms: int
    due_times: int


class SameTick(World):
    """A world that judges each turn. `by_hand`: the occurrences that `sched run` has claimed."""

    by_hand: set[RunKey]

    def __init__(self, path: Path, stanzas: str) -> None:
        super().__init__(path, stanzas)
        self.decided: set[tuple[int, int]] = set()
        self._turns_at: Counter[int] = Counter()

    def _turn(self, events: list[Event]) -> None:
        boot = self.clock.moment().boot
        self._turns_at[boot] += 1
        assert self._turns_at[boot] < MOST_TURNS, "the jobs are due for ever"
        before = self._look()
        super()._turn(events)
        self._judge(before)

    def restart(self, after_ms: int, stanzas: str) -> None:
        """Ends as by SIGKILL, together with the programs, and starts again later."""
        before = self._look()
        self._agenda, self._alive, self._stanzas = Agenda(), set(), stanzas
        self.appliance.restart(after_ms, stanzas)
        self._judge(before)

    def reload(self, stanzas: str) -> None:
        self._stanzas = stanzas
        self._turn([self.appliance.read(stanzas)])

    def _look(self) -> Turn:
        rows = self.appliance.database.rows
        numbers = [number for (number,) in rows("SELECT number FROM jobs")]
        jobs = {number: job for number in numbers if (job := self.appliance.store.jobs.get(number))}
        ((sequence,),) = rows("SELECT max(sequence) FROM runs")
        return Turn(jobs, self.appliance.state.schedules, sequence or 0)

    def _judge(self, before: Turn) -> None:
        assert self.appliance.state.status.degraded is None
        agrees_with_its_store(self.appliance)
        rows = defaultdict[int, list[Decided]](list)
        sql = "SELECT job, occurrence, due_ms, coalesce(missed_count, 1) FROM runs WHERE sequence > ?"
        for job, occurrence, due_ms, count in self.appliance.database.rows(sql, (before.sequence,)):
            rows[job].append(Decided(RunKey(job, occurrence), due_ms, count))
        after = self._look().jobs
        for number in before.jobs.keys() | rows.keys():
            problems = [*self._of_occurrences(before.jobs.get(number), after.get(number), rows[number])]
            if number in before.jobs:
                problems += self._of_due_times(before, before.jobs[number], after.get(number), rows[number])
            assert problems == [], self._told(problems, before.jobs.get(number), after.get(number), rows[number])
        for job in after.values():
            assert job.next_run_ms is not None or not (job.recurrent and job.enabled), job

    def _told(self, problems: list[str], before: Job | None, after: Job | None, rows: list[Decided]) -> str:
        jobs = [job and (job.declared, job.text, job.schedule, job.next_run_ms, job.enabled) for job in (before, after)]
        return f"{problems} at {self.appliance.state.moment.wall}: {jobs[0]} -> {jobs[1]}: {rows}"

    def _of_occurrences(self, before: Job | None, after: Job | None, rows: list[Decided]) -> Iterator[str]:
        """Occurrences have no gaps, and no due time is decided twice."""
        total = sum(row.due_times for row in rows)
        if before is not None and after is not None and after.occurrence != before.occurrence + total:
            yield f"{total} occurrences are stored"
        for row in rows:
            if row.key not in self.by_hand:
                if (row.key.job, row.due_ms) in self.decided:
                    yield f"{row.due_ms} is decided twice"
                self.decided.add((row.key.job, row.due_ms))

    def _of_due_times(self, turn: Turn, before: Job, after: Job | None, rows: list[Decided]) -> Iterator[str]:
        """The due times that have come are all decided in one turn, by the schedule that the job had; or none is yet."""
        now = self.appliance.state.moment.wall
        due = before.next_run_ms if before.enabled else None
        schedule = turn.schedules.of(before) if due is not None else Once(0)
        scheduled = [row for row in rows if row.key not in self.by_hand]
        come = [row for row in scheduled if due is not None and Overdue(before, due, schedule).includes(row.due_ms)]
        # When a turn changes a job twice, its due time can come in between: that of `at`, or one whose delay the first change ends.
        has_delay = "jitter" in (before.schedule or "") or "spread" in (before.schedule or "")
        if come != scheduled and not has_delay and "at" not in (before.kind, after and after.kind):
            yield "it was not due"
        if due is None or due > now:
            return
        if come:
            decided = sum(row.due_times for row in come)
            expected = 1 + schedule.count(due + 1, now)
            if decided != expected:
                yield f"{decided} due times are decided, not {expected}"
        elif after is not None and after.next_run_ms != due:
            yield "its due times are lost"


# Random stanzas and commands


def name(chance: random.Random) -> str:
    return f"j{chance.randrange(JOBS)}"


def local_time(chance: random.Random) -> str:
    """A time in the next hour in UTC, which has passed in Berlin."""
    minute = chance.randint(14, 60)
    return f'"2023-11-14 {22 + minute // 60}:{minute % 60:02}"'


def random_times(chance: random.Random) -> str:
    every = f"every = {chance.choice(PERIODS)}"
    minutes = chance.choice(["* * * * *", "*/2 * * * *", "0-59/5 * * * *"])
    times = chance.choice([every, f"{every} offset = 60", f'cron = "{minutes}"', f"at = {local_time(chance)}"])
    if "at" not in times and chance.random() < 0.3:
        times += chance.choice([" jitter = 40", " spread = 50", ' within = "00:00..23:30"'])
        times = times.replace(" offset = 60", "") if "within" in times else times
    return times


def random_stanzas(chance: random.Random) -> str:
    """Stanzas that are accepted."""
    while True:
        jobs = [
            f'job "j{number}" {{ {random_times(chance)} enabled = {chance.choice(["yes", "yes", "yes", "no"])}'
            f" command = '{random_command(chance)}' }}\n"
            for number in range(JOBS)
            if chance.random() < 0.9
        ]
        sched = f"zone = {chance.choice(ZONES)} catch_up = {chance.choice(['all', 'once', 'none'])}"
        work = 'program "work" { argv = ( "/bin/work" ) args = ( "[0-9]+" ) overlap = queue }\n'
        text = f"sched {{ {sched} }}\n{work}{''.join(jobs)}"
        if judged(text).accepted:
            return text


def random_command(chance: random.Random) -> str:
    one, other = name(chance), f"{NODE}-{chance.randint(1, 14):09d}"
    return chance.choice(
        [
            "pid",
            f"run work {chance.choice([0, 5, 70])}",
            f"sched run {one}",
            f"sched delete {other}",
            f"sched in {chance.choice([0, 20, 60])} sched pause {one}",
            "sched hold for 90 maintenance",
            "sched release",
            "config reload",
            *(f"sched {what} {chance.choice([one, other, '--all'])}" for what in ("pause", "resume", "resume")),
            *(random_setting(chance) for _ in range(10)),
        ]
    )


def random_setting(chance: random.Random) -> str:
    option = chance.choice(
        [
            f"every {chance.choice(PERIODS)}",
            "offset 60",
            "jitter 30",
            "enabled no",
            "enabled yes",
            f"zone {chance.choice(ZONES)}",
            f"at {local_time(chance)}",
            'cron "*/2 * * * *"',
            "catch_up all",
        ]
    )
    if chance.random() < 0.2:
        return f"config set sched zone {chance.choice(ZONES)}"
    if chance.random() < 0.3:
        return f"config unset job {name(chance)} {option.split()[0]}"
    return f"config set job {name(chance)} {option}"


def random_lines(chance: random.Random) -> Iterator[tuple[int, str]]:
    """Console lines, many of which are due on the minute too."""
    for _ in range(12):
        command = random_command(chance)
        minute = 40 * SECOND + chance.randrange(PART // MINUTE) * MINUTE
        if not command.startswith("sched in"):
            command = chance.choice([command, f"sched every 60 {command}", f"sched in 60 {command}"])
        yield minute + chance.choice([0, 0, 1, 7000]), command


def live(path: Path, chance: random.Random) -> SameTick:
    world = SameTick(path, random_stanzas(chance))
    for _ in range(4):
        world.type(random_lines(chance))
        world.run(PART - chance.choice([0, 0, 20 * SECOND]))
        if chance.random() < 0.5:
            world.reload(random_stanzas(chance))
        else:
            world.restart(chance.choice([0, SECOND, 3 * MINUTE, 10 * MINUTE]), random_stanzas(chance))
    world.run(PART)
    return world


# The first and the last seed: a job of `every` got an `at` at one of its passed due times, which came twice. The second: a
# command changed a job that the same tick had read, and the tick claimed its due times again.
SEEDS = [1, 3, 19, *random_seeds(2)]


@pytest.mark.parametrize("seed", SEEDS)
def test_each_due_time_is_decided_once(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"seed {seed}")
    by_hand: set[RunKey] = set()

    def claims_now(job: Job, now_ms: int) -> Claim:
        claim = claim_now(job, now_ms)
        by_hand.add(RunKey(job.number, claim.last))
        return claim

    monkeypatch.setattr("schedappliance.core.orders.claim_now", claims_now)
    monkeypatch.setattr(SameTick, "by_hand", by_hand, raising=False)
    world = live(tmp_path / "sched.db", random.Random(seed))
    assert len(world.decided) > 50
    world.close()
