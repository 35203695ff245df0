"""`sched pause` and `sched resume` of the jobs that a pattern matches, and of all jobs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from schedappliance.commands import pause
from schedappliance.engine.effects import Happened
from schedappliance.engine.records import RunKey
from tests.support.calls import calls
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, ended, some

JOBS = "".join(f'job "{name}" {{ every = 60 command = "run hello" }}\n' for name in ("backup-a", "backup-b", "report"))
# The Python functions that are called to pause a job and to resume it again.
MOST_CALLS = 8


@pytest.fixture
def declared(either: Appliance) -> Appliance:
    """Three declared jobs, and one that is not."""
    either.turn(either.read(STANZAS + JOBS))
    either.say("sched in 3600 run hello")
    return either


def paused(appliance: Appliance) -> list[int]:
    return [row[0] for row in appliance.database.rows("SELECT number FROM jobs WHERE paused = 1 ORDER BY number")]


def test_a_pattern_matches_the_names_of_declared_jobs(declared: Appliance) -> None:
    assert declared.say('sched pause "backup-*"') == "paused 2 jobs: backup-a, backup-b"
    assert paused(declared) == [1, 2]
    assert declared.say("sched resume *-[!a]") == "resumed 1 job: backup-b"
    assert paused(declared) == [1]


def test_a_pattern_matches_the_ids_of_declared_jobs_alone(declared: Appliance) -> None:
    assert declared.say("sched pause example.com-00000000[2-9]") == "paused 2 jobs: backup-b, report"
    assert paused(declared) == [2, 3]


def test_all_means_every_job(declared: Appliance) -> None:
    names = "backup-a, backup-b, report, example.com-000000004"
    assert declared.say("sched pause --all") == f"paused 4 jobs: {names}"
    assert paused(declared) == [1, 2, 3, 4]
    declared.say("sched in 3600 run hello")
    assert declared.say("sched resume --all") == f"resumed 4 jobs: {names}; not paused: 1"
    assert paused(declared) == []


def test_a_word_without_wildcards_is_an_id_or_a_name(declared: Appliance) -> None:
    assert "no job has the id or name `backup-`" in declared.error("sched pause backup-")
    assert declared.say("sched pause backup-a") == ""


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_pattern_without_a_match_is_rejected(declared: Appliance, verb: str) -> None:
    assert declared.error(f"sched {verb} nightly-*") == (
        "no declared job matches `nightly-*`; a pattern matches names and ids of declared jobs: see `sched list`"
    )


@pytest.mark.parametrize("command", ["sched pause", "sched resume", "preview job", "sched in 5 sched pause"])
def test_a_pattern_has_at_most_400_characters(declared: Appliance, command: str) -> None:
    """Each `[` is searched for its `]` to the end: the time grows with the square of the length."""
    assert declared.error(f"{command} {'[' * 401}") == "the pattern has 401 characters; write at most 400"


def test_a_pattern_of_400_characters_is_searched(declared: Appliance) -> None:
    pattern = "[" * 400
    assert declared.error(f"sched pause {pattern}").startswith(f"no declared job matches `{pattern[:37]}")
    assert declared.error(f"sched pause {'n' * 401}").startswith("no job has the id or name `nnn")


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_all_of_no_jobs_is_rejected(either: Appliance, verb: str) -> None:
    assert either.error(f"sched {verb} --all") == "there are no jobs; nothing is to be done"


def test_the_answer_counts_the_jobs_that_were_paused_before(declared: Appliance) -> None:
    declared.say("sched pause backup-a")
    assert declared.say("sched pause backup-*") == "paused 1 job: backup-b; already paused: 1"
    assert declared.say("sched pause backup-*") == "paused 0 jobs; already paused: 2"
    assert declared.say("sched pause --all") == "paused 2 jobs: report, example.com-000000004; already paused: 2"


def test_the_answer_names_at_most_twenty_jobs(either: Appliance) -> None:
    either.drop("sched in 3600 pid\n" * 25)
    names = ", ".join(f"example.com-{number:09d}" for number in range(1, 21))
    assert either.say("sched pause --all") == f"paused 25 jobs: {names} and 5 more"
    assert len(either.data("sched resume --all")["jobs"]) == 20


def test_a_user_who_may_not_list_jobs_sees_no_names(declared: Appliance) -> None:
    role = 'Authorization { role "o" { users = ( "operator" ) allow = ( "^sched pause " ) } }\n'
    declared.turn(declared.read(STANZAS + JOBS + role))
    assert declared.say("sched pause *") == "paused 3 jobs"


def test_waiting_runs_are_cancelled_and_due_times_are_missed(declared: Appliance) -> None:
    declared.state.places = 1
    declared.after(MINUTE)
    assert [state for _, _, state in declared.states()] == ["started", "queued", "queued"]
    declared.say("sched pause backup-*")
    assert [state for _, _, state in declared.states()] == ["started", "cancelled", "queued"]
    declared.after(2 * MINUTE, ended(RunKey(1, 1)))
    text = "2 jobs: backup-a, backup-b; 4 due times passed while they were paused and will not be caught up"
    assert declared.say("sched resume backup-*") == f"resumed {text}"
    assert [(run.key.job, run.reason) for run in declared.history() if run.state == "missed"][-2:] == [
        (1, "the job was paused"),
        (2, "the job was paused"),
    ]


@pytest.mark.parametrize("jobs", ["backup-a", '"backup-*"', "--all"])
def test_no_due_times_pass_while_a_job_is_off(declared: Appliance, jobs: str) -> None:
    off = JOBS.replace("{ every", "{ enabled = off every", 1)
    declared.turn(declared.read(STANZAS + off))
    declared.after(5 * MINUTE)
    before = declared.history()
    declared.say(f"sched pause {jobs}")
    assert "passed" not in declared.say(f"sched resume {jobs}")
    assert declared.history() == before
    declared.turn(declared.read(STANZAS + JOBS))
    declared.after(0)
    assert [run for run in declared.history() if run.key.job == 1] == []


def test_all_waiting_runs_are_cancelled(declared: Appliance) -> None:
    declared.state.places = 1
    declared.after(MINUTE)
    declared.say("sched pause --all")
    assert [(state, reason) for state, reason in _outcomes(declared)] == [
        ("started", None),
        ("cancelled", "the job was paused while it waited"),
        ("cancelled", "the job was paused while it waited"),
    ]
    declared.after(3 * MINUTE)
    assert declared.data("sched resume --all") == {
        "paused": False,
        "changed": 4,
        "unchanged": 0,
        "missed": 9,
        "jobs": ["backup-a", "backup-b", "report", "example.com-000000004"],
    }
    assert [run.missed_count for run in declared.history()[3:]] == [3, 3, 3]


def _outcomes(appliance: Appliance) -> list[tuple[str, Any]]:
    return [(run.state, run.reason) for run in appliance.history()]


@pytest.mark.parametrize("line", ["sched pause --all", "sched hold", "sched pause l*"])
def test_a_job_can_pause_those_that_are_due_in_the_same_turn(either: Appliance, line: str) -> None:
    either.turn(either.read(f'{STANZAS}job "first" {{ every = 60 command = "{line}" }}\n'))
    either.turn(
        either.read(
            f'{STANZAS}job "first" {{ every = 60 command = "{line}" }}\n'
            'job "later" { every = 60 command = "run hello" }\n'
        )
    )
    either.after(MINUTE)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.started() == []


def test_more_jobs_than_one_command_resumes_need_another(declared: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "MOST_PASSED", 2)
    declared.say("sched pause --all")
    declared.after(MINUTE)
    assert declared.say("sched resume --all") == (
        "resumed 2 jobs: backup-a, backup-b; 2 due times passed while they were paused and will not be caught up; "
        "more jobs are paused: give the command again"
    )
    assert paused(declared) == [3, 4]
    assert declared.say("sched resume --all") == (
        "resumed 2 jobs: report, example.com-000000004; not paused: 2; "
        "1 due time passed while they were paused and will not be caught up"
    )
    assert paused(declared) == []


def test_a_failed_commit_undoes_all(declared: Appliance) -> None:
    declared.database.failing_commits = 2
    assert "cannot be written" in declared.error("sched pause --all")
    declared.after(SECOND)
    assert paused(declared) == []
    declared.after(MINUTE)
    assert len(declared.states()) == 3


def test_those_who_watch_are_told(declared: Appliance) -> None:
    declared.ask("json watch")
    declared.say("sched pause backup-*")
    assert [(event["kind"], event["state"]) for event in _events(declared)] == [("job", "paused"), ("job", "paused")]
    declared.say("sched pause --all")
    assert [event["kind"] for event in _events(declared)] == ["gap"]


def _events(appliance: Appliance) -> list[dict[str, Any]]:
    return [event for told in some(Happened, appliance.effects) for event in told.events]


def test_a_job_that_neither_waits_nor_is_due_costs_few_calls(either: Appliance) -> None:
    costs = []
    for number in (20, 20, 40):  # The first one fills the caches.
        jobs = "".join(f'job "job-{i}" {{ every = 600 command = "run hello" }}\n' for i in range(number))
        either.turn(either.read(STANZAS + jobs))
        lines = [either.typed(f"sched {verb} job-*") for verb in ("pause", "resume")]
        costs.append(sum(calls(partial(either.turn, line)) for line in lines))
        assert paused(either) == []
    assert costs[2] - costs[1] <= 20 * MOST_CALLS


ODD = ("w[1]", "w1", "w*", "w?", "--all", "other")


@pytest.fixture
def odd(either: Appliance) -> Appliance:
    """Jobs whose names look like a pattern or like `--all`."""
    either.turn(either.read(STANZAS + "".join(f'job "{name}" {{ every = 60 command = pid }}\n' for name in ODD)))
    return either


@pytest.mark.parametrize("name", ODD)
def test_the_name_of_a_declared_job_means_this_job_alone(odd: Appliance, name: str) -> None:
    number = odd.store.jobs.number_of(name)
    for verb, numbers in (("pause", [number]), ("resume", [])):
        assert odd.data(f'sched {verb} "{name}"')["name"] == name
        assert paused(odd) == numbers


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_all_in_quotes_is_a_name_also_if_no_job_has_it(declared: Appliance, verb: str) -> None:
    assert declared.error(f"sched {verb} '--all'").startswith("no job has the id or name `--all`")


def test_all_means_every_job_also_beside_one_of_that_name(odd: Appliance) -> None:
    assert odd.data("sched pause --all")["changed"] == len(ODD)


def test_a_name_and_all_jobs_need_different_roles(odd: Appliance) -> None:
    role = 'Authorization { role "o" { users = ( "operator" ) allow = ( "^sched (pause|list) --all$" ) } }\n'
    odd.turn(odd.read(STANZAS + 'job "--all" { every = 60 command = pid }\n' + role))
    assert odd.error('sched pause "--all"') == "Not Authorized for this command"
    assert odd.say("sched pause --all") == "paused 1 job"


def test_a_pause_of_all_jobs_can_be_scheduled(declared: Appliance) -> None:
    declared.say("sched in 5 sched pause --all")
    declared.after(5 * SECOND)
    assert paused(declared) == [1, 2, 3, 4]
