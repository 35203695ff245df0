"""`sched hold` and `sched release`: nothing new starts, what runs goes on, and no due time is forgotten."""

from __future__ import annotations

import json
import signal

import pytest

from schedappliance.engine.effects import Answer, Happened, Reply
from schedappliance.engine.records import NONE_UNCLAIMABLE, AttemptKey, ProcessKey, RunKey
from tests.support.core import (
    MINUTE,
    OPERATOR,
    SECOND,
    STANZAS,
    START_MS,
    Appliance,
    agrees_with_its_store,
    ended,
    has_pid,
    some,
)

FIRST = RunKey(1, 1)
HELD = "since 1700000000 (2023-11-14T22:13:20+00:00) by operator: a new disk"


def files(job: str = "", program: str = "", sched: str = "") -> str:
    """One declared job with a program."""
    return (
        f"sched {{ {sched} }}\n{STANZAS}"
        f'program "p" {{ argv = ( "/bin/work" ) {program} }}\njob "j" {{ every = 60 command = "run p" {job} }}\n'
    )


def held(appliance: Appliance, stanzas: str = STANZAS, hold: str = "sched hold a new disk") -> Appliance:
    """An appliance that is held, with these files."""
    appliance.turn(appliance.read(stanzas))
    appliance.say(hold)
    return appliance


def outcomes(appliance: Appliance, job: int | None = None) -> list[tuple[str, str | None]]:
    return [(run.state, run.reason) for run in appliance.history(job)]


def test_a_due_job_waits_for_the_release_and_nothing_wakes_the_appliance_before(either: Appliance) -> None:
    held(either)
    either.say("sched every 60 run hello")
    either.say("sched in 60 config set message_expiration 5")
    either.after(3 * MINUTE)
    assert (either.states(), either.started(), either.core.wake()) == ([], [], (None, None))
    assert either.say("sched release") == "released; it was held " + HELD
    assert [run.key for run in either.history() if run.state != "missed"] == [RunKey(1, 3), RunKey(2, 1)]
    assert outcomes(either, 1) == [("missed", "the appliance was held: a new disk"), ("started", None)]
    assert either.core.wake()[0] == START_MS + 4 * MINUTE
    agrees_with_its_store(either)


@pytest.mark.parametrize(
    ("job", "ends"),
    [
        ("", [("missed", "the appliance was held: a new disk"), ("started", None)]),
        ("catch_up = all", [("queued", None), ("queued", None), ("started", None)]),
        ("catch_up = none", [("missed", "the appliance was held: a new disk; `catch_up = none`")]),
        (
            "catch_up = all catch_up_within = 90",
            [
                ("missed", "the appliance was held: a new disk; it is older than `catch_up_within`"),
                ("queued", None),
                ("started", None),
            ],
        ),
    ],
)
def test_the_policy_of_the_job_decides_about_due_times_that_passed(
    either: Appliance, job: str, ends: list[tuple[str, str | None]]
) -> None:
    held(either, files(job))
    either.after(3 * MINUTE)
    either.say("sched release")
    assert sorted((state, reason if state == "missed" else None) for state, reason in outcomes(either)) == ends


def test_a_due_time_of_a_short_hold_is_late_too(either: Appliance) -> None:
    held(either, files("catch_up = none"))
    either.after(50 * SECOND)
    either.say("sched release")
    assert outcomes(either) == [("missed", "the appliance was held: a new disk; `catch_up = none`")]


def test_a_due_time_after_the_release_is_not_late(either: Appliance) -> None:
    held(either, files("catch_up = none"))
    either.say("sched release")
    either.after(50 * SECOND)
    assert outcomes(either) == [("started", None)]


def test_due_times_outside_the_hold_have_another_reason(appliance: Appliance) -> None:
    held(appliance, files("catch_up = none"))
    appliance.say("sched release")
    appliance.restart(5 * MINUTE, files("catch_up = none"))
    appliance.turn()
    assert outcomes(appliance) == [("missed", "`catch_up = none`")]


@pytest.mark.parametrize("line", ["run hello", "run --wait hello", "sched run example.com-000000001"])
def test_a_run_by_hand_waits_for_the_release(either: Appliance, line: str) -> None:
    either.say("sched every 3600 run hello")
    held(either)
    event = either.typed(line)
    either.turn(event)
    if "--wait" in line:
        assert some(Reply, either.effects) == []
    else:
        assert either.reply_to(event).note == f"it waits until `sched release`: the appliance is held {HELD}"
    (run,) = either.history()
    assert (run.state, run.reason, either.started()) == (
        "queued",
        "it waits until the appliance is released",
        [],
    )
    assert either.say(f"sched why example.com-{run.key.job:09d}/1").splitlines()[1] == (
        f"the appliance is held {HELD}; nothing new starts until `sched release`"
    )
    either.say("sched release")
    assert [start.key.run for start in either.started()] == [run.key]


def test_a_run_that_waits_can_be_stopped_while_the_appliance_is_held(either: Appliance) -> None:
    held(either)
    either.say("run hello")
    assert either.say("sched stop example.com-000000001/1") == "example.com-000000001/1: cancelled"
    either.say("sched release")
    assert either.started() == []


def test_what_runs_goes_on_but_gets_no_further_attempt(either: Appliance) -> None:
    either.turn(either.read(files(program="retries = 2 retry_delay = 5")))
    either.say("run p")
    either.turn(has_pid(either.started()[0]))
    key = either.history()[0].key
    answer = either.say("sched hold")
    assert answer == "held: nothing new starts until `sched release`; 1 program still running"
    either.turn(ended(key, 3))
    either.after(10 * SECOND)
    assert (outcomes(either), either.started()) == ([("queued", outcomes(either)[0][1])], [])
    assert "it waits until the appliance is released" in either.say(f"sched why example.com-{key.job:09d}/1")
    either.say("sched release")
    assert [start.key.attempt for start in either.started()] == [2]


def test_a_timeout_and_a_stop_take_effect_while_the_appliance_is_held(either: Appliance) -> None:
    either.say("run limited")
    either.say("run hello")
    for start in either.started():
        either.turn(has_pid(start))
    either.say("sched hold")
    either.after(10 * SECOND)
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.say("sched stop example.com-000000002/1")
    assert either.signalled() == [(RunKey(2, 1), signal.SIGTERM)]


def test_a_run_by_hand_does_not_end_the_run_that_it_would_replace(either: Appliance) -> None:
    either.turn(either.read(files(program="overlap = replace")))
    either.after(MINUTE)
    either.turn(has_pid(either.started()[0]))
    either.say("sched hold")
    either.say("sched run j")
    assert (either.signalled(), either.states()) == ([], [(1, 1, "started"), (1, 2, "queued")])
    either.turn(ended(FIRST))
    assert either.started() == []
    either.say("sched release")
    assert either.states() == [(1, 1, "succeeded"), (1, 2, "started")]


def test_a_run_that_waits_for_the_release_is_replaced_at_once(either: Appliance) -> None:
    either.turn(either.read(files(program="overlap = replace")))
    either.say("sched hold")
    for _ in range(3):
        either.say("sched run j")
    assert either.states() == [(1, 1, "replaced"), (1, 2, "replaced"), (1, 3, "queued")]
    assert outcomes(either)[2] == ("queued", "it waits until the appliance is released")
    either.say("sched release")
    assert [start.key.run for start in either.started()] == [RunKey(1, 3)]


@pytest.mark.parametrize("end", ["release", "planned", "restart"])
def test_the_newest_run_of_a_hold_replaces_the_program_at_its_end(appliance: Appliance, end: str) -> None:
    appliance.turn(appliance.read(files(program="overlap = replace")))
    appliance.after(MINUTE)
    appliance.turn(has_pid(appliance.started()[0]))
    appliance.say("sched hold for 10")
    for _ in range(2):
        appliance.say("sched run j")
    assert appliance.states() == [(1, 1, "started"), (1, 2, "replaced"), (1, 3, "queued")]
    assert appliance.signalled() == []
    if end == "release":
        appliance.say("sched release")
    elif end == "planned":
        appliance.after(10 * SECOND)
    else:
        survivors = {AttemptKey(FIRST, 1): ProcessKey(300, 7)}
        appliance.restart(10 * SECOND, files(program="overlap = replace"), survivors=survivors)
    assert appliance.signalled() == [(FIRST, signal.SIGTERM)]
    appliance.turn(ended(FIRST, signal=15))
    assert appliance.states() == [(1, 1, "replaced"), (1, 2, "replaced"), (1, 3, "started")]


def test_a_run_whose_next_attempt_waits_for_the_release_is_replaced(either: Appliance) -> None:
    either.turn(either.read(files(program="overlap = replace retries = 2 retry_delay = 5")))
    either.after(MINUTE)
    either.turn(has_pid(either.started()[0]))
    either.say("sched hold")
    either.say("sched run j")
    either.turn(ended(FIRST, 3))
    either.say("sched release")
    assert either.states() == [(1, 1, "replaced"), (1, 2, "started")]


def test_on_failure_waits_for_the_release(either: Appliance) -> None:
    either.turn(either.read(files(program='on_failure = "pid"')))
    either.after(MINUTE)
    either.say("sched hold")
    either.turn(ended(FIRST, 1))
    assert outcomes(either) == [("failed", "exit status 1")]
    either.say("sched release")
    assert outcomes(either, 2) == [("succeeded", None)]


def test_on_failure_that_is_run_by_hand_in_a_hold_runs_once(either: Appliance) -> None:
    either.turn(either.read(files(program='on_failure = "pid"')))
    either.after(MINUTE)
    either.say("sched hold")
    either.turn(ended(FIRST, 1))
    either.say("sched run example.com-000000002")
    either.say("sched release")
    assert outcomes(either, 2) == [("succeeded", None)]


def test_a_restart_keeps_the_hold(appliance: Appliance) -> None:
    held(appliance)
    appliance.say("sched every 60 run hello")
    appliance.restart(3 * MINUTE)
    assert f"warning: the appliance is held {HELD}; nothing new starts until `sched release`" in appliance.logged()
    assert (appliance.started(), appliance.core.wake()) == ([], (None, None))
    appliance.restart(3 * MINUTE)
    appliance.say("sched release")
    assert outcomes(appliance) == [("missed", "the appliance was held: a new disk"), ("started", None)]


def test_a_failed_commit_undoes_a_hold(either: Appliance) -> None:
    either.say("sched every 60 run hello")
    either.database.failing_commits = 2
    assert "cannot be written" in either.error("sched hold")
    either.after(MINUTE)
    assert either.states() == [(1, 1, "started")]


def test_a_second_hold_changes_the_reason(either: Appliance) -> None:
    held(either)
    either.clock.advance(MINUTE)
    assert either.say("sched hold") == f"it was already held {HELD}"
    assert either.say('sched hold "until  noon"') == f"it was already held {HELD}; the reason has changed"
    assert either.state.status.hold == (START_MS, OPERATOR, "until  noon", None, None)
    assert either.store.settings.hold() == either.state.status.hold


def test_a_release_of_an_appliance_that_is_not_held_is_no_error(either: Appliance) -> None:
    assert either.say("sched release") == "it was not held"
    assert either.data("sched release") == {"held": None, "was_held": False, "was": None}


def test_the_answers_after_json_are_data(either: Appliance) -> None:
    hold = {"since_ms": START_MS, "ends_ms": None, "user": "operator", "reason": None}
    assert either.data("sched hold") == {"held": hold, "was_held": False, "running": 0}
    assert either.data("summary")["held"] == hold
    assert either.data("health") == {"live": True, "ready": True, "troubles": [], "held": hold}
    either.say("sched every 60 run hello")
    assert either.data("sched why example.com-000000001")["held"] == hold
    assert either.data("sched release") == {"held": None, "was_held": True, "was": hold}
    assert either.data("summary")["held"] is None


def test_summary_and_why_say_that_the_appliance_is_held(either: Appliance) -> None:
    held(either)
    either.say("sched every 60 run hello")
    summary = either.say("summary")
    assert f"\tHeld:  {HELD}\n" in summary and "Degraded" not in summary
    assert either.ask("health") == Answer(f"held {HELD}\n", exit_status=0)
    assert either.say("sched why example.com-000000001").splitlines() == [
        f"the appliance is held {HELD}; nothing new starts until `sched release`",
        "it runs next at 1700000060 (2023-11-14T22:14:20+00:00): 60 seconds after its last due time",
    ]
    either.after(MINUTE)
    assert either.say("sched why example.com-000000001").splitlines()[1] == (
        "it has been due since 1700000060 (2023-11-14T22:14:20+00:00); "
        "after `sched release` it runs or is missed, as `catch_up` says"
    )


def test_those_who_watch_are_told(either: Appliance) -> None:
    either.ask("json watch")
    either.say("sched hold")
    (event,) = [event for told in some(Happened, either.effects) for event in told.events]
    held = {"since_ms": START_MS, "ends_ms": None, "user": "operator", "reason": None}
    assert event == {"at_ms": START_MS, "kind": "hold", "held": held}


def test_a_long_reason_is_rejected(either: Appliance) -> None:
    assert "the reason has 201 characters" in either.error(f"sched hold {'x' * 201}")
    assert either.state.status.hold is None


@pytest.mark.parametrize("line", ["sched in 60 sched release", "sched every 60 json sched release"])
def test_a_release_cannot_be_scheduled(either: Appliance, line: str) -> None:
    assert "`sched release` cannot be scheduled" in either.error(line)


def test_a_hold_can_be_scheduled(either: Appliance) -> None:
    either.say("sched in 60 sched hold the night")
    either.say("sched in 61 run hello")
    either.after(MINUTE)
    either.after(MINUTE)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.state.status.hold == (START_MS + MINUTE, OPERATOR, "the night", None, None)


def test_jobs_that_are_due_with_a_hold_wait_for_the_release(either: Appliance) -> None:
    either.say("sched in 60 sched hold the night")
    either.say("sched in 60 config set message_expiration 5")
    either.after(MINUTE)
    assert either.states() == [(1, 1, "succeeded")]
    either.say("sched release")
    assert either.states() == [(1, 1, "succeeded"), (2, 1, "succeeded")]


def test_a_run_that_waits_does_not_start_after_a_hold_or_a_stop_of_the_same_turn(either: Appliance) -> None:
    """Its place becomes free in the turn in which the job is due."""
    for command in ("sched hold", "shutdown"):
        either.turn(either.read(files(sched="max_running = 1")))
        either.say("sched pause j")
        either.say("run hello")
        (first,) = either.started()
        either.say("run hello")
        either.say(f"sched in 60 {command}")
        either.after(MINUTE, ended(first.key.run))
        assert either.started() == []
        if either.state.status.hold is not None:
            either.say("sched release")
            (second,) = either.started()
            either.turn(ended(second.key.run))


def test_a_drop_is_carried_out_and_its_runs_wait(either: Appliance) -> None:
    held(either)
    results = json.loads(either.drop("run hello\nsched in 5 run hello\n").result)["results"]
    assert not any("error" in result for result in results)
    assert (either.states(), either.started()) == ([(1, 1, "queued")], [])
    either.drop("sched release\n", "2~b.cmd")
    assert either.states() == [(1, 1, "started")]


def test_other_files_miss_nothing_that_a_program_has_to_do(either: Appliance) -> None:
    """Due times that passed are those of the old schedule, so they are decided with the reload: a program can wait."""
    internal = 'job "note" { every = 60 command = "config set message_expiration 5" }\n'
    held(either, files() + internal)
    either.after(2 * MINUTE)
    either.turn(either.read((files() + internal).replace("every = 60", "every = 3600")))
    assert either.started() == []
    assert outcomes(either, 1) == [
        ("missed", "the appliance was held: a new disk"),
        ("queued", "it waits until the appliance is released"),
    ]
    assert outcomes(either, 2) == [("missed", "the appliance was held: a new disk")]
    assert either.say("config get message_expiration") == "Message_Expiration = 86400"
    either.say("sched release")
    assert [start.key.run.job for start in either.started()] == [1]


def test_the_hold_moves_with_the_clock(appliance: Appliance) -> None:
    held(appliance, files("catch_up = none"))
    appliance.after(MINUTE)
    appliance.clock.step(-10 * MINUTE)
    appliance.turn()
    assert appliance.state.status.hold == (START_MS - 10 * MINUTE, OPERATOR, "a new disk", None, None)
    appliance.after(MINUTE)
    appliance.say("sched release")
    assert outcomes(appliance) == [("missed", "the appliance was held: a new disk; `catch_up = none`")]
    appliance.after(MINUTE)
    assert outcomes(appliance)[1:] == [("started", None)]
    assert appliance.store.settings.hold() == appliance.state.status.last_hold


# With a planned end

HOUR = 60 * MINUTE
UNTIL = (
    "since 1700000000 (2023-11-14T22:13:20+00:00) until 1700003600 (2023-11-14T23:13:20+00:00) by operator: a new disk"
)
FOR_AN_HOUR = "sched hold for 1h a new disk"


def test_a_hold_ends_at_its_planned_end(either: Appliance) -> None:
    either.turn(either.read(files()))
    answer = either.say(FOR_AN_HOUR)
    assert answer.startswith(
        "held: nothing new starts until 1700003600 (2023-11-14T23:13:20+00:00) or `sched release`; 0 programs"
    )
    either.say("sched in 2h pid")
    either.ask("json watch")
    either.after(30 * MINUTE)
    assert (either.states(), either.core.wake()) == ([], (START_MS + HOUR, None))
    either.after(30 * MINUTE)
    assert outcomes(either) == [("missed", "the appliance was held: a new disk"), ("started", None)]
    assert f"info: the hold has ended as planned; it was held {UNTIL}" in either.logged()
    assert [event for news in some(Happened, either.effects) for event in news.events if event["kind"] == "hold"] == [
        {"at_ms": START_MS + HOUR, "kind": "hold", "held": None}
    ]
    assert either.say("sched release") == "it was not held"
    agrees_with_its_store(either)


def test_a_due_time_between_the_planned_end_and_a_late_turn_is_not_missed(either: Appliance) -> None:
    """The reason of what was missed is the hold only for the due times within it."""
    either.turn(either.read(files("catch_up = all")))
    either.say("sched hold for 90")
    either.after(3 * MINUTE)
    assert outcomes(either) == [("started", None), *[("queued", "it waits for the job's earlier run")] * 2]


def test_a_release_comes_before_the_planned_end(either: Appliance) -> None:
    held(either, hold=FOR_AN_HOUR)
    either.after(MINUTE)
    assert either.say("sched release") == f"released; it was held {HELD}"
    either.say("sched in 2h pid")
    assert (either.state.status.hold, either.core.wake()[0]) == (None, START_MS + MINUTE + 2 * HOUR)
    either.after(HOUR)
    assert "as planned" not in either.logged()


def test_a_second_hold_sets_the_end_anew(either: Appliance) -> None:
    held(either, hold=FOR_AN_HOUR)
    assert either.say("sched hold FOR 2h") == (
        f"it was already held {UNTIL}; it now ends at 1700007200 (2023-11-15T00:13:20+00:00)"
    )
    assert either.say("sched hold 'for ever'").endswith("; the reason has changed; it now has no planned end")
    assert either.state.status.hold == (START_MS, OPERATOR, "for ever", None, None)
    either.after(3 * HOUR)
    assert either.state.status.hold is not None
    assert either.store.settings.hold() == either.state.status.hold


@pytest.mark.parametrize("down", [30 * MINUTE, 2 * HOUR])
def test_a_planned_end_counts_while_no_appliance_runs(appliance: Appliance, down: int) -> None:
    held(appliance, files("catch_up = none"), FOR_AN_HOUR)
    appliance.restart(down, files("catch_up = none"))
    is_held = down < HOUR
    assert (appliance.state.status.hold is not None) == is_held
    assert (f"the appliance is held {UNTIL}; nothing" in appliance.logged()) == is_held
    assert ("the hold has ended as planned" in appliance.logged()) != is_held
    appliance.after(HOUR - down if is_held else 0)
    why = "the appliance was held: a new disk; `catch_up = none`" if is_held else "`catch_up = none`"
    assert outcomes(appliance) == [("missed", why)]
    appliance.after(MINUTE)
    assert outcomes(appliance)[1:] == [("started", None)]
    agrees_with_its_store(appliance)


@pytest.mark.parametrize("step", [-10 * MINUTE, 10 * MINUTE])
def test_the_planned_end_follows_the_clock_as_due_times_do(appliance: Appliance, step: int) -> None:
    """When the clock is set back, the hold still lasts an hour. When it is set forward, the time counts as passed."""
    held(appliance, hold=FOR_AN_HOUR)
    appliance.say("sched in 1h pid")
    appliance.after(MINUTE)
    appliance.clock.step(step)
    appliance.turn()
    ends = START_MS + HOUR + min(step, 0)
    assert appliance.core.wake()[0] == ends == appliance.store.jobs.next_due(NONE_UNCLAIMABLE)
    appliance.after(59 * MINUTE - max(step, 0))
    assert (appliance.state.status.hold, appliance.states()) == (None, [(1, 1, "succeeded")])


def test_a_clock_that_was_wrong_does_not_bring_a_hold_back(appliance: Appliance) -> None:
    held(appliance, hold=FOR_AN_HOUR)
    appliance.say("sched release")
    appliance.clock.step(-HOUR)
    appliance.restart()
    assert appliance.state.status.hold is None


def test_a_planned_end_that_cannot_be_stored_comes_later(either: Appliance) -> None:
    held(either, files(), FOR_AN_HOUR)
    either.database.failing_commits = 2
    either.after(HOUR)
    assert (either.states(), either.state.status.hold is not None) == ([], True)
    for _ in range(2):
        either.after(MINUTE)
    assert either.state.status.hold is None
    assert ("started", None) in outcomes(either)


def test_what_waits_says_when_the_hold_ends(either: Appliance) -> None:
    held(either, files(), FOR_AN_HOUR)
    note = f"it waits until the end of the hold: the appliance is held {UNTIL}"
    assert either.ask("run hello").note == note
    either.after(MINUTE)
    assert either.say("sched why j").splitlines() == [
        f"the appliance is held {UNTIL}; nothing new starts until then or `sched release`",
        "it has been due since 1700000040 (2023-11-14T22:14:00+00:00); after the hold it runs or is missed, as `catch_up` says",
    ]
    assert f"\tHeld:  {UNTIL}\n" in either.say("summary")
    assert either.data("health")["held"]["ends_ms"] == START_MS + HOUR


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("sched hold for", "missing value of `for`"),
        ("sched hold for maintenance", "invalid duration `maintenance`"),
        ("sched hold for 0", "duration `0` is zero"),
        ("sched hold for -1h", "negative duration `-1h`"),
        ("sched hold for 101y", "invalid duration `101y`"),
        (f"sched hold for 1h {'x' * 201}", "the reason has 201 characters"),
    ],
)
def test_an_invalid_planned_end_is_rejected(either: Appliance, line: str, error: str) -> None:
    assert either.error(line).startswith(error)
    assert either.state.status.hold is None
