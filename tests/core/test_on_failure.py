"""`on_failure`: which ends it answers, once each, what its program learns, and that it never answers itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schedappliance.core.pruning import SLACK
from schedappliance.engine.effects import LogMessage
from schedappliance.engine.events import ProgramNotStarted, StopRequested
from schedappliance.engine.records import CONFIG_USER, AttemptKey, KnownUser, ProcessKey, RunKey, User
from tests.support.core import (
    MINUTE,
    OPERATOR,
    SECOND,
    STANZAS,
    START_MS,
    Appliance,
    ended,
    some,
    users_are_counted,
)

ROOT, GUEST, OTHER = User(0, "root"), User(2000, "guest"), User(2001, "other")
FIRST, SECOND_JOB = RunKey(1, 1), RunKey(2, 1)
ONE, TWO = "example.com-000000001", "example.com-000000002"
S = START_MS // 1000


def files(policy: str = "", command: str = "run alert", alert: str = "", sched: str = "") -> str:
    return (
        f"sched {{ {sched} }}\n{STANZAS}"
        f'program "p" {{ argv = ( "/bin/work" ) args = any on_failure = "{command}" {policy} }}\n'
        f'program "alert" {{ argv = ( "/bin/alert" ) args = any {alert} }}\n'
    )


def failed(appliance: Appliance, stanzas: str, line: str = "run p") -> None:
    """Makes the first run of the program fail in the last turn."""
    appliance.turn(appliance.read(stanzas))
    appliance.say(line)
    appliance.turn(ended(FIRST, 3, output=b"out\n"))


def answers(appliance: Appliance) -> list[tuple[RunKey, str, RunKey | None]]:
    """The runs that answer a failure, the oldest first."""
    return [(run.key, run.command, run.on_failure_of) for run in appliance.history() if run.on_failure_of]


ENDS: dict[str, tuple[str, Callable[[Appliance], object], int]] = {
    "success": ("", lambda a: a.turn(ended(FIRST)), 0),
    "another success": ("success = ( 3 )", lambda a: a.turn(ended(FIRST, 3)), 0),
    "failure": ("", lambda a: a.turn(ended(FIRST, 3)), 1),
    "signal": ("", lambda a: a.turn(ended(FIRST, signal=11)), 1),
    "no start": ("", lambda a: a.turn(ProgramNotStarted(AttemptKey(FIRST, 1), "no such file")), 1),
    "no room": ("", lambda a: a.turn(ProgramNotStarted(AttemptKey(FIRST, 1), "no memory", exhausted=True)), 0),
    "first of two attempts": ("retries = 1", lambda a: a.turn(ended(FIRST, 3)), 0),
    "last of two attempts": (
        "retries = 1 retry_delay = 0",
        lambda a: [a.turn(ended(FIRST, 3)), a.turn(ended(FIRST, 3, attempt=2))],
        1,
    ),
    "success after a failure": (
        "retries = 1 retry_delay = 0",
        lambda a: [a.turn(ended(FIRST, 3)), a.turn(ended(FIRST, 0, attempt=2))],
        0,
    ),
    "timeout": ("timeout = 5", lambda a: [a.after(5_000), a.turn(ended(FIRST, signal=15))], 1),
    "stop": ("", lambda a: [a.turn(StopRequested("SIGTERM")), a.turn(ended(FIRST, signal=15))], 1),
}


@pytest.mark.parametrize("name", ENDS)
def test_it_answers_every_final_failure(either: Appliance, name: str) -> None:
    policy, end, count = ENDS[name]
    either.turn(either.read(files(policy)))
    either.say("run p")
    end(either)
    jobs = either.database.row("SELECT count(*) FROM jobs WHERE failed_job = 1 AND failed_occurrence = 1")[0]
    assert len(answers(either)) + jobs == count
    assert ("on failure of run" in "".join(log.message for log in some(LogMessage, either.past))) is (count == 1)


@pytest.mark.parametrize(("policy", "count"), [("", 1), ("on_interrupt = rerun", 0)])
def test_it_answers_an_interruption_without_a_rerun(appliance: Appliance, policy: str, count: int) -> None:
    appliance.turn(appliance.read(files(policy)))
    appliance.say("run p")
    appliance.restart(SECOND, stanzas=files(policy))
    appliance.turn()
    assert answers(appliance) == [(SECOND_JOB, "run alert", FIRST)] * count
    assert [start.argv for start in appliance.started()] == [("/bin/alert" if count else "/bin/work",)]


@pytest.mark.parametrize("overlap", ["skip", "replace"])
def test_ends_that_are_not_failures_are_not_answered(either: Appliance, overlap: str) -> None:
    either.turn(either.read(files(f"overlap = {overlap}")))
    either.say("sched every 60 run p")
    either.after(MINUTE)
    either.after(MINUTE)
    either.turn(ended(FIRST, signal=15) if overlap == "replace" else ended(FIRST))
    assert {run.state for run in either.history()} & {"skipped", "replaced"}
    assert answers(either) == []


def test_a_failed_start_is_answered_if_the_program_is_declared(either: Appliance) -> None:
    stanzas = files().replace('"/bin/work"', '"/bin/work" "%{nowhere_set}"')
    either.turn(either.read(stanzas))
    either.say("run p")
    assert either.core.wake()[0] == START_MS
    either.turn()
    assert [(start.key.run, start.argv) for start in either.started()] == [(SECOND_JOB, ("/bin/alert",))]
    environment = dict(either.started()[0].env)
    assert environment["SCHED_FAILED_REASON"] == "option `nowhere_set` is not set"
    assert (environment["SCHED_FAILED_EXIT_STATUS"], environment["SCHED_FAILED_OUTPUT"]) == ("", "")


@pytest.mark.parametrize(
    ("new", "count"), [("args = none", 1), ("gone", 0), ("args = any", 0)], ids=["misfit", "gone", "well"]
)
def test_a_queued_run_is_answered_by_the_current_on_failure_of_its_program(
    either: Appliance, new: str, count: int
) -> None:
    either.turn(either.read(files()))
    either.state.places = 0
    either.say("run p 1")
    changed = STANZAS if new == "gone" else files().replace("args = any", new, 1)
    either.turn(either.read(changed))
    either.state.places = 5
    either.turn()
    either.turn()
    assert len(answers(either)) == count
    assert either.states()[0] == (1, 1, "started" if new == "args = any" else "failed")


def test_the_answer_and_the_end_are_one_transaction(either: Appliance) -> None:
    either.turn(either.read(files(command="config set noted 1")))
    either.say("run p")
    either.database.failing_commits = 1
    either.turn(ended(FIRST, 3))
    assert (either.states(), either.store.settings.overrides()) == ([(1, 1, "started")], [])
    either.after(SECOND)
    assert either.states() == [(1, 1, "failed"), (2, 1, "succeeded")]
    either.turn(ended(FIRST, 3))
    assert len(either.history()) == 2


def test_the_environment_of_its_program_describes_the_failure(either: Appliance) -> None:
    either.turn(either.read(files()))
    either.say("sched in 5 run p 'a b'")
    either.after(7 * SECOND)
    either.after(SECOND, ended(FIRST, signal=9, output=b"one\ntwo\n"))
    (start,) = either.started()
    assert (start.key.run, start.argv) == (SECOND_JOB, ("/bin/alert",))
    environment = dict(start.env)
    assert {name: value for name, value in environment.items() if name.startswith("SCHED_FAILED_")} == {
        "SCHED_FAILED_JOB_ID": ONE,
        "SCHED_FAILED_RUN_ID": f"{ONE}/1",
        "SCHED_FAILED_COMMAND": "run p 'a b'",
        "SCHED_FAILED_DUE_TIME": str(S + 5),
        "SCHED_FAILED_STATE": "failed",
        "SCHED_FAILED_REASON": "ended by signal 9 (SIGKILL)",
        "SCHED_FAILED_EXIT_STATUS": "137",
        "SCHED_FAILED_OUTPUT": "one\ntwo\n",
    }
    assert (environment["SCHED_JOB_ID"], environment["SCHED_DUE_TIME"]) == (TWO, str(S + 8))


def test_no_other_program_gets_the_failure_variables(either: Appliance) -> None:
    failed(either, files())
    either.say("run hello")
    assert [name for name, _ in either.started()[0].env if "FAILED" in name] == []


def test_a_command_of_on_failure_is_carried_out_as_the_files_own(either: Appliance) -> None:
    failed(either, files(command="config set noted 1"))
    assert [override.value for override in either.store.settings.overrides()] == ["1"]
    (_, run) = either.history()
    assert (run.key, run.state, run.command, run.user) == (SECOND_JOB, "succeeded", "config set noted 1", "@config")
    assert "info: user=@config uid=1000 origin=job command='config set noted 1' ok" in either.logged()
    assert either.next_runs() == []


def test_a_rejected_command_is_a_failed_run(either: Appliance) -> None:
    failed(either, files(command=f"sched delete {TWO[:-1]}9"))
    assert either.states() == [(1, 1, "failed"), (2, 1, "failed")]
    assert "there is no job" in (either.history()[1].reason or "")


def test_it_may_stop_the_appliance(either: Appliance) -> None:
    failed(either, files(command="shutdown"))
    assert (either.state.stopped, either.states()[1]) == (True, (2, 1, "succeeded"))


def test_its_own_runs_are_not_answered(either: Appliance) -> None:
    """Its program has an `on_failure` that would otherwise start itself for ever."""
    failed(either, files(command="run p again"))
    assert [start.argv for start in either.started()] == [("/bin/work", "again")]
    either.turn(ended(SECOND_JOB, 3))
    assert (either.started(), either.states()) == ([], [(1, 1, "failed"), (2, 1, "failed")])


def test_its_own_runs_are_retried_like_any_other_with_the_same_variables(either: Appliance) -> None:
    failed(either, files(alert="retries = 1 retry_delay = 5"))
    first = dict(either.started()[0].env)
    either.turn(ended(SECOND_JOB, 1))
    either.after(6 * SECOND)
    (start,) = either.started()
    assert dict(start.env) == first | {"SCHED_ATTEMPT": "2"}


@pytest.mark.parametrize("command", ["sched in 5 run p again", "sched in 1 json sched in 2 sched in 2 run p again"])
def test_jobs_that_it_schedules_are_not_answered_and_get_the_same_variables(appliance: Appliance, command: str) -> None:
    failed(appliance, files(command=command))
    for _ in range(5):
        appliance.restart(SECOND, stanzas=files(command=command))
        appliance.turn()
    (start,) = appliance.started()
    assert dict(start.env)["SCHED_FAILED_RUN_ID"] == f"{ONE}/1"
    appliance.turn(ended(start.key.run, 3))
    appliance.after(MINUTE)
    assert (appliance.started(), appliance.next_runs()) == ([], [])
    assert {answered for _, _, answered in answers(appliance)} == {FIRST}


def test_a_job_that_it_runs_by_hand_is_not_answered_for_that_run(either: Appliance) -> None:
    either.turn(either.read(files(command=f"sched run {ONE}")))
    either.say("sched every 60 run p")
    either.after(MINUTE)
    either.turn(ended(FIRST, 3))
    assert [start.key.run for start in either.started()] == [RunKey(1, 2)]
    either.turn(ended(RunKey(1, 2), 3))
    assert either.started() == []
    either.after(MINUTE)
    either.turn(ended(RunKey(1, 3), 3))
    assert [start.key.run for start in either.started()] == [RunKey(1, 4)], (
        "failures of the job itself are still answered"
    )


def test_its_queued_run_starts_after_a_crash_with_all_variables(appliance: Appliance) -> None:
    appliance.turn(appliance.read(files()))
    appliance.state.places = 1
    appliance.turn(appliance.typed("run p"), appliance.typed("run hello"), appliance.typed("run hello"))
    appliance.turn(ended(FIRST, 3, output=b"\xff\0end"))
    assert appliance.states()[-1] == (4, 1, "queued")
    appliance.restart(SECOND, stanzas=files())
    appliance.turn()
    environment = dict(appliance.started()[-1].env)
    assert (environment["SCHED_RUN_ID"], environment["SCHED_FAILED_RUN_ID"]) == ("example.com-000000004/1", f"{ONE}/1")
    assert environment["SCHED_FAILED_OUTPUT"].encode(errors="surrogateescape") == b"\xffend"


@pytest.mark.parametrize(("policy", "again"), [("", False), ("on_interrupt = rerun", True)])
def test_a_crash_before_its_start_leaves_an_attempt_that_may_be_rerun(
    appliance: Appliance, policy: str, again: bool
) -> None:
    failed(appliance, files(alert=policy))
    first = dict(appliance.started()[0].env)
    appliance.restart(SECOND, stanzas=files(alert=policy))
    appliance.turn()
    assert [dict(start.env) for start in appliance.started()] == [first | {"SCHED_ATTEMPT": "2"}] * again
    assert appliance.states() == [(1, 1, "failed"), (2, 1, "started" if again else "interrupted")]


@pytest.mark.parametrize("catch_up", ["once", "none", "all", "once catch_up_within = 1"])
def test_an_interruption_by_a_stop_is_answered_after_the_next_start(appliance: Appliance, catch_up: str) -> None:
    """It has no due time that `catch_up` could leave out."""
    stanzas = files(sched=f"catch_up = {catch_up}")
    appliance.turn(appliance.read(stanzas))
    appliance.say("run p")
    appliance.turn(StopRequested("SIGTERM"))
    appliance.turn(ended(FIRST, signal=15))
    assert (appliance.started(), appliance.states()) == ([], [(1, 1, "interrupted")])
    appliance.restart(60 * MINUTE, stanzas=stanzas)
    appliance.turn()
    environment = dict(appliance.started()[0].env)
    assert (environment["SCHED_FAILED_STATE"], environment["SCHED_FAILED_EXIT_STATUS"]) == ("interrupted", "143")


def test_a_stop_does_not_cause_another_stop_at_the_next_start(appliance: Appliance) -> None:
    stanzas = files(command="shutdown")
    appliance.turn(appliance.read(stanzas))
    appliance.say("run p")
    appliance.turn(StopRequested("SIGTERM"))
    appliance.turn(ended(FIRST, signal=15))
    appliance.restart(MINUTE, stanzas=stanzas)
    appliance.turn()
    assert (appliance.state.stopping, appliance.states()[-1]) == (False, (2, 1, "missed"))


def test_the_failed_run_is_known_however_many_runs_have_followed(either: Appliance) -> None:
    failed(either, files(command="sched in 2000 run alert", sched="history = 0"))
    either.say("sched every 1 pid")
    for _ in range(SLACK + 5):
        either.after(SECOND)
    assert len(either.history()) < SLACK
    assert either.states()[0] == (1, 1, "failed")
    either.after(2000 * SECOND)
    (start,) = either.started()
    assert dict(start.env)["SCHED_FAILED_OUTPUT"] == "out\n"
    either.turn(ended(start.key.run))
    for _ in range(SLACK + 5):
        either.after(SECOND)
    assert FIRST not in [run.key for run in either.history()]


def test_a_failure_is_answered_although_the_job_limit_is_reached(either: Appliance) -> None:
    stanzas = files(sched="max_jobs = 1")
    either.turn(either.read(stanzas))
    either.say("sched every 60 run p")
    either.after(MINUTE)
    either.turn(ended(FIRST, 3))
    assert [start.argv for start in either.started()] == [("/bin/alert",)]


def test_the_history_says_whose_failure_a_run_answers(either: Appliance) -> None:
    failed(either, files())
    either.turn(ended(SECOND_JOB, 1))
    lines = either.say("sched history").splitlines()
    assert lines[1] == f"{TWO}/1\t{S}\tfailed\t1\trun alert\ton failure of {ONE}/1: exit status 1"
    assert [run["on_failure_of"] for run in either.data("sched history")] == [f"{ONE}/1", None]


def test_show_and_why_say_whose_failure_a_job_answers(either: Appliance) -> None:
    failed(either, files(command="sched in 60 run alert"))
    assert f"{TWO}/1\t{S}\tsucceeded\t\tsched in 60 run alert\ton failure of {ONE}/1\n" in either.say("sched history")
    job = "example.com-000000003"
    assert f"\non failure of: {ONE}/1\n" in either.say(f"sched show {job}")
    assert either.data(f"sched show {job}")["on_failure_of"] == f"{ONE}/1"
    assert f"\nit was made by `on_failure`: run {ONE}/1 failed" in either.say(f"sched why {job}")
    either.say("sched in 60 pid")
    assert either.data("sched show example.com-000000004")["on_failure_of"] is None
    assert "on_failure" not in either.say("sched why example.com-000000004")


def test_its_job_belongs_to_the_files(either: Appliance) -> None:
    failed(either, files(command="sched in 60 run alert"))
    job = either.store.jobs.get(3)
    assert job is not None
    assert (job.user, job.origin, job.on_failure_of) == (CONFIG_USER._replace(uid=OPERATOR.uid), "stanza", FIRST)


def counts_of(appliance: Appliance, uid: int) -> tuple[int, int, int]:
    """How many programs of guests run, and how many runs of a guest wait and are stored."""
    state, runs = appliance.state, appliance.store.runs.count_by_user()
    return state.running.of_guests, state.queue.of_guests[uid], runs.get(uid, 0)


MANY_FAIL = (
    'sched { max_running = 8 }\nprogram "p" { argv = ( "/bin/work" ) on_failure = "COMMAND" overlap = parallel }\n'
    'program "alert" { argv = ( "/bin/alert" ) overlap = parallel }\njob "mend" { every = 1d command = "run alert" }\n'
)


@pytest.mark.parametrize("command", ["run alert", "sched run mend"])
def test_it_takes_the_places_of_the_user_whose_run_failed(appliance: Appliance, command: str) -> None:
    """A guest whose runs fail kept all others waiting, also root."""
    files = MANY_FAIL.replace("COMMAND", command)
    appliance.turn(appliance.read(files))
    appliance.turn(*[appliance.typed("run p", GUEST) for _ in range(7)])
    appliance.turn(*[appliance.typed("run alert", OTHER) for _ in range(5)])
    appliance.turn(*[ended(key, 1) for key in appliance.state.running])
    appliance.turn()
    stored = 14 if command == "run alert" else 21
    assert counts_of(appliance, GUEST.uid) == (7, 4, stored)
    users_are_counted(appliance.store)
    survivors = {one.key: ProcessKey(300, 7) for one in appliance.state.running.values()}
    appliance.restart(survivors=survivors, stanzas=files)
    appliance.turn()
    assert counts_of(appliance, GUEST.uid) == (7, 4, stored)
    appliance.turn(appliance.typed("run alert", ROOT))
    assert len(appliance.state.running) == 8, "the last place is kept"


def test_a_declared_job_that_it_runs_is_not_skipped_for_want_of_a_place_of_a_guest(either: Appliance) -> None:
    calm = 'program "calm" { argv = ( "/bin/calm" ) }\njob "mend" { every = 1d command = "run calm" }\n'
    files = MANY_FAIL.split("job")[0].replace("COMMAND", "sched run mend") + calm
    either.turn(either.read(files))
    either.turn(
        *[either.typed("run p", GUEST) for _ in range(7)], *[either.typed("run alert", OTHER) for _ in range(9)]
    )
    either.turn(ended(next(iter(either.state.running)), 1))
    assert [start.argv[0] for start in either.started()] == ["/bin/alert", "/bin/calm"]


def test_its_jobs_count_for_the_user_whose_run_failed(either: Appliance) -> None:
    """One job of a guest filled `max_jobs`, and removed the history of root."""
    either.turn(either.read(MANY_FAIL.replace("COMMAND", "sched in 1d run alert").replace("max_running", "max_jobs")))
    assert either.ask("sched every 60 run p", GUEST).ok
    for _ in range(6):
        either.after(MINUTE)
        either.turn(*[ended(key, 1) for key in either.state.running])
    assert either.store.jobs.of_user(GUEST.uid) == 4
    (reason,) = {run.reason for run in either.history() if run.state == "failed" and run.on_failure_of}
    assert (
        reason
        == "user 2000 already has 4 jobs, half of all that may exist; delete some, or raise `max_jobs` in `sched`"
    )
    assert either.ask("sched in 60 run alert").ok
    shares = [log.share for log in some(LogMessage, either.past) if "on failure of run" in log.message]
    assert shares == ["uid=2000 runs"] * 6


def test_it_needs_no_role_of_the_user_whose_run_failed(appliance: Appliance) -> None:
    role = 'Authorization { Role "one" { allow = ( "^run p$" ) users = ( "guest" ) } }\n'
    appliance.turn(appliance.read(MANY_FAIL.replace("COMMAND", "sched run mend") + role))
    appliance.people[GUEST.uid] = KnownUser(*GUEST)
    appliance.turn(appliance.typed("run p", GUEST))
    (start,) = appliance.started()
    appliance.turn(ended(start.key.run, 1))
    assert [start.argv for start in appliance.started()] == [("/bin/alert",)]


def test_an_override_of_another_option_does_not_change_on_failure(either: Appliance) -> None:
    either.turn(either.read(files()))
    either.say("config set program p retries 0")
    assert 'on_failure = "run alert"' in either.say("config show program p")
    either.say("run p")
    either.turn(ended(FIRST, 3))
    assert answers(either) == [(SECOND_JOB, "run alert", FIRST)]
