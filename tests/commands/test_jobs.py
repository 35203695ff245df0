"""`sched show` and `sched why`: what a person is told of one job."""

from __future__ import annotations

from schedappliance.engine.records import RunKey
from tests.core.building import FILE, MINUTE, SECOND, STANZAS, START_MS, Appliance, ended

ONE = "example.com-000000001"
S = START_MS // 1000
DECLARED = STANZAS + 'job "a" { every = 60 command = "run sleep 5" }\n'


def test_a_job_is_shown_with_all_that_is_known_of_it(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    assert either.say(f"sched show {ONE}").splitlines() == [
        f"id: {ONE}",
        "command: run sleep 5",
        f"next run: {S + 60} (2023-11-14T22:14:20Z)",
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


def test_a_job_as_data_has_the_same_facts_in_the_same_order(either: Appliance) -> None:
    either.say("sched in 60 pid")
    found = either.data(f"sched show {ONE}")
    shown = [line.partition(": ") for line in either.say(f"sched show {ONE}").splitlines()]
    assert [(name, str(value)) for name, value in found.items() if value is not None] == [
        (label.replace(" ", "_"), value) for label, _, value in shown
    ]
    assert (found["every"], found["declared"], found["last_run"]) == (None, None, None)


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


def why(appliance: Appliance, number: int = 1) -> list[str]:
    return appliance.say(f"sched why example.com-{number:09d}").splitlines()


def test_why_says_when_a_job_runs_next(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.say("sched in 60 pid")
    either.turn(either.read(DECLARED + f'job "b" {{ at = {S + 5} command = pid }}\n'))
    assert why(either, 1) == [f"it runs next at {S + 60} (2023-11-14T22:14:20Z): 60 seconds after its last due time"]
    assert why(either, 2) == [f"it runs once, at {S + 60} (2023-11-14T22:14:20Z)"]
    assert why(either, 3) == [
        f"it runs next at {S + 40} (2023-11-14T22:14:00Z): the next multiple of 60 seconds, as its stanza says"
    ]
    either.after(5 * SECOND)
    assert why(either, 4)[0] == "it does not run again: its time has passed"


def test_why_says_what_keeps_a_job_from_running(either: Appliance) -> None:
    either.turn(either.read(DECLARED))
    either.say(f"sched pause {ONE}")
    assert why(either) == ["it does not run: it is paused; `sched resume` lets it run again"]
    either.turn(either.read(DECLARED.replace("every", "enabled = no every")))
    assert why(either) == ["it does not run: its stanza says `enabled = false`"]


def test_why_tells_the_last_run_and_the_last_that_did_not_succeed(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.after(MINUTE)
    assert why(either)[1:] == [f"its last run: {ONE}/1 started"]
    either.after(MINUTE)
    overlap = f"{ONE}/2 skipped: the job's last run has not ended"
    assert why(either)[1:] == [f"its last run: {overlap}"]
    either.turn(ended(RunKey(1, 1)))
    either.after(MINUTE)
    either.turn(ended(RunKey(1, 3)))
    expected = [
        f"its last run: {ONE}/3 succeeded",
        f"the last that did not succeed: {overlap}, due {S + 120} (2023-11-14T22:15:20Z)",
    ]
    assert why(either)[1:] == expected
    found = either.data(f"sched why {ONE}")
    assert (found["next"], found["past"]) == (why(either)[0], expected)


def test_why_tells_of_due_times_that_were_missed(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.say(f"sched pause {ONE}")
    either.after(3 * MINUTE)
    either.say(f"sched resume {ONE}")
    assert why(either)[1:] == [f"its last run: {ONE}/3 missed: the job was paused"]
