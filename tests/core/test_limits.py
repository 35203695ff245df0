"""How many jobs are accepted, and how many runs are stored."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from schedappliance.commands import view
from schedappliance.core import pruning
from schedappliance.core.pruning import AGAIN_MS, MOST_BYTES, SLACK
from schedappliance.core.state import State
from schedappliance.engine.effects import LogMessage
from schedappliance.engine.events import ProgramOutput
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey, User
from schedappliance.store.jobs import LAST_NUMBER
from schedappliance.store.runs import SWEPT_AT_ONCE
from tests.support.core import (
    MINUTE,
    OPERATOR,
    SECOND,
    STANZAS,
    Appliance,
    dump,
    ended,
    some,
    spoken,
    users_are_counted,
)

FULL = "there are already 2 jobs; delete some, or raise `max_jobs` in `sched`"
GUEST, OTHER = User(2000, "guest"), User(2001, "other")
LIMITED = f"sched {{ max_jobs = 2 }}\n{STANZAS}"
JOBS = "".join(f'job "j{number}" {{ every = 3600 command = pid }}\n' for number in range(3))
SHORT = f"sched {{ history = 10 }}\n{STANZAS}"


@pytest.mark.parametrize("line", ["sched in 60 pid", "sched at 1800000000 pid", "sched every 60 pid", "run hello"])
def test_no_more_jobs_are_accepted_than_max_jobs(either: Appliance, line: str) -> None:
    either.turn(either.read(LIMITED))
    either.turn(either.typed("sched in 600 pid"), either.typed("sched in 600 pid"))
    answer = either.ask(line)
    assert (answer.error, [d.code for d in answer.diagnostics]) == (FULL, ["E509"])
    assert either.store.jobs.total() == 2
    assert either.ask("health").output == f"no more jobs are accepted: {FULL}\n"
    either.say("sched delete example.com-000000001")
    either.say(line)


def test_the_last_jobs_are_kept_for_root_and_the_user_of_the_appliance(either: Appliance) -> None:
    """Otherwise a user whose role allows one command could keep all others from everything."""
    full = (
        "there are already 14 jobs, and 2 more are kept for root and the user of the appliance; "
        "delete some, or raise `max_jobs` in `sched`"
    )
    either.turn(either.read(f"sched {{ max_jobs = 16 }}\n{STANZAS}"))
    for number in range(14):
        assert either.ask("health").output == "ok\n"
        assert either.ask("sched in 600 pid", (GUEST, OTHER)[number % 2]).ok
    assert either.ask("sched in 600 pid", GUEST).error == full
    assert either.ask("run hello", GUEST).error == full
    assert either.ask("health").output == f"no more jobs are accepted: {full}\n"
    for user in (OPERATOR, User(0, "root")):
        assert either.ask("sched in 600 pid", user).ok
    assert either.ask("sched in 600 pid").error == FULL.replace("2", "16")


def test_a_user_may_have_half_of_all_jobs(either: Appliance) -> None:
    """One user took the places of all others but root."""
    full = "user guest already has 8 jobs, half of all that may exist; delete some, or raise `max_jobs` in `sched`"
    either.turn(either.read(f"sched {{ max_jobs = 16 }}\n{STANZAS}"))
    jobs = [spoken(either.ask("sched in 5 pid", GUEST)).strip() for _ in range(7)]
    assert either.ask("sched in 600 pid", GUEST).ok
    for line in ("sched in 600 pid", "run hello", "run --wait hello"):
        assert either.ask(line, GUEST).error == full
    assert either.ask("health").output == "ok\n"
    assert either.ask("sched in 600 pid", OTHER).ok
    either.say(f"sched delete {jobs[0]}")
    assert either.ask("sched in 600 pid", GUEST).ok
    assert either.ask("sched in 600 pid", GUEST).error == full
    either.after(5 * SECOND)
    for _ in range(6):
        assert either.ask("sched in 600 pid", GUEST).ok
    assert either.ask("sched in 600 pid", GUEST).error == full
    either.say("sched delete example.com-000000008")
    assert either.ask("sched in 600 pid", GUEST).ok


def test_a_user_with_many_jobs_adds_no_long_command(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user's jobs may take 160 KB each, and `max_jobs` counts them only."""
    monkeypatch.setattr(view, "MANY", 2)
    either.turn(either.read(STANZAS))
    long = f"sched in 600 config set a {'x' * view.LONG}"
    for _ in range(2):
        assert either.ask(long, GUEST).ok
    error = "user guest already has 2 jobs or waiting runs, and this command has more than 1,000 characters; shorten it"
    assert str(either.ask(long, GUEST).error).startswith(error)
    assert either.ask("sched in 600 pid", GUEST).ok and either.ask("run hello", GUEST).ok
    for user in (OTHER, OPERATOR, User(0, "root")):
        assert either.ask(long, user).ok
    either.say("sched delete example.com-000000001")
    either.say("sched delete example.com-000000002")
    assert either.ask(long, GUEST).ok


def test_waiting_runs_of_a_user_count_as_jobs(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of a typed `run` is gone when its run waits: one user filled memory and disk with waiting runs."""
    program = 'program "takes" { argv = ( "/bin/work" ) args = any overlap = parallel }\n'
    either.turn(either.read(f"sched {{ max_jobs = 8 max_running = 2 }}\n{program}{STANZAS}"))
    job = spoken(either.ask("sched every 1 run takes", GUEST)).strip()
    for _ in range(4):
        assert either.ask("run takes", GUEST).ok
    full = "user guest already has 4 jobs and waiting runs (3), half of all that may exist; delete some, or raise"
    assert str(either.ask("run takes", GUEST).error).startswith(full)
    assert either.ask("sched in 600 pid", OTHER).ok and either.ask("run takes", User(0, "root")).ok
    tick(either, 3)
    assert either.history()[-1].state == "skipped"
    assert "too many runs of its user wait" in either.say(f"sched why {job}")
    assert either.state.queue.of_guests == {GUEST.uid: 4}
    either.turn(*[ended(key) for key in list(either.state.running)])
    tick(either, 1)
    assert either.state.queue.of_guests == {GUEST.uid: 4}
    monkeypatch.setattr(view, "MANY", 4)
    monkeypatch.setattr("schedappliance.core.runs.MANY", 2)
    either.turn(either.read(f"sched {{ max_jobs = 800 max_running = 2 }}\n{program}{STANZAS}"))
    assert "jobs or waiting runs, and this" in str(either.ask(f"run takes {'x' * view.LONG}", GUEST).error)
    assert either.ask("run takes x", GUEST).ok


def test_few_runs_of_one_job_of_a_guest_wait(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pause calls all of them off in one turn."""
    monkeypatch.setattr("schedappliance.core.runs.MANY", 2)
    monkeypatch.setattr("schedappliance.core.runs.MOST_WAITING", 3)
    program = 'program "takes" { argv = ( "/bin/work" ) args = any overlap = parallel }\n'
    either.turn(either.read(f"sched {{ max_running = 2 }}\n{program}{STANZAS}"))
    for user in (GUEST, OPERATOR):
        job = spoken(either.ask("sched every 1h run takes", user)).strip()
        answers = [either.ask(f"sched run {job}", user).error for _ in range(6)]
        rejected = [str(error) for error in answers if error is not None]
        assert len(rejected) == (2 if user == GUEST else 0), rejected
        assert all("too many runs of its user wait" in error for error in rejected)
    assert either.state.queue.of_guests == {GUEST.uid: 3}


def test_a_removed_job_of_another_user_does_not_change_what_the_first_jobs_of_a_user_count(either: Appliance) -> None:
    """The user has no counts yet, and the turn removes before it adds."""
    job = either.say("sched in 600 pid").strip()
    either.turn(either.typed(f"sched delete {job}"), *(either.typed("run hello", GUEST) for _ in range(3)))
    for key in list(either.state.running):
        either.turn(ended(key))
    users_are_counted(either.store)
    assert either.store.jobs.of_user(GUEST.uid) == 0


def test_lines_about_accepted_commands_are_limited_for_guests_only(either: Appliance) -> None:
    for user in (GUEST, OPERATOR, User(0, "root")):
        assert either.ask("sched in 5 pid", user).ok
    either.after(5 * SECOND)
    lines = [log for log in some(LogMessage, either.past) if log.message.endswith(" ok")]
    shares = Counter((log.message.split()[0], log.share) for log in lines)
    assert shares.pop(("user=guest", "user=guest uid=2000 accepted")) >= 1
    assert set(shares) == {("user=operator", ""), ("user=root", "")}


@pytest.mark.parametrize(("user", "share"), [(GUEST, "uid=2000 runs"), (OPERATOR, ""), (User(0, "root"), "")])
def test_lines_about_runs_are_limited_for_guests_only(either: Appliance, user: User, share: str) -> None:
    """A user filled the log with the ends of runs."""
    either.turn(either.read(f'program "again" {{ argv = ( "/bin/false" ) retries = 1 }}\n{STANZAS}'))
    lines = ("run hello", "run again", "sched in 5 sched delete x", "sched in 5 run sleep 1", "sched every 1 pid")
    either.turn(*[either.typed(line, user) for line in lines])
    either.turn(*[ended(start.key.run, status=1) for start in either.started()])
    either.turn(either.read('program "hello" { argv = ( "/bin/echo" ) }\n'))
    either.after(5 * SECOND)
    logs = [log for log in some(LogMessage, either.past) if "command=" not in log.message]
    for end in (
        "000000001/1 failed: ",
        "000000002/1: ",
        "sched: command: ",
        "000000004/1 failed: ",
        "due times missed",
    ):
        assert {log.share for log in logs if end in log.message} == {share}, end


def test_users_take_turns_where_their_runs_wait(either: Appliance) -> None:
    """One user let all others but root wait for a day, with one script."""
    either.turn(either.read(PLACES))
    either.turn(
        *[either.typed("run long", GUEST) for _ in range(9)], *[either.typed("run long", OTHER) for _ in range(2)]
    )
    either.turn(*[ended(RunKey(job, 1)) for job in (1, 2)])
    assert [start.key.run.job for start in either.started()] == [4, 10]
    assert "; 1 wait before it" in either.say("sched why example.com-000000011")


PLACES = f'sched {{ max_running = 4 }}\nprogram "long" {{ argv = ( "/bin/work" ) overlap = parallel }}\n{STANZAS}'


def test_the_last_places_are_kept_for_root_and_the_user_of_the_appliance(either: Appliance) -> None:
    """Otherwise a user whose role allows one program could keep all jobs from starting."""
    either.turn(either.read(PLACES))
    for _ in range(3):
        assert either.ask("run long", GUEST).ok
    assert len(either.started()) == 1
    assert either.ask("run long", GUEST).ok
    assert either.started() == []
    kept = "it waits for a place: the last place is kept for root and the user of the appliance"
    assert kept in either.say("sched why example.com-000000004")
    assert either.core.wake()[1] != either.state.moment.boot, "it would not rest"
    assert either.ask("run long", User(0, "root")).ok
    assert len(either.started()) == 1
    assert "as many programs run as `max_running`" in either.say("sched why example.com-000000004")


ONE_AT_A_TIME = (
    'sched { max_running = 16 }\nprogram "one" { argv = ( "/bin/one" ) max_running = 1 overlap = parallel args = any }\n'
    'program "long" { argv = ( "/bin/long" ) overlap = parallel }\n'
)


def test_a_guest_who_gets_no_place_keeps_no_program_from_others(either: Appliance) -> None:
    """The runs of all others waited for the limit of the program, which ran nothing, for as long as guests had work."""
    either.turn(either.read(ONE_AT_A_TIME))
    either.say("run one")
    of_guest = spoken(either.ask("run one", GUEST)).strip()
    either.turn(*[either.typed("run long", OTHER) for _ in range(14)])
    either.say("run one")
    of_operator = either.say("run one").strip()
    full = "it waits for a place: as many runs of `one` as its `max_running` allows (1); 2 wait before it"
    assert full in either.say(f"sched why {of_operator}")
    for _ in range(2):
        one = [key for key, running in either.state.running.items() if running.program == "one"]
        either.turn(ended(one[0]))
    assert "running" in either.say(f"sched why {of_operator}")
    kept = "it waits for a place: the last 2 places are kept for root and the user of the appliance"
    assert kept in either.say(f"sched why {of_guest}")
    either.turn(*[ended(key) for key in either.state.running])
    assert "running" in either.say(f"sched why {of_guest}")


def test_a_run_at_the_limit_of_a_program_that_runs_nothing_waits_for_a_place(either: Appliance) -> None:
    either.turn(either.read(ONE_AT_A_TIME))
    either.say("run one")
    first, second = (spoken(either.ask("run one", GUEST)).strip() for _ in range(2))
    either.turn(*[either.typed("run long", OTHER) for _ in range(14)])
    either.turn(ended(RunKey(1, 1)))
    kept = "it waits for a place: the last 2 places are kept for root and the user of the appliance"
    assert [kept in either.say(f"sched why {run}") for run in (first, second)] == [True, True]
    assert either.state.queue.at_limit == {"one": 1}


def test_a_restart_knows_whose_programs_run_and_wait(appliance: Appliance) -> None:
    appliance.turn(appliance.read(PLACES))
    for _ in range(5):
        assert appliance.ask("run long", GUEST).ok
    appliance.restart(
        stanzas=PLACES, survivors={AttemptKey(RunKey(job, 1), 1): ProcessKey(job, 1) for job in (1, 2, 3)}
    )
    assert appliance.started() == []
    assert appliance.ask("run long").ok
    assert [start.key.run.job for start in appliance.started()] == [6]
    appliance.turn(ended(RunKey(1, 1)))
    assert [start.key.run.job for start in appliance.started()] == [4]


def test_a_job_that_is_done_makes_space_for_another(either: Appliance) -> None:
    either.turn(either.read(LIMITED))
    for _ in range(3):
        either.turn(either.typed("sched in 5 pid"), either.typed("run hello"))
        assert either.store.jobs.total() <= 2
        either.after(5 * SECOND, *[ended(start.key.run) for start in either.started()])
    assert {state for _, _, state in either.states()} == {"succeeded"}


def test_declared_jobs_are_never_rejected(appliance: Appliance) -> None:
    appliance.turn(appliance.read(LIMITED + JOBS))
    assert appliance.store.jobs.total() == 3
    assert appliance.error("run hello") == FULL
    appliance.restart(stanzas=LIMITED + JOBS)
    assert appliance.error("run hello") == FULL
    appliance.turn(appliance.read(LIMITED))
    assert appliance.say("run hello") == "example.com-000000004/1"


def test_a_store_without_job_ids_is_no_full_disk(either: Appliance) -> None:
    """SQLite reports that there are no more numbers as a full disk."""
    answers = 'program "fails" { argv = ( "/bin/false" ) on_failure = "run hello" }\n'
    either.turn(either.read(STANZAS + answers))
    either.say("run fails")
    (start,) = either.started()
    either.database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'jobs'", (LAST_NUMBER,))
    either.database.counts.clear()
    text = "no job ids are left; restore a backup, or start with an empty store"
    for line in ("sched in 600 pid", "run hello"):
        assert either.error(line) == text
    assert not either.drop("sched in 600 pid\n").accepted
    assert text in str(either.reload_typed(STANZAS + answers + JOBS).error)
    either.turn(ended(start.key.run, status=1))
    assert f"error: no command follows the failure of run example.com-000000001/1: {text}" in either.logged()
    assert either.states() == [(1, 1, "failed")]
    assert either.data("summary")["degraded"] is None


def test_a_drop_with_too_many_jobs_is_rejected_as_a_whole(either: Appliance) -> None:
    either.turn(either.read(LIMITED))
    result = json.loads(either.drop("sched in 600 pid\nsched in 600 pid\nrun hello\n").result)
    assert [(d["code"], d["line"]) for d in result["diagnostics"]] == [("E509", 3)]
    assert (either.store.jobs.total(), either.started()) == (0, [])
    assert either.drop("sched in 600 pid\nsched in 600 pid\n", mark="2~a.cmd").accepted


def test_a_job_that_would_exceed_the_limit_fails(either: Appliance) -> None:
    either.turn(either.read(LIMITED))
    either.say("sched every 5 sched in 600 pid")
    either.after(5 * SECOND)
    either.after(5 * SECOND)
    assert [(run.state, run.reason) for run in either.history()] == [("succeeded", None), ("failed", FULL)]


def test_undone_jobs_do_not_count(either: Appliance) -> None:
    either.turn(either.read(LIMITED))
    either.database.failing_commits = 4
    either.turn(*[either.typed("sched in 600 pid") for _ in range(3)])
    either.after(SECOND)
    either.turn(*[either.typed("sched in 600 pid") for _ in range(2)])
    assert either.store.jobs.total() == either.store.jobs.count() == 2


def tick(appliance: Appliance, times: int) -> None:
    for _ in range(times):
        appliance.after(SECOND)


@pytest.mark.parametrize("ahead", [0, 1])
def test_the_oldest_ended_runs_are_removed_and_live_ones_stay(either: Appliance, ahead: int) -> None:
    either.turn(either.read(SHORT))
    either.say("run sleep 5")
    either.say("run hello")
    either.turn(ended(RunKey(2, 1), output=b"hello"))
    either.state.places = 1
    either.say("run sleep 6")
    either.say("sched every 1 pid")
    tick(either, 10 + SLACK - 1)
    assert len(either.history()) == 2 + 10 + SLACK
    assert either.store.runs.output(RunKey(2, 1)) is not None
    tick(either, 1 + ahead)
    last = 10 + SLACK
    newest = [(4, number, "succeeded") for number in range(last - 9, last + 1 + ahead)]
    assert either.states() == [(1, 1, "started"), (3, 1, "queued"), *newest]
    rows = dump(either.store)
    assert ([row[:2] for row in rows["attempts"]], rows["outputs"]) == ([(1, 1)], [])
    assert either.state.pruning.stored_runs == len(either.history())
    either.turn(ended(RunKey(1, 1)))
    assert [start.key.run for start in either.started()] == [(3, 1)]


@pytest.mark.slow
def test_a_lowered_history_limit_removes_runs_in_small_steps(either: Appliance) -> None:
    either.say("sched every 1 pid")
    tick(either, 4 * SLACK)
    counts = [len(either.history())]
    either.turn(either.read(SHORT))
    for _ in range(4):
        counts.append(len(either.history()))
        tick(either, 1)
    assert counts == [4 * SLACK, 3 * SLACK, 2 * SLACK, SLACK, SLACK + 1]


@pytest.mark.slow
def test_a_lowered_history_limit_removes_runs_also_when_nothing_is_due(either: Appliance) -> None:
    job = either.say("sched every 1 pid")
    tick(either, 4 * SLACK)
    either.say(f"sched delete {job}")
    either.turn(either.read(SHORT))
    counts = []
    while (at := either.core.wake()[1]) is not None:
        counts.append(len(either.history()))
        assert at - either.clock.moment().boot == AGAIN_MS
        either.after(AGAIN_MS)
    assert (counts, len(either.history())) == ([3 * SLACK, 2 * SLACK], SLACK)


def test_a_turn_removes_as_many_runs_as_it_adds(either: Appliance) -> None:
    either.turn(either.read(SHORT))
    either.turn(*[either.typed("sched every 1 pid") for _ in range(5 * SLACK)])
    for _ in range(3):
        tick(either, 1)
        assert len(either.history()) == 10


def test_the_runs_of_one_user_do_not_remove_those_of_others(either: Appliance) -> None:
    """A user with the least role removed the failures of all others from the history, with 400 runs."""
    names = 'job "nightly" { every = 1h  command = "run p" }\nprogram "p" { argv = ( "/bin/work" ) }\n'
    either.turn(either.read(STANZAS + names))
    either.after(60 * MINUTE)
    (start,) = either.started()
    either.turn(ended(start.key.run, 9))
    for user in (OTHER, User(0, "root")):
        assert either.ask("run hello", user).ok
        either.turn(ended(either.started()[0].key.run))
    either.turn(either.read(SHORT + names))
    for _ in range(3):
        either.turn(*[either.typed("run hello", GUEST) for _ in range(SLACK)])
        while either.state.running:
            either.turn(*[ended(key) for key in list(either.state.running)])
    assert len(either.history()) <= 10 + SLACK
    users = Counter(run.user for run in either.history())
    assert users == {"@config": 1, "other": 1, "root": 1, "guest": len(either.history()) - 3}
    assert "exit status 9" in either.say("sched history nightly")


TAKES = 'program "takes" { argv = ( "/bin/work" ) args = any overlap = parallel }\n'


def test_long_runs_of_guests_have_a_limit_in_bytes(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """One guest could fill the disk with runs that `history` keeps: of 140 KB each, or with long outputs."""
    monkeypatch.setattr(pruning, "MOST_BYTES_OF_GUESTS", 50_000)
    either.turn(either.read(STANZAS + TAKES))
    long = f"run takes {'x' * 10_000}"

    def run(line: str, user: User, output: bytes = b"") -> None:
        assert either.ask(line, user).ok
        either.turn(*[ended(key, output=output) for key in list(either.state.running)])

    for user in (OTHER, OPERATOR, User(0, "root")):
        run(long, user)
    run("run takes short", GUEST)
    for _ in range(3):
        run(long, GUEST)
    assert len(either.history()) == 7
    run("run takes x", GUEST, output=bytes(10_000))
    assert [run.key.job for run in either.history()] == [1, 2, 3, 4, 6, 7, 8]
    for number in range(5):
        run(f"run takes {number}", GUEST, output=bytes(10_000))
    assert [run.key.job for run in either.history()] == [1, 2, 3, 4, 11, 12, 13]
    assert len(either.database.rows("SELECT * FROM outputs")) == 3
    assert either.state.pruning.bytes_of_guests == either.store.runs.bytes_by_user()
    assert either.state.pruning.stored_runs == 7


def test_a_long_output_removes_few_short_ones_at_a_time(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of one program with 16 MiB removed 4,000 runs in its turn, while no job could start."""
    monkeypatch.setattr(pruning, "MOST_BYTES_OF_GUESTS", 100_000)
    monkeypatch.setattr(pruning, "MOST_LONG", 4)
    either.turn(either.read(STANZAS + TAKES))

    def run(number: int, size: int) -> int:
        either.turn(*[either.typed("run takes", GUEST) for _ in range(number)])
        either.turn(*[ended(key, output=bytes(size)) for key in list(either.state.running)])
        return len(either.history())

    assert [run(1, 5000) for _ in range(19)] == list(range(1, 20))
    assert either.core.wake()[1] is None
    counts = [run(2, 45_000)]
    while (at := either.core.wake()[1]) is not None:
        assert at - either.clock.moment().boot == AGAIN_MS
        either.after(AGAIN_MS)
        counts.append(len(either.history()))
    assert counts == [15, 11, 7, 3]
    monkeypatch.setattr(pruning, "MOST_LONG_BYTES", 10_000)
    monkeypatch.setattr(pruning, "MOST_BYTES_OF_GUESTS", 1)
    counts = [run(1, 5000)]
    while either.core.wake()[1] is not None:
        either.after(AGAIN_MS)
        counts.append(len(either.history()))
    assert counts == [2, 1, 0]


def test_runs_that_end_at_once_and_late_outputs_count_too(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "MOST_BYTES_OF_GUESTS", 50_000)
    either.turn(either.read(STANZAS + TAKES))
    assert either.ask(f"sched every 1 sched delete {'x' * 20_000}", GUEST).ok
    tick(either, 5)
    failed = [run.key.occurrence for run in either.history()]
    assert 0 < len(failed) < 4 and failed[-1] == 5
    either.say("sched delete example.com-000000001")
    assert either.ask("run takes x", OTHER).ok
    (start,) = either.started()
    either.turn(ended(start.key.run))
    before = sum(either.state.pruning.bytes_of_guests.values())
    either.turn(ProgramOutput(start.key, bytes(5000), 5000))
    assert sum(either.state.pruning.bytes_of_guests.values()) - before > 5000
    either.turn(ProgramOutput(start.key, bytes(49_000), 49_000))
    assert [run.user for run in either.history()] == ["guest"] * 2
    assert either.state.pruning.bytes_of_guests == either.store.runs.bytes_by_user()


def test_long_runs_whose_failure_must_be_answered_stay(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "MOST_BYTES_OF_GUESTS", 0)
    answer = 'program "p" { argv = ( "/bin/work" ) args = any on_failure = "sched in 9999 run hello" }\n'
    either.turn(either.read(STANZAS + TAKES + answer))
    for status, line in ((1, "run p"), (0, "run takes")):
        assert either.ask(f"{line} {'x' * 5000}", GUEST).ok
        either.turn(*[ended(key, status) for key in list(either.state.running)])
    assert [run.key.job for run in either.history() if run.user == "guest"] == [1]


def test_long_runs_are_counted_after_a_restart_and_when_they_are_removed(appliance: Appliance) -> None:
    appliance.turn(appliance.read(SHORT + TAKES))
    for number in range(10 + SLACK):
        assert appliance.ask(f"run takes {'x' * 5000}", (GUEST, OTHER)[number % 2]).ok
        appliance.turn(*[ended(key) for key in list(appliance.state.running)])
    sizes = dict(appliance.state.pruning.bytes_of_guests)
    assert sizes.keys() == {2000, 2001} and sizes == appliance.store.runs.bytes_by_user()
    appliance.restart(stanzas=SHORT + TAKES)
    assert appliance.state.pruning.bytes_of_guests == sizes
    assert appliance.ask("run hello", GUEST).ok
    appliance.turn(*[ended(key) for key in list(appliance.state.running)])
    assert len(appliance.history()) < 20
    assert sum(appliance.state.pruning.bytes_of_guests.values()) < sum(sizes.values())
    assert appliance.state.pruning.bytes_of_guests == appliance.store.runs.bytes_by_user()


def test_live_runs_do_not_count_as_history_and_cause_no_wake(either: Appliance) -> None:
    either.turn(either.read(f"sched {{ history = 0 max_running = 1 }}\n{STANZAS}"))
    either.turn(*[either.typed("run hello") for _ in range(2 * SLACK)])
    assert (len(either.history()), either.core.wake()) == (2 * SLACK, (None, None))
    for number in range(1, SLACK + 1):
        either.turn(ended(RunKey(number, 1)))
    assert len(either.history()) == 2 * SLACK
    either.turn(ended(RunKey(SLACK + 1, 1)))
    assert [run.state for run in either.history()] == ["succeeded", "started", *["queued"] * (SLACK - 2)]


def test_runs_with_long_outputs_are_removed_few_at_a_time(either: Appliance) -> None:
    """Each output has a quarter of the bytes that may go in one turn, so four go if nothing else is to be done."""
    either.turn(*[either.typed("run hello") for _ in range(SLACK + 20)])
    for start in either.started():
        either.turn(ended(start.key.run, output=bytes(MOST_BYTES // 4)))
    while either.state.running:
        either.turn(*[ended(key, output=bytes(MOST_BYTES // 4)) for key in list(either.state.running)])
    either.turn(either.read(f"sched {{ history = 0 }}\n{STANZAS}"))
    counts = []
    while (at := either.core.wake()[1]) is not None:
        counts.append(len(either.history()))
        either.after(at - either.clock.moment().boot)
    assert counts == [SLACK + 16, SLACK + 12, SLACK + 8, SLACK + 4]
    assert len(either.history()) == SLACK
    assert either.database.rows("SELECT count(*) FROM outputs") == [(SLACK,)]


def test_runs_that_must_stay_cause_no_wake(either: Appliance) -> None:
    """Runs whose failure must still be answered."""
    answer = 'program "p" { argv = ( "/bin/work" ) on_failure = "sched in 9999 run hello" }\n'
    either.turn(either.read(STANZAS + answer))
    either.turn(*[either.typed("run p") for _ in range(SLACK + 5)])
    while either.state.running:
        either.turn(*[ended(key, 1) for key in list(either.state.running)])
    either.after(SECOND)
    either.turn(either.read(f"sched {{ history = 0 }}\n{STANZAS}{answer}"))
    for _ in range(3):
        either.after(AGAIN_MS)
    assert either.core.wake()[1] is None
    assert len(either.history()) == SLACK + 5


def test_the_same_runs_stay_after_a_restart(appliance: Appliance) -> None:
    appliance.turn(appliance.read(SHORT))
    appliance.say("sched every 1 pid")
    tick(appliance, 10 + SLACK)
    appliance.restart(stanzas=SHORT)
    assert (len(appliance.history()), appliance.state.pruning.stored_runs) == (10 + SLACK, 10 + SLACK)
    tick(appliance, 1)
    assert len(appliance.history()) == 10


def test_numbers_of_removed_runs_are_not_reused(either: Appliance) -> None:
    either.turn(either.read(f"sched {{ history = 0 }}\n{STANZAS}"))
    either.say("sched every 1 pid")
    tick(either, SLACK + 1)
    assert either.history() == []
    tick(either, 1)
    assert either.states() == [(1, SLACK + 2, "succeeded")]


def test_needed_failures_are_skipped_in_small_steps(either: Appliance) -> None:
    """Their answers wait. Each turn looks at some of them, and removable runs behind them are still removed."""
    both = either.store.runs, either.database
    either.turn(either.read(f"sched {{ history = 10 }}\n{STANZAS}"))
    either.say("sched every 86400 pid")
    needed = 5 * SWEPT_AT_ONCE
    with either.store.transaction():
        both[1].execute(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) "
            "INSERT INTO runs (job, occurrence, due_ms, state, command, uid, user, origin, claimed_ms) "
            "SELECT 1000000 + n, 1, 0, 'failed', 'run p', 0, 'x', 'console', 0 FROM c",
            (needed,),
        )
        both[1].execute(
            "INSERT INTO jobs (kind, command, parsed, grammar, uid, user, origin, created_ms, failed_job, failed_occurrence)"
            " SELECT 'run', command, '', 0, 0, 'x', 'stanza', 0, job, 1 FROM runs"
        )
    either.state.pruning.count_runs(both[0])
    for _ in range(3):
        either.say("run hello")
        either.turn(ended(RunKey(either.history()[-1].key.job, 1)))
    swept = [dict(either.state.pruning.sweeps)]
    while either.core.wake()[1] is not None:
        either.after(AGAIN_MS)
        swept.append(dict(either.state.pruning.sweeps))
        assert len(swept) < 20
    assert len({tuple(sweeps.items()) for sweeps in swept}) >= 4, "not all of them at once"
    assert (both[0].count(), either.state.pruning.stored_runs) == (needed, needed)
    # The first ones are answered. They are removed next, although others stand before the mark.
    both[1].execute("DELETE FROM jobs WHERE failed_job <= 1000050")
    for _ in range(20):
        either.say("pid")
    assert both[0].count() == needed - 50


def test_waiting_runs_of_one_user_do_not_keep_the_history_of_others(either: Appliance) -> None:
    """The user has the most runs, but none that could be removed."""
    either.turn(either.read(f"sched {{ history = 10 max_running = 1 }}\n{STANZAS}"))
    with either.store.transaction():
        either.database.execute(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) "
            "INSERT INTO runs (job, occurrence, due_ms, state, command, uid, user, origin, claimed_ms) "
            "SELECT 1000000 + n, 1, 0, 'queued', 'run hello', 2000, 'guest', 'console', 0 FROM c",
            (3 * SWEPT_AT_ONCE,),
        )
        either.database.execute("INSERT INTO rows_of_users (uid, runs) VALUES (2000, ?)", (3 * SWEPT_AT_ONCE,))
    either.state.read_back()
    either.state.pruning.count_runs(either.store.runs)
    for _ in range(20):
        either.turn(*[either.typed("sched in 1 pid", User(0, "root")) for _ in range(20)])
        either.after(SECOND)
        (ended_runs,) = either.database.row("SELECT count(*) FROM runs WHERE state NOT IN ('queued', 'started')")
        assert ended_runs <= 10 + SLACK + 20, "those of one turn may be too many"


def test_an_output_that_arrives_after_its_run_was_removed_is_discarded(either: Appliance) -> None:
    """The output waited for space on a full disk while its run was removed."""
    either.say("run hello")
    for key, count in ((RunKey(1, 1), 1), (RunKey(99, 1), 0)):
        either.turn(ProgramOutput(AttemptKey(key, 1), b"late", 4))
        counted = either.store._database.row("SELECT count(*) FROM outputs WHERE job = ?", (key.job,))
        assert counted[0] == count


@pytest.mark.parametrize(
    ("edit", "is_read"),
    [
        (STANZAS + "# A comment\n", False),
        (STANZAS + 'job "more" { every = 1h command = pid }\n', False),
        (STANZAS + 'program "more" { argv = ( "/bin/work" ) }\n', True),
        (STANZAS.replace('"sleep" {', '"sleep" { max_running = 1 '), True),
        (STANZAS.replace('"sleep" {', '"sleep" { overlap = queue '), True),
        (STANZAS + 'notify "ops" { command = "run sleep 5" }\n', True),
        (STANZAS + 'Authorization { Role "a" { allow = ( "." ) users = ( "operator" ) } }\n', True),
    ],
)
def test_the_queue_is_read_anew_only_if_its_runs_may_wait_for_something_else(
    either: Appliance, edit: str, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.turn(either.read(f"sched {{ max_running = 1 }}\n{STANZAS}"))
    for _ in range(3):
        either.say("run sleep 5")
    read: list[int] = []
    read_queue = State.read_queue

    def noted(state: State, busy: set[int]) -> None:
        read.append(state.queue.number)
        read_queue(state, busy)

    monkeypatch.setattr(State, "read_queue", noted)
    either.turn(either.read(f"sched {{ max_running = 1 }}\n{edit}"))
    assert bool(read) == is_read
