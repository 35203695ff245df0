"""`sched list` and `sched history` at their limits, and the errors for ids and times."""

from __future__ import annotations

import json

import pytest

from schedappliance.commands.sched import LIST_HEADER, LIST_LIMIT_IN_RESULT
from schedappliance.model.listings import PAGE
from schedappliance.store.history import MOST_CHARACTERS
from tests.support.core import MINUTE, SECOND, START_MS, Appliance, ended, spoken


def stored_answer(appliance: Appliance, job: int) -> str:
    """The answer that is stored with the last run of a job."""
    row = appliance.database.row("SELECT answer FROM runs WHERE job = ? ORDER BY occurrence DESC LIMIT 1", (job,))
    return str(row[0])


def test_a_list_stored_with_a_run_is_limited(either: Appliance) -> None:
    either.say("sched in 5 sched list")
    either.turn(*[either.typed("sched in 60 pid") for _ in range(LIST_LIMIT_IN_RESULT + 100)])
    either.after(5 * SECOND)
    listed = stored_answer(either, 1)
    assert listed.startswith(LIST_HEADER)
    assert listed.count("\n") == 1 + LIST_LIMIT_IN_RESULT


def test_a_list_in_a_run_shows_the_changes_of_its_own_turn(either: Appliance) -> None:
    either.say("sched in 5 sched in 500 version")
    either.say("sched in 5 sched list")
    either.after(5 * SECOND)
    due = START_MS // 1000 + 505
    assert stored_answer(either, 2) == f"{LIST_HEADER}example.com-000000003\t{due}\t  \tversion\n"


def test_the_history_shows_the_newest_of_many(either: Appliance) -> None:
    either.say("sched every 1 pid")
    for _ in range(PAGE + 10):
        either.after(SECOND)
    for line in ("sched history", "sched history example.com-000000001"):
        runs = either.data(line)
        assert [run["occurrence"] for run in runs] == list(range(PAGE + 10, 10, -1))
        lines = either.say(line).splitlines()
        assert len(lines) == 1 + PAGE + 1
        assert lines[-1] == f"10 more runs: `{line} before example.com-000000001/11`"


def test_a_history_of_long_commands_ends_early(either: Appliance) -> None:
    """Otherwise a few clients that list 5,000 commands of 64 KB each would take gigabytes."""
    either.say(f"sched every 1 run sleep {'0' * 60_000}")
    for _ in range(40):
        either.after(SECOND)
    listed: list[int] = []
    for line in ("sched history limit 5000", "sched history example.com-000000001 limit 5000"):
        listed.clear()
        while line:
            answer = either.ask(f"json {line}")
            runs = json.loads(spoken(answer))
            assert sum(len(run["command"]) for run in runs) <= MOST_CHARACTERS + 60_100
            listed += [run["occurrence"] for run in runs]
            assert answer.rest
            line = answer.rest().next or ""
        assert listed == list(range(40, 0, -1))


@pytest.mark.parametrize(
    ("status", "number", "shown"), [(3, None, "3"), (None, 9, "signal 9"), (0, None, "0"), (None, 15, "signal 15")]
)
def test_the_history_shows_how_a_program_ended(
    either: Appliance, status: int | None, number: int | None, shown: str
) -> None:
    either.say("run hello")
    (start,) = either.started()
    either.turn(ended(start.key.run, status, number))
    assert either.say("sched history").splitlines()[1].split("\t")[3] == shown
    (run,) = either.data("sched history")
    assert (run["exit_status"], run["exit_signal"], run["attempts"]) == (status, number, 1)


def test_the_history_shows_the_number_start_and_reason_of_missed_due_times(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.after(5 * MINUTE)
    missed = either.data("sched history")[1]
    assert (missed["missed"], missed["missed_since_ms"], missed["state"]) == (4, START_MS + MINUTE, "missed")
    line = either.say("sched history").splitlines()[2]
    assert line.endswith("\t4 missed since 2023-11-14T22:14:20+00:00: the time had passed before it could be run")


def test_the_history_of_a_removed_job_stays(either: Appliance) -> None:
    either.say("sched in 1 pid")
    either.after(SECOND)
    assert len(either.data("sched history example.com-000000001")) == 1
    assert either.say("sched list") == LIST_HEADER


def test_the_history_of_a_job_that_has_not_run_yet_is_empty(either: Appliance) -> None:
    either.say("sched in 60 pid")
    assert either.data("sched history example.com-000000001") == []


@pytest.mark.parametrize("job_id", ["1", "example.org-000000001", "example.com-1", "x" * 5000, "ü"])
@pytest.mark.parametrize("command", ["sched delete", "sched history"])
def test_an_unknown_id_is_rejected_in_one_short_line(either: Appliance, command: str, job_id: str) -> None:
    error = either.error(f"{command} {job_id}")
    assert error.startswith("no job has the id or name `")
    assert error.endswith("`; an id looks like `example.com-000000001`; see `sched list`")
    assert (len(error) < 500, "\n" in error) == (True, False)


@pytest.mark.parametrize("due", [253_402_300_799, 0])
def test_the_first_and_the_last_possible_time_are_accepted(either: Appliance, due: int) -> None:
    """Nested, where a time that has passed is not an error."""
    either.say(f"sched in 5 sched at {due} config set a 1")
    either.after(5 * SECOND)
    either.turn()
    assert len(either.states()) == (2 if due == 0 else 1)
    assert either.data("sched history")[-1]["state"] == "succeeded"


def test_sched_delete_answers_with_data_after_json(either: Appliance) -> None:
    either.say("sched in 60 pid")
    assert either.data("sched delete example.com-000000001") == {"id": "example.com-000000001", "deleted": True}
