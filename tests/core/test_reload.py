"""Reloads: accepted as a whole or rejected, with the effect on overrides, declared jobs and waiting clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schedappliance.engine.effects import Answer, LogMessage, ReadFiles
from schedappliance.engine.events import ReloadRequested
from schedappliance.engine.records import RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, dump, ended, some, with_store

CHANGED = STANZAS.replace("86400", "3600")
COMMENTED = STANZAS + "# nothing else\n"
BAD = STANZAS + "program {\n"
# Nothing in it is doubtful on any machine, so a reload logs no warning.
CLEAN = "a = 1\n"
JOBS = (
    STANZAS + 'job "a" { every = 60 command = "run sleep 5" }\njob "b" { at = 1700000090 command = "config set b 1" }\n'
)
COUNTED = (
    STANZAS
    + 'program "extra" { argv = ( "/bin/true" ) }\n'
    + "".join(f'job "{name}" {{ every = 60 command = "run sleep 5" }}\n' for name in ("stays", "changes", "goes"))
)
COUNTED_AFTERWARDS = (
    STANZAS
    + 'job "stays" { every = 60 command = "run sleep 5" }\n'
    + 'job "changes" { every = 90 command = "run sleep 5" }\njob "comes" { every = 60 command = "run sleep 5" }\n'
)
DISABLED = JOBS.replace("command =", "enabled = no command =")


def rows(appliance: Appliance, *columns: str) -> list[Any]:
    return appliance.store._database.rows(f"SELECT {', '.join(columns)} FROM jobs ORDER BY number")


def generations(appliance: Appliance) -> int:
    return int(appliance.store._database.row("SELECT count(*) FROM generations")[0])


def test_a_changed_file_takes_effect(either: Appliance) -> None:
    either.turn(either.read(CHANGED))
    assert either.say("config get message_expiration") == "Message_Expiration = 3600"
    assert generations(either) == 2
    either.turn(either.read(JOBS))
    assert "info: configuration 3 is active; jobs: 2 added, 0 changed, 0 removed, 0 unchanged" in either.logged()


@pytest.mark.parametrize("files", [COMMENTED, STANZAS.replace("86400", "86400 ")])
def test_an_automatic_reload_keeps_overrides(appliance: Appliance, files: str) -> None:
    appliance.say("config set message_expiration 300")
    appliance.say("config set other 1")
    appliance.turn(appliance.read(files))
    assert appliance.say("config get message_expiration") == "Message_Expiration = 300"
    appliance.restart(stanzas=files)
    assert appliance.say("config get message_expiration") == "Message_Expiration = 300"
    assert appliance.say("config get other") == "other = 1"


@pytest.mark.parametrize("when", ["running", "stopped"])
def test_an_edit_of_an_option_replaces_an_older_override(appliance: Appliance, when: str) -> None:
    appliance.say("config set message_expiration 300")
    appliance.say("config set other 1")
    if when == "running":
        appliance.turn(appliance.read(CHANGED))
    else:
        appliance.restart(stanzas=CHANGED)
    assert (
        "warning: option Message_Expiration: the files changed it; `config set` to 300 is dropped" in appliance.logged()
    )
    assert appliance.say("config get message_expiration") == "Message_Expiration = 3600"
    assert appliance.say("config get other") == "other = 1"
    appliance.restart(stanzas=CHANGED)
    assert [o.place.option for o in appliance.store.settings.overrides()] == ["other"]


@pytest.mark.parametrize("files", [STANZAS, COMMENTED])
def test_a_typed_reload_drops_all_overrides(appliance: Appliance, files: str) -> None:
    appliance.say("config set message_expiration 300")
    appliance.say("config set program hello timeout 5")
    answer = "OK\njobs: 0 added, 0 changed, 0 removed, 0 unchanged"
    dropped = '\ndropped: Message_Expiration = 300\ndropped: program "hello" timeout = 5'
    assert appliance.reload_typed(files) == Answer(answer + dropped)
    text = "`config set` to 300 is dropped by `config reload`"
    assert f"warning: option Message_Expiration: {text}" in appliance.logged()
    assert appliance.reload_typed(files) == Answer(answer)
    assert appliance.say("config get message_expiration") == "Message_Expiration = 86400"
    assert generations(appliance) == (1 if files == STANZAS else 2)
    appliance.restart(stanzas=files)
    assert appliance.store.settings.overrides() == []


def test_a_signal_and_a_scheduled_reload_keep_overrides(either: Appliance) -> None:
    either.say("config set message_expiration 300")
    either.turn(ReloadRequested("SIGHUP"))
    assert some(ReadFiles, either.effects) == [ReadFiles(1, typed=False)]
    either.turn(either.read(COMMENTED, 1))
    either.say("sched in 5 config reload")
    either.after(5 * SECOND)
    assert some(ReadFiles, either.effects) == [ReadFiles(2, typed=False)]
    assert either.states() == [(1, 1, "started")]
    either.turn(either.read(COMMENTED, 2))
    assert either.states() == [(1, 1, "succeeded")]
    assert either.say("config get message_expiration") == "Message_Expiration = 300"


def test_a_reload_as_data_says_so(either: Appliance) -> None:
    either.turn(either.read(COUNTED))
    either.say("sched in 60 run extra")
    either.say("config set message_expiration 300")
    event = either.typed("json config reload")
    either.turn(event)
    either.turn(either.read(COUNTED_AFTERWARDS, 1, typed=True))
    answer = either.reply_to(event)
    assert (answer.is_json, json.loads(str(answer.output))) == (
        True,
        {
            "reloaded": True,
            "jobs": {"added": 1, "changed": 1, "removed": 1, "unchanged": 1},
            "dropped": [{"scope": "", "option": "Message_Expiration", "value": "300"}],
            "warnings": ["program extra is no longer declared; these jobs use it: example.com-000000004"],
        },
    )


def test_a_reload_counts_the_changes_of_declared_jobs(either: Appliance) -> None:
    either.turn(either.read(COUNTED))
    either.say("sched in 60 run extra")
    counts = "jobs: 1 added, 1 changed, 1 removed, 1 unchanged"
    warning = "warning: program extra is no longer declared; these jobs use it: example.com-000000004"
    assert either.reload_typed(COUNTED_AFTERWARDS) == Answer(f"OK\n{counts}\n{warning}")
    assert f"info: configuration 3 is active; {counts}" in either.logged()
    assert warning in either.logged()


@pytest.mark.parametrize("files", [BAD, STANZAS + "bad = ( 1 2 )\n", 'job "a" { every = 60 command = "run helo" }\n'])
def test_a_rejected_reload_changes_nothing_and_the_client_gets_the_error(either: Appliance, files: str) -> None:
    either.say("config set message_expiration 300")
    either.say("sched in 5 config reload")
    before = dump(either.store, "counters")
    answer = either.reload_typed(files)
    assert (answer.ok, answer.verbatim) == (False, True)
    assert answer.error is not None
    assert answer.error.endswith("\nReconfigure failed.")
    assert "/etc/schedappliance/sched.conf:" in answer.error
    assert answer.diagnostics
    assert "error: the stanza files are rejected; the running configuration stays active" in either.logged()
    assert dump(either.store, "counters") == before
    assert either.say("config get message_expiration") == "Message_Expiration = 300"
    either.after(5 * SECOND)
    either.turn(either.read(files, 2))
    (run,) = either.history()
    assert (run.state, run.reason) == ("failed", answer.error)


def test_a_changed_store_needs_a_restart(appliance: Appliance) -> None:
    changed = with_store(CHANGED, appliance.store.path).replace("sched.db", "other.db")
    before = dump(appliance.store, "counters")
    event = appliance.typed("config reload")
    appliance.turn(event)
    appliance.turn(appliance.read_exactly(changed, 1, typed=True))
    error = appliance.reply_to(event).error
    assert error is not None
    assert "/etc/schedappliance/sched.conf:1:9: E309 restart required: " in error
    assert dump(appliance.store, "counters") == before
    assert appliance.say("config get message_expiration") == "Message_Expiration = 86400"


@pytest.mark.parametrize("before", ["file", "memory"])
def test_an_added_or_removed_store_needs_a_restart_too(appliance: Appliance, before: str) -> None:
    one = appliance if before == "file" else Appliance(None)
    one.turn(one.read_exactly(CHANGED if before == "file" else with_store(CHANGED, appliance.path)))
    assert "E309 restart required" in one.logged()
    assert one.say("config get message_expiration") == "Message_Expiration = 86400"


def test_files_with_the_same_digest_are_checked_once(either: Appliance) -> None:
    either.turn(either.read(BAD))
    assert either.logged() != ""
    assert either.turn(either.read(BAD)) == []
    either.turn(either.read(CHANGED))
    assert either.turn(either.read(CHANGED)) == []
    assert generations(either) == 2


def test_a_file_restored_after_an_invalid_edit_is_active_again(either: Appliance) -> None:
    either.say("config set message_expiration 300")
    either.turn(either.read(BAD))
    either.turn(either.read(STANZAS))
    assert "info: the stanza files are unchanged" in either.logged()
    assert (generations(either), either.say("config get message_expiration")) == (1, "Message_Expiration = 300")
    either.turn(either.read(CHANGED))
    either.turn(either.read(STANZAS))
    assert (generations(either), either.say("config get message_expiration")) == (3, "Message_Expiration = 86400")


def test_declared_jobs_run_at_multiples_of_their_period_and_keep_their_rows(appliance: Appliance) -> None:
    appliance.turn(appliance.read(JOBS))
    due = START_MS + 40 * SECOND
    assert due % MINUTE == 0
    assert rows(appliance, "declared", "next_run_ms") == [("a", due), ("b", START_MS + 90 * SECOND)]
    appliance.clock.advance(40 * SECOND)
    appliance.turn()
    appliance.turn(ended(RunKey(1, 1)))
    appliance.after(50 * SECOND)
    assert appliance.say("config get b") == "b = 1"
    before = rows(appliance, "*")
    appliance.restart(stanzas=JOBS)
    assert "jobs: 0 added, 0 changed, 0 removed, 2 unchanged" in appliance.logged()
    assert rows(appliance, "*") == before
    appliance.after(50 * SECOND)
    assert [(r.key, r.state) for r in appliance.history()] == [
        ((1, 1), "succeeded"),
        ((2, 1), "succeeded"),
        ((1, 2), "started"),
    ]


def test_changes_of_declared_jobs(appliance: Appliance) -> None:
    appliance.turn(appliance.read(JOBS))
    appliance.after(90 * SECOND, ended(RunKey(1, 1)))
    armed = rows(appliance, "next_run_ms")[0]
    appliance.turn(appliance.read(JOBS.replace("run sleep 5", "config set a 2")))
    assert rows(appliance, "number", "next_run_ms", "command", "occurrence")[0] == (1, *armed, "config set a 2", 1)
    appliance.turn(appliance.read(JOBS.replace("every = 60", "every = 3600")))
    assert rows(appliance, "number", "next_run_ms", "occurrence")[0] == (1, START_MS + 2_800_000, 1)
    appliance.turn(appliance.read(JOBS.replace("1700000090", "1700000190")))
    assert rows(appliance, "number", "next_run_ms", "occurrence")[1] == (2, START_MS + 190_000, 1)
    appliance.turn(appliance.read(STANZAS))
    assert rows(appliance, "number") == []
    appliance.turn(appliance.read(JOBS))
    assert rows(appliance, "number", "declared") == [(3, "a"), (4, "b")]


def test_a_time_that_has_passed_and_run_does_not_run_again(appliance: Appliance) -> None:
    appliance.turn(appliance.read(JOBS))
    appliance.after(90 * SECOND)
    for files in (JOBS + "# more\n", JOBS.replace("config set b 1", "config set b 2")):
        appliance.turn(appliance.read(files))
        appliance.after(SECOND)
    appliance.restart(stanzas=JOBS)
    appliance.turn()
    assert appliance.states(2) == [(2, 1, "succeeded")]


def test_a_disabled_job_does_not_run(either: Appliance) -> None:
    either.turn(either.read(JOBS))
    either.turn(either.read(JOBS.replace("command =", "enabled = no command =")))
    either.after(10 * MINUTE)
    assert (either.history(), either.core.wake(), either.data("sched list")) == ([], (None, None), [])


def restarted_or_read(appliance: Appliance, files: str, how: str) -> None:
    if how == "reload":
        appliance.turn(appliance.read(files))
    else:
        appliance.restart(stanzas=files)
        appliance.turn()


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_reenabled_job_continues_at_its_next_due_time(appliance: Appliance, how: str) -> None:
    """Due times while it was disabled are neither run nor recorded as missed."""
    appliance.turn(appliance.read(JOBS))
    appliance.after(40 * SECOND)
    appliance.turn(ended(RunKey(1, 1)))
    restarted_or_read(appliance, DISABLED, how)
    appliance.after(10 * MINUTE)
    restarted_or_read(appliance, JOBS, how)
    assert appliance.states(1) == [(1, 1, "succeeded")]
    due = START_MS + 40 * SECOND + 11 * MINUTE
    assert rows(appliance, "next_run_ms", "occurrence")[0] == (due, 1)
    appliance.after(MINUTE)
    assert appliance.states(1) == [(1, 1, "succeeded"), (1, 2, "started")]
    assert [run.due_ms for run in appliance.history(1)][-1] == due


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_one_shot_job_that_is_enabled_after_its_due_time_does_not_run(appliance: Appliance, how: str) -> None:
    """Its due time came while it was disabled."""
    appliance.turn(appliance.read(DISABLED))
    appliance.after(10 * MINUTE)
    for _ in range(2):
        restarted_or_read(appliance, JOBS, how)
        appliance.after(SECOND)
        restarted_or_read(appliance, DISABLED, how)
    assert appliance.states(2) == []


def test_a_job_that_was_never_enabled_does_not_run(either: Appliance) -> None:
    either.turn(either.read(DISABLED))
    either.after(10 * MINUTE)
    assert (either.history(), either.core.wake()) == ([], (None, None))


def test_a_run_goes_on_when_its_job_is_disabled_and_still_counts_when_it_is_enabled(either: Appliance) -> None:
    either.turn(either.read(JOBS))
    either.after(40 * SECOND)
    either.turn(either.read(DISABLED))
    assert either.states(1) == [(1, 1, "started")]
    either.turn(either.read(JOBS))
    either.after(MINUTE)
    assert either.states(1) == [(1, 1, "started"), (1, 2, "skipped")]


def test_a_job_removed_in_the_turn_in_which_it_is_due_does_not_run(either: Appliance) -> None:
    either.turn(either.read(JOBS))
    either.after(40 * SECOND, either.read(STANZAS))
    assert [(run.state, run.missed_count) for run in either.history()] == [("missed", 1)]


def test_stored_jobs_stay_when_their_program_is_removed(either: Appliance) -> None:
    either.say("sched in 60 run sleep 5")
    either.turn(either.read("a = 1\n"))
    assert "is active" in either.logged()
    either.after(MINUTE)
    assert [(r.state, r.reason) for r in either.history()] == [("failed", "program `sleep` is not declared")]


def orphans(appliance: Appliance) -> list[str]:
    return [line for line in appliance.logged().splitlines() if "no longer declared" in line]


def test_a_reload_lists_the_stored_jobs_whose_program_it_removes(either: Appliance) -> None:
    for line in (
        "sched in 60 run sleep 5",
        "sched in 60 pid",
        "sched every 60 json sched in 5 run sleep 6",
        "sched in 60 run hello",
        "sched in 60 json run sleep 7",
    ):
        either.say(line)
    either.turn(either.read(STANZAS.replace('"sleep"', '"nap"')))
    ids = ", ".join(f"example.com-{number:09d}" for number in (1, 3, 5))
    assert orphans(either) == [f"warning: program sleep is no longer declared; these jobs use it: {ids}"]
    either.turn(either.read("a = 1\n"))
    (warning,) = orphans(either)
    assert warning.endswith("program hello is no longer declared; these jobs use it: example.com-000000004")


@pytest.mark.parametrize(("jobs", "more"), [(20, False), (21, True), (500, True)])
def test_only_the_first_of_many_jobs_are_listed(either: Appliance, jobs: int, more: bool) -> None:
    either.turn(*[either.typed("sched in 60 run sleep 5") for _ in range(jobs)])
    either.turn(either.read("a = 1\n"))
    (warning,) = orphans(either)
    assert (warning.count("example.com-"), warning.endswith(" and more")) == (20, more)


def test_a_rejected_reload_lists_nothing(either: Appliance) -> None:
    either.say("sched in 60 run sleep 5")
    either.turn(either.read("bad = ( 1 2 )\n"))
    assert orphans(either) == []


def test_jobs_that_the_same_files_remove_are_not_listed(either: Appliance) -> None:
    either.turn(either.read(JOBS))
    either.turn(either.read("a = 1\n"))
    assert orphans(either) == []
    assert rows(either, "number") == []


def test_removed_programs_are_named_in_order(either: Appliance) -> None:
    """Equal files give an equal log, also in another process."""
    names = [f"p{number:02d}" for number in range(20)]
    either.turn(either.read("".join(f'program "{name}" {{ argv = ( "/bin/true" ) }}\n' for name in names)))
    either.turn(*[either.typed(f"sched in 60 run {name}") for name in names])
    either.turn(either.read("a = 1\n"))
    assert [line.split()[2] for line in orphans(either)] == names


def test_a_typed_reload_does_not_drop_overrides_set_after_it(either: Appliance) -> None:
    """The files are read on a worker. Changes that were answered meanwhile stay."""
    either.say("config set first 1")
    either.say("config set both 1")
    reload = either.typed("config reload")
    either.turn(reload)
    either.say("config set both 2")
    either.say("config set later 3")
    (reading,) = [effect for effect in either.past if isinstance(effect, ReadFiles)]
    either.turn(either.read(COMMENTED, reading.reply_to, typed=reading.typed))
    assert "dropped: first = 1" in str(either.reply_to(reload).output)
    assert [o.name for o in either.state.options.overrides.values()] == ["both", "later"]
    assert (either.say("config get both"), either.say("config get later")) == ("both = 2", "later = 3")
    assert "is not set" in (either.ask("config get first").error or "")


def test_many_requests_by_signal_are_two_readings(either: Appliance) -> None:
    """One is under way, and one will see every change up to now; a typed reload is never left out."""
    either.turn(*[ReloadRequested("SIGHUP")] * 1000)
    assert len(some(ReadFiles, either.effects)) == 2
    either.turn(ReloadRequested("SIGHUP"))
    assert some(ReadFiles, either.effects) == []
    (first, second) = [effect for effect in either.past if isinstance(effect, ReadFiles)]
    either.turn(either.read(CLEAN, first.reply_to))
    either.turn(either.read(CLEAN, second.reply_to))
    lines = some(LogMessage, either.effects)
    assert [line.once for line in lines] == [True, True], lines


def test_each_typed_reload_is_logged(either: Appliance) -> None:
    either.reload_typed(CLEAN)
    lines = some(LogMessage, either.effects)
    assert [line.once for line in lines] == [False, False], lines
