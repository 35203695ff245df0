"""What becomes of each due time in a preview: every mark comes from a decision of the engine."""

from __future__ import annotations

import pytest

from schedappliance.clock import local_text
from schedappliance.core.pruning import SLACK
from schedappliance.engine.events import Remains
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from schedappliance.preview.report import mark_text
from schedappliance.preview.rows import Mark
from schedappliance.preview.simulation import CopyFailed
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, dump, ended
from tests.support.previews import UTC_ZONE, previewed, simulated, summarized

HOUR = 60 * MINUTE


def work(policy: str = "", sched: str = "") -> str:
    head = f"sched {{ {sched} }}\n" if sched else ""
    return f'{head}program "work" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'


def known(appliance: Appliance, seconds: int, stanzas: str, command: str = "run work") -> None:
    """A command has succeeded once, in so many seconds; then the stanzas are loaded."""
    appliance.turn(appliance.read(work()))
    appliance.say(command)
    (start,) = appliance.started()
    appliance.after(seconds * SECOND, ended(start.key.run))
    appliance.turn(appliance.read(stanzas))


def marks(appliance: Appliance, seconds: int) -> list[tuple[int, int, str]]:
    return summarized(previewed(appliance, seconds * SECOND), appliance.clock.moment().wall)


def test_a_run_is_shown_at_its_due_time_and_nothing_changes(appliance: Appliance) -> None:
    known(appliance, 5, work())
    appliance.say("sched every 60 run work")
    appliance.say("sched in 90 pid")
    before = dump(appliance.store)
    assert marks(appliance, 180) == [(2, 60, "run"), (3, 90, "run"), (2, 120, "run"), (2, 180, "run")]
    assert dump(appliance.store) == before


def test_a_declared_job_is_shown_by_its_name_as_the_files_declare_it_now(appliance: Appliance) -> None:
    stanzas = work() + 'job "j" { every = 100 command = "run work" }\n'
    rows = previewed(appliance, 2 * MINUTE, stanzas=f'sched {{ backing_store = "{appliance.path}" }}\n{stanzas}')
    assert [(row.declared, row.due_ms, row.command) for row in rows] == [("j", START_MS + 100 * SECOND, "run work")]
    assert appliance.next_runs() == []


def test_a_clock_change_at_a_declared_local_time_has_a_note(appliance: Appliance) -> None:
    stanzas = (f'job "{at}" {{ at = "2024-03-31 {at} Europe/Berlin" command = "pid" }}\n' for at in ("02:30", "03:30"))
    head = f'sched {{ backing_store = "{appliance.path}" }}\n'
    rows = previewed(appliance, 140 * 24 * HOUR, stanzas=head + "".join(stanzas))
    assert [(row.declared, mark_text(row, UTC_ZONE)) for row in rows] == [
        ("02:30", "run, clock change, 03:00:00+02:00 in Europe/Berlin"),
        ("03:30", "run"),
    ]


POLICIES = {
    "skip": [(60, "run"), (120, "overlap: skipped"), (180, "run"), (240, "overlap: skipped")],
    "queue": [(60, "run"), (120, "overlap: queued"), (180, "overlap: queued"), (240, "overlap: queued")],
    "parallel": [(60, "run"), (120, "run"), (180, "run"), (240, "run")],
    "replace": [(60, "run"), (120, "overlap: replaces"), (180, "overlap: replaces"), (240, "overlap: replaces")],
}


@pytest.mark.parametrize("overlap", POLICIES)
def test_an_overlap_is_marked_by_the_policy_of_the_program(appliance: Appliance, overlap: str) -> None:
    known(appliance, 70, work(f"overlap = {overlap}"))
    appliance.say("sched every 60 run work")
    began = appliance.clock.moment().wall
    rows = previewed(appliance, 240 * SECOND)
    first = summarized([row for row in rows if row.is_first], began)
    assert [(due, mark) for _, due, mark in first] == POLICIES[overlap]
    others = [(row.mark, (row.at_ms - began) // 1000) for row in rows if not row.is_first]
    assert others == {
        "queue": [(Mark.STARTS, 130), (Mark.STARTS, 200)],
        "replace": [(Mark.REPLACED, at) for at in (120, 180, 240)],
    }.get(overlap, [])


# A program that delivers alerts runs once at a time.
LIMITED = {"max_running": work("", "max_running = 1"), "notify": work() + 'notify "ops" { command = "run work" }\n'}


@pytest.mark.parametrize("text", LIMITED.values(), ids=LIMITED)
def test_a_run_beyond_the_limit_of_a_program_waits_and_starts_later(appliance: Appliance, text: str) -> None:
    known(appliance, 70, text)
    appliance.say("sched in 60 run work")
    appliance.say("sched in 60 run work")
    rows = previewed(appliance, 300 * SECOND)
    began = appliance.clock.moment().wall
    assert [(row.mark, (row.at_ms - began) // 1000) for row in rows] == [
        (Mark.RUN, 60),
        (Mark.WAITS, 60),
        (Mark.STARTS, 130),
    ]


def test_the_ends_of_simulated_runs_are_no_news(appliance: Appliance) -> None:
    """Two jobs have failed, so two alerts wait. Neither reminders nor recoveries follow them."""
    jobs = "".join(f'job "{name}" {{ every = 1h command = "run other {name}" }}\n' for name in ("a", "b"))
    tell = 'notify "ops" { when = ( failed recovered late ) again = 1m command = "run work" }\n'
    known(appliance, 70, work() + work().replace("work", "other") + tell + jobs)
    for name in ("a", "b"):
        appliance.say(f"sched run {name}")
    appliance.turn(appliance.typed("sched hold"), *[ended(key, 1) for key in list(appliance.state.running)])
    assert len(appliance.store.incidents.all()) == 2
    began = appliance.clock.moment().wall
    rows = [row for row in previewed(appliance, 2 * HOUR) if row.command == "run work"]
    assert [(row.mark, (row.at_ms - began) // 1000) for row in rows] == [
        (Mark.RUN, 0),
        (Mark.WAITS, 0),
        (Mark.STARTS, 70),
    ]


def test_programs_that_take_no_time_keep_their_places_for_one_instant(appliance: Appliance) -> None:
    appliance.turn(appliance.read(work("max_running = 1", "max_running = 2") + work().replace("work", "other")))
    for command in ("run work", "run work", "run other", "run other"):
        appliance.say(f"sched every 60 {command}")
    once = ["run", "waits for a place", "run", "waits for a place"]
    assert [mark for _, _, mark in marks(appliance, 120)] == once * 2


def test_a_program_that_takes_time_starts_after_those_that_take_none(appliance: Appliance) -> None:
    stanzas = work("", "max_running = 1") + work().replace("work", "short")
    known(appliance, 70, stanzas)
    appliance.say("sched in 60 run short")
    appliance.say("sched in 60 run work")
    appliance.say("sched in 100 run short")
    rows = previewed(appliance, 300 * SECOND)
    began = appliance.clock.moment().wall
    assert [(row.mark, (row.at_ms - began) // 1000) for row in rows] == [
        (Mark.RUN, 60),
        (Mark.WAITS, 60),
        (Mark.WAITS, 100),
        (Mark.STARTS, 130),
    ]


def test_a_command_of_the_same_instant_stops_a_program_that_waits(appliance: Appliance) -> None:
    appliance.turn(appliance.read(work("", "max_running = 1")))
    appliance.say("sched every 60 run work")
    appliance.say("sched every 60 run work")
    appliance.say("sched in 60 sched delete example.com-000000002")
    assert marks(appliance, 60) == [
        (1, 60, "run"),
        (2, 60, "waits for a place"),
        (2, 60, f"cancelled at {clock(appliance, 60)}: the job was deleted while it waited"),
        (3, 60, "run"),
    ]


def test_a_program_that_exceeds_its_timeout_is_retried(appliance: Appliance) -> None:
    known(appliance, 70, work("timeout = 20 retries = 1 retry_delay = 100"))
    appliance.say("sched in 60 run work")
    rows = previewed(appliance, HOUR)
    assert [row.mark for row in rows] == [Mark.RUN, Mark.RETRIED, Mark.STARTS, Mark.TIMED_OUT]
    run, retried, starts, timed_out = rows
    assert retried.again_ms is not None and starts.attempt == 2
    assert retried.at_ms == run.due_ms + 20 * SECOND
    assert starts.at_ms == retried.again_ms >= retried.at_ms + 100 * SECOND
    assert timed_out.at_ms == starts.at_ms + 20 * SECOND


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("run gone", "program `gone` is not declared"),
        ("run unset", "option `nowhere` is not set"),
        ("sched delete example.com-000000009", "there is no job example.com-000000009"),
    ],
)
def test_a_failure_is_shown_with_its_reason(appliance: Appliance, command: str, reason: str) -> None:
    unset = 'program "unset" { argv = ( "/bin/work" "%{nowhere}" ) }\n'
    appliance.turn(appliance.read(unset + 'program "gone" { argv = ( "/bin/work" ) }\n'))
    appliance.say(f"sched in 60 {command}")
    appliance.turn(appliance.read(unset))
    ((_, due, mark),) = marks(appliance, 60)
    assert (due, mark.startswith(f"failed: {reason}")) == (60, True)


def test_what_a_job_schedules_and_sets_is_shown(appliance: Appliance) -> None:
    stanzas = 'program "p" { argv = ( "/bin/work" "%{seconds}" ) }\n'
    appliance.turn(appliance.read(stanzas))
    appliance.say("sched every 60 sched in 5 run p")
    appliance.say("sched in 100 config set seconds 1")
    assert marks(appliance, 130) == [
        (1, 60, "run"),
        (3, 65, "failed: option `seconds` is not set"),
        (2, 100, "run"),
        (1, 120, "run"),
        (4, 125, "run"),
    ]
    assert not appliance.ask("config get seconds").ok


def test_a_reload_succeeds_and_paused_and_disabled_jobs_do_not_run(appliance: Appliance) -> None:
    appliance.turn(appliance.read('job "off" { every = 60 command = pid enabled = no }\n'))
    appliance.say("sched every 60 config reload")
    appliance.say("sched every 60 pid")
    appliance.say("sched pause example.com-000000003")
    assert marks(appliance, 120) == [(2, 60, "run"), (2, 120, "run")]


def test_a_shutdown_ends_the_preview(appliance: Appliance) -> None:
    known(appliance, 70, work())
    appliance.say("sched in 60 run work")
    appliance.say("sched in 90 shutdown")
    appliance.say("sched in 95 pid")
    assert marks(appliance, 300) == [
        (2, 60, "run"),
        (3, 90, "run"),
        (2, 60, f"interrupted at {clock(appliance, 90)}: the appliance was stopped"),
        (0, 90, "the appliance is shut down; nothing runs after it"),
    ]


def clock(appliance: Appliance, seconds: int) -> str:
    return local_text(appliance.clock.moment().wall + seconds * SECOND, UTC_ZONE).partition("T")[2]


CAUGHT_UP = {
    "once": [(-20, "catch-up, 4 missed")],
    "none": [(-20, "missed 5: `catch_up = none`")],
    "all": [(-260, "catch-up"), (-200, "catch-up, overlap: queued"), *[(due, "") for due in (-140, -80, -20)]],
}


@pytest.mark.parametrize("policy", CAUGHT_UP)
def test_due_times_that_passed_without_an_appliance_catch_up_by_the_policy(appliance: Appliance, policy: str) -> None:
    known(appliance, 1, work("", f"catch_up = {policy}"))
    appliance.say("sched every 60 run work")
    appliance.clock.advance(320 * SECOND)
    shown = summarized(previewed(appliance, SECOND, in_use=False), appliance.clock.moment().wall)
    first = [(due, mark) for _, due, mark in shown if not mark.startswith("starts")]
    assert len(first) == len(CAUGHT_UP[policy])
    for (due, mark), (wanted, beginning) in zip(first, CAUGHT_UP[policy], strict=True):
        assert (due, mark.startswith(beginning)) == (wanted, True), mark


def test_a_due_time_an_instant_ago_is_not_a_catch_up_of_a_running_appliance(appliance: Appliance) -> None:
    appliance.turn(appliance.read("sched { catch_up = none }\n"))
    appliance.say("sched every 60 pid")
    appliance.clock.advance(60 * SECOND + 3)
    assert [mark for _, _, mark in summarized(previewed(appliance, SECOND), 0)] == ["run"]
    assert [row.mark for row in previewed(appliance, SECOND, in_use=False)] == [Mark.MISSED]


def started(appliance: Appliance, stanzas: str) -> AttemptKey:
    """A program that takes 100 seconds has been running for 40."""
    known(appliance, 100, stanzas)
    appliance.say("sched every 60 run work")
    appliance.after(60 * SECOND)
    (start,) = appliance.started()
    appliance.clock.advance(40 * SECOND)
    return start.key


def test_a_program_that_runs_already_ends_after_the_rest_of_its_duration(appliance: Appliance) -> None:
    key = started(appliance, work())
    remains = Remains({key: ProcessKey(300, 7)}, {})
    rows = summarized(previewed(appliance, 140 * SECOND, remains=remains), appliance.clock.moment().wall)
    assert rows == [(2, 20, "overlap: skipped"), (2, 80, "run"), (2, 140, "overlap: skipped")]


def test_a_program_that_outlived_its_daemon_succeeds(appliance: Appliance) -> None:
    key = started(appliance, work("on_interrupt = rerun"))
    remains = Remains({key: ProcessKey(300, 7)}, {})
    rows = previewed(appliance, 61 * SECOND, remains=remains, in_use=False)
    assert [row.mark for row in rows] == [Mark.SKIPPED]


def test_a_program_that_died_with_its_daemon_is_interrupted_at_once(appliance: Appliance) -> None:
    key = started(appliance, work())
    rows = previewed(appliance, 30 * SECOND, in_use=False)
    assert [(row.mark, row.key) for row in rows] == [
        (Mark.INTERRUPTED, key.run),
        (Mark.RUN, RunKey(key.run.job, key.run.occurrence + 1)),
    ]


@pytest.mark.slow
def test_the_history_in_the_copy_does_not_grow(appliance: Appliance) -> None:
    """The copy is pruned as the store would be; the durations were read before."""
    known(appliance, 30, work("", "history = 10"))
    appliance.say("sched every 1 pid")
    appliance.say("sched every 3000 run work")
    appliance.say("sched every 3020 run work")
    with simulated(appliance) as simulation:
        rows = list(simulation.rows(3100 * SECOND))
        assert simulation.store.runs.count() <= 10 + SLACK
    assert len(rows) == 3102
    programs = [row for row in rows if row.key and row.key.job in (3, 4)]
    assert [row.mark for row in programs] == [Mark.RUN, Mark.RUN]
    appliance.turn(appliance.read(work("", "history = 10 max_running = 1")))
    assert [row.mark for row in previewed(appliance, 3100 * SECOND) if row.key and row.key.job in (3, 4)] == [
        Mark.RUN,
        Mark.WAITS,
        Mark.STARTS,
    ]


def test_a_copy_that_cannot_grow_ends_the_preview(appliance: Appliance) -> None:
    appliance.say("sched every 1 pid")
    with simulated(appliance) as simulation:
        simulation.store._database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(CopyFailed, match="full"):
            list(simulation.rows(HOUR))


def test_overrides_apply_in_the_preview_and_those_set_in_it_only_there(appliance: Appliance) -> None:
    known(appliance, 70, work("overlap = parallel"))
    appliance.say("config set program work timeout 50")
    appliance.say("sched every 100 run work")
    appliance.say("sched in 150 config set program work timeout 90")
    rows = previewed(appliance, 300 * SECOND)
    assert [row.mark for row in rows] == [Mark.RUN, Mark.RUN, Mark.TIMED_OUT, Mark.RUN, Mark.RUN]
    assert appliance.state.configuration.programs["work"].timeout_ms == 50 * SECOND


def test_the_command_of_on_failure_is_shown(appliance: Appliance) -> None:
    known(appliance, 70, work('timeout = 20 on_failure = "config set a 1"'))
    appliance.say("sched in 60 run work")
    rows = previewed(appliance, 100 * SECOND)
    assert [(row.mark, row.command) for row in rows] == [
        (Mark.RUN, "run work"),
        (Mark.TIMED_OUT, "run work"),
        (Mark.RUN, "config set a 1"),
    ]


def test_a_command_that_the_roles_do_not_allow_is_shown(appliance: Appliance) -> None:
    """The users are looked up on this machine, as they are now."""
    appliance.turn(appliance.read(STANZAS))
    appliance.say("sched in 60 run hello")
    appliance.say("sched in 90 pid")
    role = 'Authorization { Role "r" { allow = ( "^pid$" ) users = ( operator ) } }\n'
    appliance.turn(appliance.read(STANZAS + role))
    assert marks(appliance, 120) == [(1, 60, "failed: not authorized"), (2, 90, "run")]
    appliance.people.clear()
    gone = "failed: not authorized: user 1000 was `operator` and is `uid-1000` now"
    assert [mark for _, _, mark in marks(appliance, 120)] == [gone] * 2
