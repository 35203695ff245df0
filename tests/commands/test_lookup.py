"""Jobs by id or by name: how they are told apart, and the error for a word that is neither."""

from __future__ import annotations

import pytest

from schedappliance.engine.records import RunKey
from schedappliance.store.jobs import Jobs
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, ended

ONE, TWO, THREE = (f"example.com-{number:09d}" for number in (1, 2, 3))
DECLARED = f"""{STANZAS}
job "greeting" {{ every = 60 command = "run hello" }}
job "off" {{ every = 60 command = "run hello" enabled = no }}
job "once" {{ at = {START_MS // 1000 + 5} command = "run hello" }}
"""


@pytest.fixture
def declared(either: Appliance) -> Appliance:
    either.turn(either.read(DECLARED))
    return either


@pytest.mark.parametrize("name", ["greeting", '"greeting"', ONE])
def test_a_declared_job_is_found_by_its_name(declared: Appliance, name: str) -> None:
    declared.after(MINUTE)
    shown = declared.data(f"sched show {name}")
    assert (shown["id"], shown["name"]) == (ONE, "greeting")
    assert f"id: {ONE}\nname: greeting\n" in declared.say(f"sched show {name}")
    assert declared.say(f"sched why {name}") == declared.say(f"sched why {ONE}")
    assert {run["id"] for run in declared.data(f"sched history {name}")} == {ONE}
    assert declared.data(f"sched pause {name}")["id"] == ONE
    assert declared.data(f"sched resume {name}")["id"] == ONE
    declared.turn(ended(RunKey(1, 1)))
    assert declared.data(f"sched run {name}")["run"] == f"{ONE}/2"
    assert 'is declared as job "greeting" in ' in declared.error(f"sched delete {name}")


def test_a_name_in_a_scheduled_command_or_a_drop_is_resolved_when_it_runs(declared: Appliance) -> None:
    declared.say("sched in 5 sched pause greeting")
    declared.after(5 * SECOND)
    assert declared.data("sched show greeting")["state"] == "paused"
    assert declared.drop("sched resume greeting\nsched run greeting\n").accepted
    assert [(run.key.job, run.origin) for run in declared.history(1)][-1:] == [(1, "stanza")]


def test_the_data_hold_the_name_of_a_job(declared: Appliance) -> None:
    declared.say("sched in 60 pid")
    declared.say("sched pause greeting")
    listed = {job["id"]: (job["name"], job["paused"]) for job in declared.data("sched list")}
    assert listed == {ONE: ("greeting", True), THREE: ("once", False), "example.com-000000004": (None, False)}
    declared.after(MINUTE)
    assert {run["id"]: run["name"] for run in declared.data("sched history")} == {
        THREE: "once",
        "example.com-000000004": None,
    }


def test_a_disabled_or_done_job_is_found_by_its_name(declared: Appliance) -> None:
    declared.after(5 * SECOND)
    assert "enabled = false" in declared.say("sched why off")
    assert declared.say("sched why once").startswith("it does not run again: its due time has passed")
    assert declared.error("sched why nothing-like-it").endswith(
        "see `sched list`; declared: `greeting`, `off` (off), `once` (done)"
    )


def test_a_mistyped_name_gets_a_suggestion(declared: Appliance) -> None:
    assert declared.error("sched why greting") == ("no job has the id or name `greting`; did you mean `greeting`?")


def test_only_some_of_many_names_are_listed(either: Appliance) -> None:
    jobs = "".join(f'job "j{number:03d}" {{ every = 60 command = pid }}\n' for number in range(50))
    either.turn(either.read(STANZAS + jobs))
    error = either.error("sched show XXXXXX")
    assert error.endswith("`j019` and 30 more")
    assert "`j020`" not in error


def test_an_id_is_an_id_even_if_a_job_has_that_name(either: Appliance) -> None:
    jobs = f'job "{TWO}" {{ every = 60 command = pid }}\njob "b" {{ every = 60 command = version }}\n'
    either.turn(either.read(STANZAS + jobs))
    assert either.data(f"sched show {TWO}")["name"] == "b"


def test_the_id_of_a_run_is_an_id_even_if_a_job_has_that_name(either: Appliance) -> None:
    either.turn(
        either.read(f'{STANZAS}job "a" {{ at = 1 command = pid }}\njob "{ONE}/1" {{ every = 60 command = pid }}\n')
    )
    either.turn()
    assert either.data(f"sched show {ONE}/1")["run"] == f"{ONE}/1"


@pytest.mark.parametrize("name", ["a/1", "two words", "/", "sched", "ä", "1", "w[1]", "*", "--all"])
def test_any_name_of_a_job_is_found(either: Appliance, name: str) -> None:
    either.turn(
        either.read(f'{STANZAS}job "a" {{ every = 60 command = pid }}\njob "{name}" {{ at = 1 command = pid }}\n')
    )
    either.turn()
    assert either.data(f'sched show "{name}"')["name"] == name
    assert either.data(f'sched show "{name}/1"')["run"] == f"{TWO}/1"


def test_the_id_of_a_run_is_not_a_job(either: Appliance) -> None:
    either.say("run hello")
    assert either.error(f"sched pause {ONE}/1") == (
        f"no job has the id or name `{ONE}/1`; it is a run: `sched show {ONE}/1`; its job is {ONE}"
    )


def test_a_wrong_name_does_not_read_the_rows_of_all_declared_jobs(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "".join(f'job "more {number:03}" {{ every = 60 command = "run hello" }}\n' for number in range(200))
    appliance.turn(appliance.read(STANZAS + more))
    monkeypatch.setattr(Jobs, "declared", lambda _self: pytest.fail("all rows are read"))
    assert "did you mean `more 007`?" in str(appliance.ask("sched show 'moer 007'").error)
    wrong = str(appliance.ask("sched show xyz").error)
    assert "`more 000`, `more 001`" in wrong and wrong.endswith("and 180 more")
