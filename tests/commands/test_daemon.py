"""`help`, `summary` and other commands about the appliance itself."""

from __future__ import annotations

import pytest

from schedappliance.engine.effects import Answer
from schedappliance.engine.events import OutputsChecked
from schedappliance.model.commands import FORMS
from tests.support.core import SECOND, STANZAS, START_MS, Appliance, ended

ENABLED = {"a": "true", "b": "true", "c": "false", "d": "false"}


def test_help_lists_every_form_once_with_its_description(either: Appliance) -> None:
    text = either.say("help")
    for form in FORMS.values():
        assert text.count(f"{form.usage}\n\t{form.help}\n") == 1
    assert text.count("\n") == 2 * len(FORMS)
    assert either.data("help") == [{"usage": form.usage, "help": form.help} for form in FORMS.values()]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_by_its_name_in_any_case(either: Appliance, form: str) -> None:
    rows = either.data(f"help {FORMS[form].name.upper()}")
    assert FORMS[form].usage in [row["usage"] for row in rows]


def test_a_prefix_finds_all_forms_that_begin_with_it(either: Appliance) -> None:
    assert {row["usage"].split()[0] for row in either.data("help sched")} == {"sched"}
    assert [row["usage"] for row in either.data("help summary")] == ["summary", "summary reset"]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [("shed", "did you mean `sched"), ("sched lst", "did you mean `sched list`?"), ("x" * 9, "`help` lists all")],
)
def test_help_for_an_unknown_command_suggests_a_known_one(either: Appliance, words: str, remedy: str) -> None:
    error = either.error(f"help {words}")
    assert error.startswith(f"no command begins with `{words}`")
    assert remedy in error


def test_the_summary_names_the_store(appliance: Appliance) -> None:
    assert appliance.data("summary")["store"] == str(appliance.path)
    memory = Appliance(None)
    assert memory.data("summary")["store"] == "memory; lost at a restart"
    memory.close()


def test_the_summary_as_text_agrees_with_the_data(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.after(90 * SECOND)
    data = either.data("summary")
    data["commands"] += 1
    head, *lines = either.say("summary").splitlines()
    assert head == "Summary Statistics"
    shown = dict(line.strip().split(":  ") for line in lines)
    assert (data.pop("started_ms"), data.pop("ready")) == (START_MS, True)
    times = {"Statistics Last Reset": "statistics_last_reset_s", "Uptime": "uptime_s"}
    assert {label: shown.pop(label) for label in times} == {
        label: f"{data.pop(key)} seconds" for label, key in times.items()
    }
    assert {label.lower().replace(" ", "_"): value for label, value in shown.items()} == {
        label: str(value) for label, value in data.items() if value is not None
    }


def test_the_summary_counts_paused_and_disabled_jobs(appliance: Appliance) -> None:
    jobs = "".join(f'job "{name}" {{ every = 60 command = "pid" enabled = {on} }}\n' for name, on in ENABLED.items())
    appliance.restart(stanzas=STANZAS + jobs)
    first = appliance.say("sched in 60 pid")
    appliance.say("sched in 60 pid")
    for name in (first, "a", "c"):
        appliance.say(f"sched pause {name}")
    summary = appliance.data("summary")
    assert (summary["jobs"], summary["jobs_paused"], summary["jobs_switched_off"]) == (4, 2, 2)
    assert appliance.say("sched list").count("\n") == 1 + summary["jobs"]


def test_the_summary_counts_runs_by_outcome(either: Appliance) -> None:
    for line in ("run hello", "run hello", "sched in 5 config get nothing", "run unset"):
        either.say(line)
    first, second = (run.key for run in either.history()[:2])
    either.turn(ended(first), ended(second, 3))
    either.after(5 * SECOND)
    summary = either.data("summary")
    assert (summary["runs_succeeded"], summary["runs_failed"], summary["programs_running"]) == (1, 3, 0)


def test_a_reset_clears_the_counts_but_not_the_uptime(either: Appliance) -> None:
    either.drop("sched in 60 pid\n")
    either.after(100 * SECOND)
    either.say("summary reset")
    either.after(5 * SECOND)
    summary = either.data("summary")
    assert (summary["statistics_last_reset_s"], summary["uptime_s"]) == (5, 105)
    assert (summary["commands"], summary["drops"]) == (1, 0)


def test_a_clock_step_does_not_change_the_uptime(either: Appliance) -> None:
    either.clock.step(-86_400_000)
    either.after(5 * SECOND)
    assert either.data("summary")["uptime_s"] == 5


@pytest.mark.parametrize("line", ["quit", "QUIT", "json quit"])
def test_quit_stops_nothing(either: Appliance, line: str) -> None:
    assert either.ask(line).ok
    assert either.say("pid") == "4711"


def test_a_healthy_appliance_is_ok(either: Appliance) -> None:
    assert either.ask("health") == Answer("ok\n", exit_status=0)
    assert either.data("health") == {"live": True, "ready": True, "troubles": [], "held": None}


def test_rejected_files_are_a_trouble_but_commands_still_run(either: Appliance) -> None:
    either.turn(either.read("sched {"))
    answer = either.ask("health")
    assert isinstance(answer.output, str)
    assert answer.output.startswith("the stanza files were rejected: ")
    assert answer.exit_status == 0


def test_without_outputs_or_without_a_store_it_is_not_ready(appliance: Appliance) -> None:
    appliance.turn(OutputsChecked("no space left on device"))
    answer = appliance.ask("health")
    assert (answer.output, answer.exit_status) == ("no space left on device\n", 1)
    data = {"live": True, "ready": False, "troubles": ["no space left on device"], "held": None}
    assert appliance.data("health") == data
    assert appliance.data("summary")["ready"] is False
