"""The rows of jobs, in a file and in memory."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.declared import Boot, Change, new_job
from schedappliance.engine.records import Kind, NewJob, UnclaimableJobs, User
from schedappliance.engine.schedule import Schedules
from schedappliance.model.calendars.zones import Machine, Zones
from schedappliance.model.commands import read_command
from schedappliance.store import jobs
from schedappliance.store.tables import Store, open_store
from tests.support.core import configuration, users_are_counted

USER = User(1000, "operator")
ROOT = User(0, "root")
SCHEDULES = Schedules(Zones(Machine()), {})


def new(
    next_run: int | None = 5000,
    interval: int | None = None,
    text: str = "run hello 'ä\t'",
    kind: Kind = "in",
    declared: str | None = None,
) -> NewJob:
    command = read_command(text).command
    assert command is not None
    return NewJob(kind if interval is None else "every", next_run, interval, command, USER, "console", declared)


def test_a_job_is_read_as_it_was_written(store: Store) -> None:
    wanted = new(5000, 60_000)
    number = store.jobs.add(wanted, 1)
    job = store.jobs.get(number)
    assert job is not None
    assert (job.number, job.kind, job.next_run_ms, job.interval_ms, job.occurrence) == (1, "every", 5000, 60_000, 0)
    assert (job.command, job.text, job.user, job.origin) == (wanted.command, wanted.command.text, USER, "console")
    assert (job.declared, job.schedule, job.enabled, job.recurrent) == (None, None, True, True)
    assert store.jobs.get(2) is None


def test_the_search_for_the_next_job_of_others_ends_at_an_instant(store: Store) -> None:
    """Otherwise it reads all jobs of a user that are due before them."""
    mine, later = UnclaimableJobs([USER.uid], []), 100_000
    other = store.jobs.add(new(200_000)._replace(user=ROOT), 1)

    def steps(*expected: int) -> int:
        """How many steps SQLite takes to find these instants."""
        number = 0

        def count() -> None:
            nonlocal number
            number += 1

        connection = store._database._connection
        connection.set_progress_handler(count, 1)
        assert tuple(store.jobs.next_due(mine, until) for until in (5000, 150_000)[: len(expected)]) == expected
        connection.set_progress_handler(None, 1)
        return number

    few = steps(5000)
    for _ in range(500):
        store.jobs.add(new(later), 1)
    assert steps(5000) <= few + 50 < steps(5000, 150_000)
    assert [store.jobs.next_due(mine, until) for until in (None, 200_000)] == [200_000, 200_000]
    assert store.jobs.next_due(UnclaimableJobs([], [other]), 5000) == later, "few numbers are passed over quickly"
    assert store.jobs.next_due(UnclaimableJobs([USER.uid], [other])) is None


def test_due_jobs_come_in_the_order_of_due_times_and_numbers(store: Store) -> None:
    for next_run in (7000, 5000, 9000, 5000):
        store.jobs.add(new(next_run), 1)
    store.jobs.add(new(None, declared="done"), 1)
    assert [job.number for job in store.jobs.due(7000, 10)] == [2, 4, 1]
    assert [job.number for job in store.jobs.due(7000, 2)] == [2, 4]
    assert store.jobs.due(4999, 10) == []
    assert store.jobs.next_due() == 5000
    assert store.jobs.count() == 4


def test_an_advanced_job_is_due_later_or_never(store: Store) -> None:
    number = store.jobs.add(new(5000, 1000, declared="job"), 1)
    store.jobs.advance(number, 3, 8000)
    assert [(job.occurrence, job.next_run_ms) for job in store.jobs.due(8000, 1)] == [(3, 8000)]
    store.jobs.advance(number, 4, None)
    assert (store.jobs.next_due(), store.jobs.count()) == (None, 0)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "advance", "done", "delete", "pause", "resume", "on", "off", "back", "forward", "undone", "part"]
        ),
        st.integers(0, 6),
        st.integers(1, 60),
    ),
    max_size=30,
)


DECLARED = {
    what: configuration(f'job "a" {{ every = 60 enabled = {what} command = pid }}\n').configuration.jobs["a"]
    for what in ("on", "off")
}


def change(store: Store, what: str, number: int, seconds: int) -> None:
    """Makes one change of the jobs, as the engine does."""
    jobs = store.jobs
    if what == "add":
        user = USER if seconds % 3 else ROOT
        jobs.add(new(seconds * 1000, 1000 * seconds if seconds % 2 else None)._replace(user=user), 1)
    elif what == "advance":
        jobs.advance(number, 1, seconds * 1000)
    elif what == "done" and (job := jobs.get(number)):
        jobs.remove(number, job.user.uid)
    elif what == "delete":
        jobs.delete(number)
    elif what in ("pause", "resume"):
        jobs.pause([number], what == "pause")
    elif what in ("on", "off") and (job := jobs.get(number)):
        new_row = new_job(DECLARED[what], 1, SCHEDULES, Boot(ThisBoot("b"), 0))
        jobs.change(Change(job, new_row._replace(next_run_ms=seconds * 1000)))
    elif what == "back":
        jobs.set_back(seconds * 1000)
    elif what == "forward":
        jobs.set_forward(seconds * 1000)


@given(CHANGES, st.sets(st.integers(0, 30)))
@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_next_due_time_and_count_agree_with_the_rows_after_any_change_and_undo(
    store: Store, changes: list[tuple[str, int, int]], asked: set[int]
) -> None:
    with store.transaction():
        for row in list(store.listed()):
            store.jobs.delete(row.number)
    for step, (what, back, seconds) in enumerate(changes):
        newest = store._database.row("SELECT coalesce(max(number), 0) FROM jobs")[0]
        if what == "undone":
            with pytest.raises(ZeroDivisionError), store.transaction():
                change(store, "add", 0, seconds)
                change(store, "advance", newest, 1)
                raise ZeroDivisionError
        elif what == "part":
            # A drop that is rejected at its second line does the same.
            with store.transaction():
                change(store, "advance", newest - back, seconds)
                change(store, "add", 0, seconds)
                with pytest.raises(ZeroDivisionError), store.savepoint():
                    change(store, "add", 0, 1)
                    change(store, "delete", newest, 1)
                    assert store.jobs.next_due() is not None
                    raise ZeroDivisionError
        else:
            with store.transaction():
                change(store, what, newest - back, seconds)
        if step in asked:
            assert store.jobs.total() == store._database.row("SELECT count(*) FROM jobs")[0]
            users_are_counted(store)
            earliest = min((row.next_run_ms for row in store.listed() if not row.paused), default=None)
            assert store.jobs.next_due() == earliest
            for now in (30_000, 60_000):
                due = [row.number for row in store.listed() if not row.paused and row.next_run_ms <= now]
                assert [job.number for job in store.jobs.due(now, 99)] == due


def test_the_jobs_of_a_user_are_counted_within_a_transaction(store: Store) -> None:
    with store.transaction():
        numbers = [store.jobs.add(new(5000), 1) for _ in range(5)]
        store.jobs.add(new(5000)._replace(user=ROOT), 1)
        store.jobs.remove(numbers[0], USER.uid)
        assert store.jobs.of_user(USER.uid) == 4
    store.jobs.delete(numbers[1])
    assert (store.jobs.of_user(USER.uid), store.jobs.of_user(ROOT.uid), store.jobs.of_user(7)) == (3, 0, 0)


def test_a_job_paused_by_another_program_causes_no_repeated_wake(store: Store) -> None:
    store.jobs.add(new(5000), 1)
    assert store.jobs.next_due() == 5000
    store._database.execute("UPDATE jobs SET paused = 1")
    assert (store.jobs.due(6000, 9), store.jobs.next_due()) == ([], None)


def test_a_number_is_never_reused(store: Store) -> None:
    assert [store.jobs.add(new(), 1) for _ in range(3)] == [1, 2, 3]
    assert store.jobs.delete(3)
    assert not store.jobs.delete(3)
    assert store.jobs.add(new(), 1) == 4


def test_a_number_is_never_reused_even_after_a_restart(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "sched.db", "example.com", "0123", 5)) as store:
        store.jobs.add(new(), 1)
        store.jobs.delete(store.jobs.add(new(), 1))
    with closing(open_store(tmp_path / "sched.db", "example.com", "0123", 5)) as store:
        assert store.jobs.add(new(), 1) == 3


def test_the_list_continues_after_every_page(store: Store) -> None:
    for next_run in (3000, 1000, 2000, 1000, 3000):
        store.jobs.add(new(next_run), 1)
    store.jobs.add(new(None), 1)
    for page in (1, 2, 3, 100):
        assert [job.number for job in store.listed(page)] == [2, 4, 3, 1, 5]
    assert [job.number for job in store.listed_here(2)] == [2, 4]


@given(
    st.lists(st.integers(1000, 10**12), min_size=1, max_size=5),
    st.lists(st.integers(1, 10**13), min_size=1, max_size=4),
)
@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_jobs_set_back_in_steps_return_to_their_due_times(store: Store, intervals: list[int], steps: list[int]) -> None:
    for interval in intervals:
        store.jobs.add(new(10**12 + interval, interval), 1)
    for kind in ("in", "run", "at"):
        store.jobs.add(new(10**12, kind=kind), 1)
    before = [(job.number, job.next_run_ms) for job in store.listed()]
    for step in steps:
        store.jobs.set_back(step)
    for step in reversed(steps):
        store.jobs.set_forward(step)
    assert [(job.number, job.next_run_ms) for job in store.listed()] == before


def test_many_jobs_are_moved_like_few_and_keep_their_index(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        store.jobs.add(new(10**9 + 7919 * number % 50, 1000 if number % 2 else None), 1)
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    before, tables = list(store.listed()), store._database.rows(schema)
    moved = []
    for many in (1000, 50):
        monkeypatch.setattr(jobs, "MANY", many)
        with store.transaction():
            store.jobs.set_back(5500)
        moved.append(list(store.listed()))
        with store.transaction():
            store.jobs.set_forward(5500)
        assert list(store.listed()) == before
    assert moved[0] == moved[1] != before
    assert store._database.rows(schema) == tables
    monkeypatch.setattr(jobs, "MANY", 0)
    with pytest.raises(KeyError), store.transaction():
        store.jobs.set_back(5500)
        raise KeyError
    assert (list(store.listed()), store._database.rows(schema)) == (before, tables)


def test_due_times_before_1970_are_listed(store: Store) -> None:
    store.jobs.add(new(-5000), 1)
    store.jobs.pause([store.jobs.add(new(-(10**15)), 1)], True)
    assert [job.number for job in store.listed(1)] == [2, 1]
    assert [job.number for job in store.listed_here(5)] == [2, 1]


def test_the_nearest_numbers_are_found(store: Store) -> None:
    for _ in range(9):
        store.jobs.add(new(), 1)
    store.jobs.delete(5)
    assert sorted(store.jobs.near(5)) == [3, 4, 6]
    assert sorted(store.jobs.near(10**17)) == [7, 8, 9]


def test_a_declared_job_is_changed_in_its_row(store: Store) -> None:
    texts = ('job "a" { every = 60 command = pid }\n', 'job "a" { at = 99 enabled = no command = version }\n')
    before, after = (configuration(text).configuration.jobs["a"] for text in texts)
    number = store.jobs.add(new_job(before, 1, SCHEDULES, Boot(ThisBoot("b"), 0)), 1)
    store.jobs.advance(number, 7, 60_000)
    (row,) = store.jobs.declared()
    store.jobs.change(Change(row, new_job(after, 1, SCHEDULES, Boot(ThisBoot("b"), 0))))
    (job,) = store.jobs.declared()
    assert (job.number, job.kind, job.next_run_ms, job.interval_ms, job.occurrence) == (number, "at", 99_000, None, 7)
    assert (job.text, job.command, job.enabled) == ("version", after.command, False)
    assert (store.jobs.due(10**13, 9), store.jobs.next_due(), list(store.listed())) == ([], None, [])


def next_runs(store: Store) -> list[int | None]:
    return [row[0] for row in store._database.rows("SELECT next_run_ms FROM jobs ORDER BY number")]


def test_relative_jobs_are_set_back_by_the_step_and_times_of_day_stay(store: Store) -> None:
    kinds: list[Kind] = ["in", "run", "at"]
    for kind in kinds:
        store.jobs.add(new(50_000, kind=kind), 1)
        store.jobs.add(new(None, kind=kind), 1)
    store.jobs.set_back(7001)
    assert next_runs(store) == [42_999, None, 42_999, None, 50_000, None]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**13), st.integers(1000, 10**12), st.integers(1, 10**13))
def test_a_recurrent_job_is_set_back_by_whole_periods_and_never_stalls(
    store: Store, now: int, interval: int, back: int
) -> None:
    wait = now % interval + 1
    number = store.jobs.add(new(now + wait, interval), 1)
    store.jobs.set_back(back)
    job = store.jobs.get(number)
    store.jobs.delete(number)
    assert job is not None
    assert job.next_run_ms is not None
    moved = now + wait - job.next_run_ms
    assert (moved % interval, job.interval_ms) == (0, interval)
    assert wait <= job.next_run_ms - (now - back) < wait + interval


@pytest.mark.parametrize(
    "text",
    [
        "run hello",
        "run hello there",
        "RUN 'hello'",
        "json run hello",
        "sched in 5 run hello",
        "json sched in 5 json sched at 0 run hello 'a]'",
    ],
)
def test_the_jobs_that_run_a_program_are_found_at_any_nesting(store: Store, text: str) -> None:
    store.jobs.add(new(text="pid"), 1)
    number = store.jobs.add(new(text=text), 1)
    assert store.jobs.that_run("hello", 10) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "run Hello",
        "run hello2",
        "run 'hello there'",
        "run other hello",
        "run other run hello",
        "config set run hello",
        'config set a \'["run",["hello"\'',
        "help run hello",
    ],
)
def test_a_job_that_only_mentions_a_program_is_not_found(store: Store, text: str) -> None:
    store.jobs.add(new(text=text), 1)
    assert store.jobs.that_run("hello", 10) == []


@pytest.mark.parametrize("name", ["a]", "ü", "a b", "%", "_", "[", "\U0001f600"])
def test_any_name_of_a_program_is_found(store: Store, name: str) -> None:
    number = store.jobs.add(new(text=f"run '{name}' 1"), 1)
    store.jobs.add(new(text="run x 1"), 1)
    assert store.jobs.that_run(name, 10) == [number]


def test_the_number_of_jobs_found_is_limited(store: Store) -> None:
    for _ in range(5):
        store.jobs.add(new(text="run hello"), 1)
    assert store.jobs.that_run("hello", 3) == [1, 2, 3]
