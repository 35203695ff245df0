"""`sched show`: the details of one job or one run."""

from __future__ import annotations

import pytest

from schedappliance.commands.show import MOST_OUTPUT
from schedappliance.engine.attempts import Exit
from schedappliance.engine.events import ProgramEnded
from schedappliance.engine.records import AttemptKey, RunKey
from tests.support.core import FILE, MINUTE, SECOND, STANZAS, START_MS, Appliance, ended

ONE, TWO = "example.com-000000001", "example.com-000000002"
S = START_MS // 1000
DECLARED = STANZAS + 'job "a" { every = 60 command = "run sleep 5" }\n'


def test_a_job_is_shown_with_all_its_details(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    assert either.say(f"sched show {ONE}").splitlines() == [
        f"id: {ONE}",
        "command: run sleep 5",
        f"next run: {S + 60} (2023-11-14T22:14:20+00:00)",
        "every: 60 seconds",
        "state: waiting",
        "user: operator",
        "uid: 1000",
        "origin: console",
        "occurrences: 0",
    ]
    either.after(MINUTE)
    either.turn(ended(RunKey(1, 1), 3))
    assert f"occurrences: 1\nlast run: {ONE}/1 failed: exit status 3\n" in either.say(f"sched show {ONE}")


def test_a_job_as_data_has_numbers_where_its_text_has_words(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.after(MINUTE)
    either.turn(ended(RunKey(1, 1), 3, output=b"said"))
    data, (run,) = either.data(f"sched show {ONE}"), either.data("sched history")
    assert data == {
        "id": ONE,
        "name": None,
        "command": "run sleep 5",
        "next_run_ms": START_MS + 2 * MINUTE,
        "interval_ms": MINUTE,
        "at_boot": False,
        "calendar": None,
        "zone": None,
        "words": None,
        "state": "waiting",
        "user": "operator",
        "uid": 1000,
        "origin": "console",
        "declared": None,
        "on_failure_of": None,
        "occurrences": 1,
        "last_run": run,
        "output": "said",
    }
    assert run["has_output"]


def test_a_declared_job_is_shown_with_its_place(either: Appliance) -> None:
    either.turn(either.read(DECLARED))
    shown = either.data(f"sched show {ONE}")
    line = either.stanzas.count("\n") + 1
    assert shown["declared"] == f'job "a" in {FILE}:{line}'
    assert (shown["user"], shown["origin"]) == ("@config", "stanza")


def test_the_output_of_the_last_run_is_shown(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.after(MINUTE)
    either.turn(ended(RunKey(1, 1), output=b"one\ntwo \xff\n"))
    assert either.say(f"sched show {ONE}").endswith("succeeded\noutput:\none\ntwo \ufffd\n")
    assert either.data(f"sched show {ONE}")["output"] == "one\ntwo \ufffd\n"


def test_a_job_that_does_not_run_has_no_next_run_but_a_due_time(either: Appliance) -> None:
    either.turn(either.read(DECLARED))
    either.say(f"sched pause {ONE}")
    due = f"{S + 40} (2023-11-14T22:14:00+00:00)"
    assert f"\nnext run: none while it is paused; it is due at {due}\n" in either.say(f"sched show {ONE}")
    either.after(MINUTE)
    assert f"\nnext run: none while it is paused; it was due at {due}\n" in either.say(f"sched show {ONE}")
    assert either.data(f"sched show {ONE}")["next_run_ms"] == START_MS + 40 * SECOND
    either.turn(either.read(DECLARED.replace("every", "enabled = no every")))
    # The due time that has passed is recorded as missed.
    due = f"{S + 100} (2023-11-14T22:15:00+00:00)"
    assert f"\nnext run: none while it is disabled; it is due at {due}\n" in either.say(f"sched show {ONE}")
    either.after(MINUTE)
    assert f"\nnext run: none while it is disabled; it was due at {due}\n" in either.say(f"sched show {ONE}")


def test_the_state_of_a_job_is_one_of_four(either: Appliance) -> None:
    files = DECLARED + f'job "b" {{ at = {S + 5} command = pid }}\n'

    def states() -> list[str]:
        return [either.data(f"sched show example.com-{number:09d}")["state"] for number in (1, 2)]

    either.turn(either.read(files))
    assert states() == ["waiting", "waiting"]
    either.say(f"sched pause {ONE}")
    either.after(5 * SECOND)
    assert states() == ["paused", "done"]
    either.turn(either.read(files.replace("every", "enabled = no every")))
    assert states() == ["disabled in its file", "done"]


def test_a_removed_job_is_shown_by_its_last_run(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    there = set(either.data(f"sched show {ONE}"))
    either.say(f"sched delete {ONE}")
    assert either.error(f"sched show {ONE}") == f"there is no job {ONE}; there are no jobs"
    either.say("sched in 5 run sleep 5")
    either.after(5 * SECOND)
    either.turn(ended(RunKey(2, 1), 3, output=b"why it failed"))
    assert either.say(f"sched show {TWO}").splitlines() == [
        f"id: {TWO}",
        "command: run sleep 5",
        "state: gone: done, or deleted",
        "user: operator",
        "origin: console",
        "occurrences: 1",
        f"last run: {TWO}/1 failed: exit status 3",
        "output:",
        "why it failed",
    ]
    data = either.data(f"sched show {TWO}")
    assert (set(data), data["state"], data["output"]) == (there, "gone", "why it failed")


def test_every_stored_run_is_shown_with_its_output(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    for occurrence in (1, 2):
        either.after(MINUTE)
        either.turn(ended(RunKey(1, occurrence), output=b"said %d\n" % occurrence))
    assert either.say(f"sched show {ONE}/1").splitlines() == [
        f"run: {ONE}/1",
        "command: run sleep 5",
        f"due: {S + 60} (2023-11-14T22:14:20+00:00)",
        "state: succeeded",
        "user: operator",
        "origin: console",
        f"claimed: {S + 60} (2023-11-14T22:14:20+00:00)",
        f"ended: {S + 60} (2023-11-14T22:14:20+00:00)",
        "attempts: 1",
        "exit status: 0",
        "output:",
        "said 1",
    ]
    data, (_, first) = either.data(f"sched show {ONE}/1"), either.data("sched history")
    assert {name: data[name] for name in first} == first
    assert (data["output"], [made["output"] for made in data["attempts_made"]]) == ("said 1\n", ["said 1\n"])


def test_what_each_attempt_took_is_shown(either: Appliance) -> None:
    either.turn(either.read(STANZAS + 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 0 }\n'))
    either.say("run p")
    either.turn(ProgramEnded(AttemptKey(RunKey(1, 1), 1), Exit(3, None, None, 5, 13 * 2**20), b"", 0))
    either.turn(ProgramEnded(AttemptKey(RunKey(1, 1), 2), Exit(4, None, None, 61_250, 99 * 2**20 + 2**19), b"", 0))
    lines = either.say(f"sched show {ONE}/1").splitlines()
    assert lines[-4:] == [
        "exit status: 4",
        "cpu time: 61.25 s",
        "peak memory: 99.5 MiB",
        "attempt 1: failed: exit status 3, cpu time 0.005 s, peak memory 13.0 MiB",
    ]
    made = either.data(f"sched show {ONE}/1")["attempts_made"]
    assert [(attempt["cpu_ms"], attempt["memory_bytes"]) for attempt in made] == [(5, 13 << 20), (61_250, 199 << 19)]
    (run,) = either.data("sched history")
    assert (run["cpu_ms"], run["memory_bytes"]) == (61_250, 199 << 19)
    explanation = either.say(f"sched why {ONE}/1")
    assert explanation.endswith("after 2 attempts, took 0.0 s, cpu time 61.25 s, peak memory 99.5 MiB")


def test_the_output_of_the_last_attempt_is_shown_below_those_of_earlier_attempts(either: Appliance) -> None:
    program = 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 0 }\n'
    either.turn(either.read(STANZAS + program))
    either.say("run p")
    either.turn(ended(RunKey(1, 1), 3, output=b"no disk"))
    assert either.data(f"sched show {ONE}")["output"] is None
    either.turn(ended(RunKey(1, 1), attempt=2))
    assert either.data(f"sched show {ONE}")["output"] is None
    assert either.say(f"sched show {ONE}/1").splitlines()[-3:] == [
        "attempt 1: failed: exit status 3",
        "output of attempt 1:",
        "no disk",
    ]
    data = either.data(f"sched show {ONE}/1")
    attempts = [(made["attempt"], made["state"], made["output"]) for made in data["attempts_made"]]
    assert (attempts, data["has_output"]) == ([(1, "failed", "no disk"), (2, "succeeded", None)], True)


def test_a_long_output_of_an_earlier_attempt_is_named_only(either: Appliance) -> None:
    """Those of ten attempts may have 160 MB together."""
    program = 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 0 output_limit = 1m }\n'
    either.turn(either.read(STANZAS + program))
    either.say("run p")
    either.turn(ended(RunKey(1, 1), 3, output=b"x" * (MOST_OUTPUT + 1)))
    either.turn(ended(RunKey(1, 1), attempt=2, output=b"y" * (MOST_OUTPUT + 1)))
    lines = either.say(f"sched show {ONE}/1").splitlines()
    assert f"output of attempt 1: 131,073 bytes; `sched output {ONE}/1 attempt 1` shows it" in lines
    data = either.data(f"sched show {ONE}/1")
    assert len(data["output"]) == MOST_OUTPUT + 1
    assert [(made["output"], made["output_bytes"]) for made in data["attempts_made"]] == [(None, MOST_OUTPUT + 1)] * 2


def test_outputs_can_be_left_out(either: Appliance) -> None:
    program = 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 0 }\n'
    either.turn(either.read(STANZAS + program))
    either.say("run p")
    either.turn(ended(RunKey(1, 1), 3, output=b"no disk"))
    either.turn(ended(RunKey(1, 1), attempt=2, output=b"done"))
    for word in (ONE, f"{ONE}/1"):
        whole, text = either.data(f"sched show {word}"), either.say(f"sched show {word}")
        made = [{**one, "output": None} for one in whole.pop("attempts_made", [])]
        without = either.data(f"sched show {word} output none")
        assert without == {**whole, "output": None, **({"attempts_made": made} if made else {})}
        assert [one["output_bytes"] for one in made] == ([7, 4] if made else [])
        lines = either.say(f"sched show {word} output none").splitlines()
        assert [line for line in text.splitlines() if line not in lines] == [
            *(["output of attempt 1:", "no disk"] if made else []),
            *("output:", "done"),
        ]


@pytest.mark.parametrize("left_out", [f"{ONE} output none", f"{ONE}/1 output none"])
def test_the_answer_of_an_internal_command_can_be_left_out_too(either: Appliance, left_out: str) -> None:
    either.say("sched in 5 version")
    either.after(5 * SECOND)
    assert either.data(f"sched show {left_out}")["output"] is None
    assert "output" not in either.say(f"sched show {left_out}")


@pytest.mark.parametrize("words", ["output", "output all", "output none output none", "nothing"])
def test_only_outputs_can_be_left_out(either: Appliance, words: str) -> None:
    either.say("sched in 5 version")
    assert "sched in 5 version" not in either.error(f"sched show {ONE} {words}")


def test_the_answer_of_an_internal_command_is_its_output(either: Appliance) -> None:
    either.say("sched in 5 version")
    either.after(5 * SECOND)
    assert either.say(f"sched show {ONE}").endswith("succeeded\noutput:\n# schedappliance version: 1.2.3\n")
    assert either.data(f"sched show {ONE}/1")["output"].strip() == "# schedappliance version: 1.2.3"


def test_missed_due_times_are_shown_with_their_number(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.after(4 * MINUTE)
    shown = either.say(f"sched show {ONE}/3")
    assert "state: missed: the time had passed before it could be run\nmissed: 3\nsince: " in shown


@pytest.mark.parametrize("run", [f"{ONE}/2", f"{TWO}/1", f"{ONE}/999999999999999999"])
def test_a_run_that_is_not_stored_is_reported(either: Appliance, run: str) -> None:
    either.say("sched in 5 pid")
    either.after(5 * SECOND)
    job_id = run.partition("/")[0]
    expected = f"there is no run {run}; `sched history {job_id}` lists the stored runs"
    assert either.error(f"sched show {run}") == expected


@pytest.mark.parametrize("text", [f"{ONE}/", f"{ONE}/01", f"{ONE}/x", f"{ONE}/²", "/1", "1/1", f"{ONE}/1/1"])
def test_a_word_that_looks_like_a_run_may_be_something_else(either: Appliance, text: str) -> None:
    assert "no job has the id or name" in either.error(f"sched show {text}")
