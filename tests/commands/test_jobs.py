"""`sched show`: what a person is told of one job."""

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
