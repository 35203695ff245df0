"""Jobs with `argv`: the console shows the options in the stanza of the job, and the program runs like any other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schedappliance.engine.states import RunState
from schedappliance.model.option_paths import Scope
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, configuration, ended

TIDY = f'{STANZAS}job "tidy" {{ every = 60 argv = ( "/bin/tidy" "now" ) timeout = 30 }}\n'
PLAIN = 'job "plain" { every = 600 command = "version" }\n'


@pytest.fixture
def tidy() -> Iterator[Appliance]:
    appliance = Appliance(None, TIDY + PLAIN)
    yield appliance
    appliance.close()


def test_the_job_runs_its_program(tidy: Appliance) -> None:
    tidy.after(MINUTE)
    (start,) = tidy.started()
    assert start.argv == ("/bin/tidy", "now")
    tidy.turn(ended(start.key.run))
    assert [(run.command, run.state) for run in tidy.history(1)] == [("run tidy", RunState.SUCCEEDED)]


def test_run_starts_its_program_without_more_arguments(tidy: Appliance) -> None:
    tidy.say("run tidy")
    assert tidy.started()[0].argv == ("/bin/tidy", "now")
    assert "program `tidy` takes no arguments, not 1" in tidy.error("run tidy more")


def test_show_and_why_name_the_job_and_its_command(tidy: Appliance) -> None:
    data = tidy.data("sched show tidy")
    assert (data["name"], data["command"]) == ("tidy", "run tidy")
    assert data["declared"].startswith('job "tidy" in ')
    assert tidy.data("sched why tidy")["next"][0].startswith("it runs next at ")


def test_the_options_are_shown_in_the_stanza_of_the_job(tidy: Appliance) -> None:
    text = tidy.say("config showrecurse")
    assert configuration(text).configuration.programs["tidy"].timeout_ms == 30_000
    assert 'program "tidy"' not in text
    options = {"every": "60", "argv": ["/bin/tidy", "now"], "timeout": "30"}
    assert tidy.data("config show job tidy") == [{"stanza": "job", "name": "tidy", "options": options}]


@pytest.mark.parametrize("line", ["get %s timeout", "eval %s timeout", "set %s timeout 5", "show %s", "unset %s"])
def test_a_path_with_program_is_answered_with_the_right_one(tidy: Appliance, line: str) -> None:
    error = tidy.error(f"config {line % 'program tidy'}")
    assert 'program `tidy` is declared by job "tidy"' in error
    assert "write `job` instead of `program`" in error


def test_eval_shows_the_defaults_of_its_program(tidy: Appliance) -> None:
    assert tidy.say("config eval job tidy kill_after") == "        kill_after = 10"
    assert tidy.error("config eval job plain kill_after").startswith("Option 'kill_after' is not set")


def test_set_changes_its_program(tidy: Appliance) -> None:
    tidy.say("config set job tidy timeout 5")
    tidy.after(MINUTE)
    (run,) = tidy.state.running.values()
    assert run.term_at == tidy.clock.moment().boot + 5 * SECOND
    assert "can be set only in the stanza files" in tidy.error("config set job tidy argv ( /bin/sh )")
    assert 'job "plain" has `timeout` without `argv`' in tidy.error("config set job plain timeout 5")


def test_a_job_keeps_its_id_and_history_when_its_program_moves_into_it(tidy: Appliance) -> None:
    tidy.after(MINUTE)
    tidy.turn(ended(tidy.started()[0].key.run))
    apart = 'program "tidy" { argv = ( "/bin/tidy" ) }\njob "tidy" { every = 60 command = "run tidy" }\n'
    tidy.turn(tidy.read(f"{STANZAS}{apart}"))
    assert "0 added, 0 changed" in tidy.logged()
    assert (Scope("program", "tidy") in tidy.state.configuration.blocks, len(tidy.history(1))) == (True, 1)


def test_why_shows_since_when_the_job_and_its_program_are_gone(tidy: Appliance) -> None:
    tidy.after(MINUTE)
    tidy.turn(ended(tidy.started()[0].key.run))
    tidy.say("sched every 60 run tidy")
    tidy.turn(tidy.read(STANZAS))
    assert "program tidy is no longer declared; these jobs use it: example.com-000000003" in tidy.logged()
    assert tidy.data("sched why example.com-000000001")["next"][0].startswith(
        "it does not run again: since generation 2 "
    )
    assert (
        "program `tidy` is not declared since generation 2" in tidy.data("sched why example.com-000000003")["next"][1]
    )


def test_a_role_allows_its_program_by_the_line_that_runs_it() -> None:
    role = 'Authorization { Role "r" { allow = ( "^run tidy$" ) users = ( "1000" ) } }\n'
    appliance = Appliance(None, TIDY + role)
    assert appliance.ask("run tidy").ok
    assert not appliance.ask("run hello").ok
    appliance.close()


def test_eval_shows_a_value_of_defaults_with_its_place(tidy: Appliance) -> None:
    defaults = 'defaults { retries = 2 timeout = 9 env = [ A = "1" B = "2" ] }\n'
    tidy.turn(tidy.read(TIDY.replace("timeout = 30", 'timeout = 30 env = [ B = "own" ]') + PLAIN + defaults))
    assert tidy.say("config eval job tidy retries").startswith("        retries = 2  # from defaults in ")
    assert tidy.say("config eval program hello timeout").startswith("        timeout = 9  # from defaults in ")
    assert tidy.say("config eval job tidy timeout") == "        timeout = 30"
    data = tidy.data("config eval job tidy env")
    assert data["value"] == {"A": "1", "B": "own"}
    assert data["origin"].startswith("defaults in ")
    assert not tidy.ask("config eval job plain retries").ok
    assert "retries" not in tidy.say("config show program hello")
    assert "defaults {\n        retries = 2\n" in tidy.say("config showrecurse")
    assert configuration(tidy.say("config showrecurse")).configuration.programs["hello"].retries == 2


def test_set_counts_before_defaults_and_cannot_change_them(tidy: Appliance) -> None:
    tidy.turn(tidy.read(f"{TIDY}defaults {{ retries = 2 timeout = 9 }}\n"))
    tidy.say("config set program hello retries 1")
    hello = tidy.state.configuration.programs["hello"]
    assert (hello.retries, hello.timeout_ms) == (1, 9000)
    assert "`defaults` can be set only in the stanza files" in tidy.error("config set defaults retries 3")
    assert tidy.say("config get defaults retries") == "        retries = 2"
    tidy.say("config set sched history 10")
    assert tidy.state.configuration.programs["hello"].retries == 1
    assert tidy.data("config show defaults")[0]["options"] == {"retries": "2", "timeout": "9"}
