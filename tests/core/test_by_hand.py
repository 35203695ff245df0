"""`sched run`, `sched pause` and `sched resume`: their effect on a job and its due times."""

from __future__ import annotations

import json

import pytest

from schedappliance.engine.records import RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, dump, ended, spoken

ONE, TWO = "example.com-000000001", "example.com-000000002"
DECLARED = STANZAS + 'job "a" { every = 60 command = "config set a 1" }\n'
OFF = DECLARED.replace("every", "enabled = no every")


def outcomes(appliance: Appliance, job: int | None = None) -> list[tuple[RunKey, str, int | None, str | None]]:
    return [(run.key, run.state, run.missed_count, run.reason) for run in appliance.history(job)]


def test_a_run_by_hand_is_another_occurrence_and_moves_no_due_time(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.after(20 * SECOND)
    assert either.say(f"sched run {ONE}") == f"{ONE}/1"
    assert [(start.key.run, dict(start.env)["SCHED_DUE_TIME"]) for start in either.started()] == [
        ((1, 1), str(START_MS // 1000 + 20))
    ]
    assert either.core.wake()[0] == START_MS + MINUTE
    either.turn(ended(RunKey(1, 1)))
    either.after(40 * SECOND)
    assert [(run.key, run.due_ms) for run in either.history()] == [
        ((1, 1), START_MS + 20 * SECOND),
        ((1, 2), START_MS + MINUTE),
    ]


def test_a_one_shot_job_that_was_run_by_hand_still_runs_at_its_due_time(either: Appliance) -> None:
    either.say("sched in 60 config set a 1")
    assert either.data(f"sched run {ONE}") == {"run": f"{ONE}/1", "state": "succeeded", "reason": None}
    assert either.store.jobs.count() == 1
    either.after(MINUTE)
    assert (either.states(), either.store.jobs.count()) == ([(1, 1, "succeeded"), (1, 2, "succeeded")], 0)


def test_a_run_by_hand_obeys_overlap(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.turn(either.typed(f"sched run {ONE}"), either.typed(f"sched run {ONE}"))
    assert either.states() == [(1, 1, "started"), (1, 2, "skipped")]
    either.after(MINUTE)
    assert either.states()[2] == (1, 3, "skipped")


SKIPPED = f"run {ONE}/2 skipped: the job's last run has not ended"


def test_sched_run_reports_a_skipped_run(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    assert either.data(f"sched run {ONE}") == {"run": f"{ONE}/1", "state": "started", "reason": None}
    answer = either.ask(f"sched run {ONE}")
    assert (answer.output, answer.error) == (f"{ONE}/2", SKIPPED)
    answer = either.ask(f"json sched run {ONE}")
    assert json.loads(spoken(answer._replace(error=None))) == {
        "run": f"{ONE}/3",
        "state": "skipped",
        "reason": "the job's last run has not ended",
    }
    assert answer.error is not None


def test_sched_run_fails_if_the_run_cannot_start_but_not_if_it_waits(either: Appliance) -> None:
    either.turn(either.read(f"sched {{ max_running = 1 }}\n{STANZAS}"))
    for line in ("sched every 60 run unset", "sched every 60 run sleep 5", "sched every 60 run sleep 6"):
        either.say(line)
    assert either.ask(f"sched run {ONE}").error == f"run {ONE}/1 failed: option `nowhere_set` is not set"
    assert either.data(f"sched run {TWO}")["state"] == "started"
    assert either.data("sched run example.com-000000003")["state"] == "queued"


def test_a_job_fails_if_its_run_of_another_job_is_skipped(either: Appliance) -> None:
    either.say("sched every 900 run sleep 5")
    either.say(f"sched run {ONE}")
    either.say(f"sched in 60 sched run {ONE}")
    either.after(MINUTE)
    assert outcomes(either, 2) == [((2, 1), "failed", None, SKIPPED)]


def test_a_skipped_run_in_a_drop_is_reported_and_undoes_nothing(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.say(f"sched run {ONE}")
    result = json.loads(either.drop(f"sched in 60 pid\nsched run {ONE}\n").result)
    assert (result["accepted"], result["results"]) == (
        True,
        [
            {"line": 1, "output": TWO},
            {"line": 2, "output": f"{ONE}/2", "error": SKIPPED},
        ],
    )
    assert either.states(1) == [(1, 1, "started"), (1, 2, "skipped")]


@pytest.mark.parametrize(("command", "second"), [("run sleep 5", "skipped"), ("config set a 1", "succeeded")])
def test_a_job_that_is_due_in_the_turn_in_which_it_is_run_by_hand_is_claimed_once_for_each(
    either: Appliance, command: str, second: str
) -> None:
    either.say(f"sched every 60 {command}")
    either.after(MINUTE, either.typed(f"sched run {ONE}"))
    either.turn()
    first = "started" if second == "skipped" else "succeeded"
    assert either.states() == [(1, 1, first), (1, 2, second)]
    either.turn()
    assert (len(either.history()), either.core.wake()[0]) == (2, START_MS + 2 * MINUTE)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("prefix", ["", "json "])
def test_a_job_may_run_another_that_is_due_in_the_same_tick(either: Appliance, order: str, prefix: str) -> None:
    """The job that runs the other is claimed before it or after it."""
    runner, target = (1, 2) if order == "before" else (2, 1)
    lines = {target: "sched every 60 config set a 1", runner: f"sched in 60 {prefix}sched run example.com-{target:09d}"}
    for number in (1, 2):
        either.say(lines[number])
    either.after(MINUTE)
    either.turn()
    assert either.states(target) == [(target, 1, "succeeded"), (target, 2, "succeeded")]
    assert either.states(runner) == [(runner, 1, "succeeded")]
    assert either.core.wake()[0] == START_MS + 2 * MINUTE


def test_jobs_that_would_run_each_other_in_a_circle_are_rejected(either: Appliance) -> None:
    either.say(f"sched every 60 sched run {TWO}")
    either.say(f"sched every 60 sched run {ONE}")
    either.say("sched in 60 sched in 5 pid")
    either.after(MINUTE)
    circle = "jobs could run each other endlessly; schedule the inner command itself"
    assert outcomes(either) == [
        ((1, 1), "failed", None, circle),
        ((2, 1), "failed", None, circle),
        ((3, 1), "succeeded", None, None),
    ]
    assert circle in either.logged()


@pytest.mark.parametrize("command", [f"sched run {ONE}", f"json sched run {ONE}"])
def test_a_job_does_not_run_itself(either: Appliance, command: str) -> None:
    either.say(f"sched every 60 {command}")
    either.after(MINUTE)
    assert [state for _, _, state in either.states()] == ["failed"]


def test_a_job_that_runs_another_may_be_run_by_hand(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.say(f"sched every 60 sched run {ONE}")
    either.say(f"sched run {TWO}")
    assert sorted(either.states()) == [(1, 1, "succeeded"), (2, 1, "succeeded")]


def test_a_job_whose_command_is_no_longer_valid_is_not_run_by_hand(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.database.execute("UPDATE jobs SET grammar = 0, command = 'sched tomorrow pid'")
    assert (
        either.error(f"sched run {ONE}")
        == "the command of the job is no longer valid; delete the job, and schedule a valid command"
    )
    assert either.history() == []


def test_a_run_in_a_drop_that_is_rejected_is_undone(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    before = dump(either.store)["runs"]
    assert not either.drop(f"sched run {ONE}\nsched delete {TWO}\n").accepted
    assert (dump(either.store)["runs"], either.started(), dict(either.state.running)) == (before, [], {})


def test_a_run_in_a_drop_that_is_accepted_is_started(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    assert either.drop(f"sched run {ONE}\n").accepted
    assert [start.key.run for start in either.started()] == [(1, 1)]


@pytest.mark.parametrize("command", ["show", "why", "run", "pause", "resume"])
def test_an_unknown_job_is_reported(either: Appliance, command: str) -> None:
    either.say("sched in 60 pid")
    assert either.error(f"sched {command} {TWO}") == f"there is no job {TWO}; the nearest ids are {ONE}"
    assert "no job has the id or name" in either.error(f"sched {command} 1")


def test_a_paused_job_does_not_run_and_its_missed_due_times_are_one_row(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.after(MINUTE)
    assert either.say(f"sched pause {ONE}") == ""
    assert either.core.wake() == (None, None)
    either.after(3 * MINUTE + 30 * SECOND)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.data("sched list")[0]["id"] == ONE
    assert "\tpy\tconfig set a 1\n" in either.say("sched list")
    assert either.say(f"sched resume {ONE}") == (
        f"{ONE}: 3 due times passed while it was paused and will not be caught up; "
        f"the next is {START_MS // 1000 + 300} (2023-11-14T22:18:20+00:00)"
    )
    assert outcomes(either)[1:] == [((1, 4), "missed", 3, "the job was paused")]
    run = either.history()[1]
    assert (run.missed_since_ms, run.due_ms) == (START_MS + 2 * MINUTE, START_MS + 4 * MINUTE)
    assert either.core.wake()[0] == START_MS + 5 * MINUTE
    either.after(30 * SECOND)
    assert either.states()[2] == (1, 5, "succeeded")
    assert either.data("summary")["runs_missed"] == 3


def test_a_job_that_is_resumed_in_time_misses_nothing(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.data(f"sched pause {ONE}")
    either.after(59 * SECOND)
    assert either.say(f"sched resume {ONE}") == ""
    assert either.say(f"sched resume {ONE}") == f"{ONE}: it was not paused"
    either.after(SECOND)
    assert either.states() == [(1, 1, "succeeded")]


def test_a_one_shot_job_whose_due_time_passes_while_paused_is_missed_and_removed(either: Appliance) -> None:
    either.say("sched in 60 config set a 1")
    either.say(f"sched pause {ONE}")
    either.after(2 * MINUTE)
    assert either.history() == []
    assert either.data("sched list")[0]["paused"]
    assert either.say(f"sched resume {ONE}") == (
        f"{ONE}: 1 due time passed while it was paused and will not be caught up; it does not run again"
    )
    assert outcomes(either) == [((1, 1), "missed", 1, "the job was paused")]
    assert either.store.jobs.total() == 0


def test_sched_resume_answers_with_data_after_json(either: Appliance) -> None:
    either.turn(either.read(DECLARED))
    job = {"id": ONE, "name": "a"}
    due = either.data("sched list")[0]["next_run_ms"]
    assert either.data(f"sched pause {ONE}") == job | {"was_paused": False, "paused": True}
    either.after(2 * MINUTE)
    data = {"was_paused": True, "paused": False, "missed": 2, "next_run_ms": due + 2 * MINUTE}
    assert either.data(f"sched resume {ONE}") == job | data
    assert either.data("sched list")[0]["next_run_ms"] == due + 2 * MINUTE
    assert either.data(f"sched resume {ONE}") == job | data | {"was_paused": False, "missed": 0}


@pytest.mark.parametrize(
    ("stanza", "message"),
    [
        ("enabled = no every = 60", "it does not run: its stanza has `enabled = false`"),
        ("at = 1", "it does not run again: its due time has passed"),
    ],
)
def test_pausing_or_resuming_a_job_that_does_not_run_says_so(either: Appliance, stanza: str, message: str) -> None:
    either.turn(either.read(f'{STANZAS}job "a" {{ {stanza} command = pid }}\n'))
    either.turn()
    assert either.say("sched resume a") == f"{ONE}: it was not paused; {message}"
    assert either.say("sched pause a") == f"{ONE}: {message}"
    assert either.say("sched pause a") == f"{ONE}: it was already paused"
    assert either.say("sched resume a") == f"{ONE}: {message}"


@pytest.mark.parametrize("verb", ["pause", "resume", "run"])
def test_a_done_job_whose_last_run_is_queued_is_reported_as_such(either: Appliance, verb: str) -> None:
    either.turn(either.read(f"{STANZAS}sched {{ max_running = 1 }}\n"))
    either.say("run sleep 9")
    either.say("run sleep 9")
    error = either.error(f"sched {verb} example.com-000000002")
    assert error.startswith("job example.com-000000002 is done, but its last run is queued")
    assert error.endswith("`sched delete example.com-000000002` cancels that run")
    assert either.say("sched delete example.com-000000002") == ""
    assert either.states()[-1] == (2, 1, "cancelled")


def test_resuming_a_job_that_is_not_paused_misses_no_due_time(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.after(MINUTE, either.typed(f"sched resume {ONE}"))
    either.turn()
    assert either.states() == [(1, 1, "succeeded")]


def test_a_job_that_is_due_in_the_turn_in_which_it_is_paused_does_not_run(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.after(MINUTE, either.typed(f"sched pause {ONE}"))
    either.turn()
    assert either.history() == []


def test_a_pause_survives_restarts_and_reloads(appliance: Appliance) -> None:
    appliance.turn(appliance.read(DECLARED))
    appliance.say(f"sched pause {ONE}")
    appliance.turn(appliance.read(DECLARED.replace("config set a 1", "config set a 2")))
    appliance.restart(5 * MINUTE, stanzas=DECLARED)
    appliance.turn()
    appliance.after(5 * MINUTE)
    assert appliance.history() == []
    appliance.say(f"sched resume {ONE}")
    assert [(run.state, run.missed_count) for run in appliance.history()] == [("missed", 10)]
    appliance.after(MINUTE)
    assert appliance.states()[1:] == [(1, 11, "succeeded")]


@pytest.mark.parametrize("last", ["pause", "resume"])
def test_resuming_a_job_that_the_files_disable_does_not_make_it_run(either: Appliance, last: str) -> None:
    either.turn(either.read(DECLARED))
    either.say(f"sched pause {ONE}")
    either.turn(either.read(OFF))
    either.say(f"sched resume {ONE}")
    either.say(f"sched {last} {ONE}")
    either.after(5 * MINUTE)
    assert either.states() == []
    either.turn(either.read(DECLARED))
    either.after(MINUTE)
    assert [state for _, _, state in either.states()] == ([] if last == "pause" else ["succeeded"])


def test_a_paused_job_may_be_run_by_hand_and_stays_paused(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.say(f"sched pause {ONE}")
    either.say(f"sched run {ONE}")
    either.after(5 * MINUTE)
    assert either.states() == [(1, 1, "succeeded")]


def test_a_paused_job_can_be_deleted(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.say(f"sched pause {ONE}")
    either.say(f"sched delete {ONE}")
    assert either.data("sched list") == []
