"""`metrics`: what is counted and measured, before and after a restart."""

from __future__ import annotations

import json
from typing import Any

from schedappliance.engine.events import AuditDue
from schedappliance.engine.records import AttemptKey
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, agrees_with_its_store, ended

NIGHTLY = STANZAS + 'job "nightly" { every = 60 command = "run hello" }\n'


def values(data: dict[str, Any], name: str) -> dict[tuple[str, ...], Any]:
    """The samples of a family by their labels."""
    family = next(family for family in data["families"] if family["name"] == name)
    return {tuple(labels): rest[0] if len(rest) == 1 else rest for labels, *rest in family["samples"]}


def job(data: dict[str, Any], name: str = "nightly") -> dict[str, Any]:
    """What the answer says about a job, in one."""
    place = data["jobs"]["name"].index(name)
    shown = {column: values[place] for column, values in data["jobs"].items()}
    ends = [dict(zip(data["end_columns"], row, strict=True)) for row in data["job_ends"]]
    shown |= next(row for row in ends if row["number"] == shown["number"])
    return shown | {"paused": shown["number"] in data["paused"]}


def test_commands_drops_and_reloads_are_counted_by_outcome(either: Appliance) -> None:
    for line in ("pid", "JSON pid", "sched show 99", "no command"):
        either.ask(line)
    either.drop("sched in 60 pid\n")
    either.drop("sched in 60\n", "2~b.cmd")
    either.turn(either.read(NIGHTLY))
    either.turn(either.read("sched {"))
    data = either.data("metrics")
    assert values(data, "commands_total") == {("pid", "ok"): 2, ("sched show", "rejected"): 1, ("", "rejected"): 1}
    assert values(data, "drops_total") == {("accepted",): 1, ("rejected",): 1}
    assert values(data, "reloads_total") == {("accepted",): 1, ("rejected",): 1}
    assert values(data, "configuration_last_reload_successful") == {(): 0}


def test_each_kind_of_trouble_is_a_reason(appliance: Appliance) -> None:
    appliance.turn(appliance.read(NIGHTLY))
    appliance.after(62 * SECOND)
    appliance.restart(unseen=[AttemptKey(appliance.history()[-1].key, 1)], stanzas=NIGHTLY)
    appliance.turn(AuditDue("no log"))
    reasons = values(appliance.data("metrics"), "degraded")
    assert {reason for (reason,), is_so in reasons.items() if is_so} == {"log", "programs"}
    assert len(appliance.state.status.trouble_list) == 2


def test_runs_and_attempts_are_counted_and_measured(either: Appliance) -> None:
    either.turn(either.read(NIGHTLY))
    either.after(62 * SECOND)
    first = either.history()[-1].key
    assert either.data("metrics")["running"] == [[first.job, 1]]
    either.after(3 * SECOND, ended(first))
    either.say("run hello")
    either.turn(ended(either.history()[-1].key, 3))
    either.say("run hello")
    either.turn(ended(either.history()[-1].key, signal=9))
    either.say("run unset")
    data = either.data("metrics")
    assert values(data, "runs_total") == {("succeeded", "stanza"): 1, ("failed", "console"): 3}
    assert values(data, "attempts_total") == {
        ("hello", "succeeded"): 1,
        ("hello", "failed"): 1,
        ("hello", "signal"): 1,
    }
    counts, total = values(data, "run_duration_seconds")["hello",]
    assert (sum(counts), total) == (3, 3.0)
    counts, total = values(data, "run_lateness_seconds")[()]
    assert (sum(counts), total) == (4, 22.0)
    assert values(data, "runs") == {("queued",): 0, ("started",): 0}
    assert values(data, "jobs") == {("waiting",): 1, ("paused",): 0, ("off",): 0, ("done",): 0}


def test_a_declared_job_shows_its_ends_also_after_a_restart(appliance: Appliance) -> None:
    appliance.restart(stanzas=NIGHTLY)
    before = job(appliance.data("metrics"))
    assert (before["failures"], before["last_end_ms"], before["runs"]) == (0, None, {})
    for status in (0, 3, 3):
        appliance.after(60 * SECOND)
        appliance.after(2 * SECOND, ended(appliance.history()[-1].key, status))
    shown = job(appliance.data("metrics"))
    assert shown["runs"] == {"succeeded": 1, "failed": 2}
    assert (shown["failures"], shown["last_duration_ms"], shown["paused"]) == (2, 2000, False)
    assert (shown["last_success_ms"], shown["last_end_ms"]) == (START_MS + 62 * SECOND, appliance.clock.moment().wall)
    assert (shown["interval_ms"], shown["next_run_ms"]) == (60 * SECOND, START_MS + 220 * SECOND)
    appliance.restart(stanzas=NIGHTLY)
    again = job(appliance.data("metrics"))
    assert again == shown


def test_the_rows_of_jobs_follow_pauses_and_reloads(either: Appliance) -> None:
    two = NIGHTLY + 'job "hourly" { every = 1h command = "run hello" }\n'
    either.turn(either.read(two))
    either.data("metrics")
    either.say("sched pause nightly")
    either.turn(either.read(two.replace("= 60 ", "= 120 ") + 'job "at night" { every = 2h command = "run hello" }\n'))
    data = either.data("metrics")
    shown = {name: job(data, name) for name in ("nightly", "hourly", "at night")}
    assert {name: row["interval_ms"] // MINUTE for name, row in shown.items()} == {
        "nightly": 2,
        "hourly": 60,
        "at night": 120,
    }
    assert [name for name, row in shown.items() if row["paused"]] == ["nightly"]
    stored = {row.declared: row for row in either.store.jobs.declared()}
    for name, row in shown.items():
        assert (row["number"], row["next_run_ms"]) == (stored[name].number, stored[name].next_run_ms)


def test_jobs_that_are_switched_off_are_named(either: Appliance) -> None:
    either.turn(either.read(NIGHTLY + 'job "hourly" { every = 1h command = "run hello" }\n'))
    assert either.data("metrics")["off"] == []
    either.say("config set job hourly enabled no")
    data = either.data("metrics")
    assert data["off"] == [job(data, "hourly")["number"]]
    agrees_with_its_store(either)
    either.say("config unset job hourly enabled")
    assert either.data("metrics")["off"] == []


def test_the_rows_of_jobs_follow_overrides(either: Appliance) -> None:
    either.turn(either.read(NIGHTLY))
    assert job(either.data("metrics"))["interval_ms"] == MINUTE
    either.say("config set job nightly every 3m")
    assert job(either.data("metrics"))["interval_ms"] == 3 * MINUTE
    either.say("config unset job nightly every")
    assert job(either.data("metrics"))["interval_ms"] == MINUTE


def test_a_reload_that_is_undone_leaves_nothing_in_what_metrics_keep(either: Appliance) -> None:
    either.turn(either.read(NIGHTLY))
    either.data("metrics")
    either.database.failing_commits = 1
    either.turn(either.read(NIGHTLY.replace("nightly", "hourly")), either.typed("json metrics"))
    ((_, names, *_),) = either.state.metrics.columns.values()
    assert json.loads(names) == ["nightly"]
    either.after(2 * SECOND)
    assert either.data("metrics")["jobs"]["name"] == ["hourly"]
    agrees_with_its_store(either)


def test_a_job_that_is_removed_is_forgotten(either: Appliance) -> None:
    either.turn(either.read(NIGHTLY))
    either.data("metrics")
    either.turn(either.read(STANZAS))
    data = either.data("metrics")
    assert (set(map(len, data["jobs"].values())), data["job_ends"], data["paused"]) == ({0}, [], [])
    assert not either.state.metrics.jobs


def test_a_turn_that_is_undone_counts_nothing(either: Appliance) -> None:
    either.turn(either.read(NIGHTLY))
    either.data("metrics")
    either.after(60 * SECOND)
    key = either.history()[-1].key
    either.database.failing_commits = 1
    either.turn(ended(key, 3))
    either.after(2 * SECOND)
    data = either.data("metrics")
    assert values(data, "runs_total") == {("failed", "stanza"): 1}
    assert job(data)["failures"] == 1


def test_missed_due_times_are_counted(appliance: Appliance) -> None:
    appliance.restart(stanzas=NIGHTLY)
    appliance.restart(600 * SECOND, NIGHTLY)
    appliance.after(SECOND)
    data = appliance.data("metrics")
    assert values(data, "due_times_missed_total") == {(): 9}
    assert values(data, "runs_total") == {("missed", "stanza"): 1}


def test_the_text_shows_the_same_values_in_short(either: Appliance) -> None:
    either.say("run hello")
    either.turn(ended(either.history()[-1].key))
    lines = either.say("metrics").splitlines()
    assert "attempts_total program=hello result=succeeded: 1" in lines
    assert "run_duration_seconds program=hello: 1 measured, mean 0" in lines
    assert "runs state=started: 0" in lines


def test_too_many_declared_jobs_have_no_rows(either: Appliance) -> None:
    jobs = "".join(f'job "j{number}" {{ every = 60 command = "pid" }}\n' for number in range(1001))
    either.turn(either.read(STANZAS + jobs))
    data = either.data("metrics")
    assert (data["jobs"], data["job_ends"], data["paused"], data["off"]) == (None, None, None, None)
    assert values(data, "jobs")["waiting",] == 1001


def counters(data: dict[str, Any]) -> dict[str, dict[tuple[str, ...], Any]]:
    names = [family["name"] for family in data["families"] if family["type"] == "counter"]
    return {name: values(data, name) for name in names if not name.startswith("process_")}


def test_counters_survive_a_restart_and_go_on(appliance: Appliance) -> None:
    appliance.restart(stanzas=NIGHTLY)
    appliance.say("run hello")
    appliance.turn(ended(appliance.history()[-1].key))
    appliance.drop("sched in 60 pid\n")
    appliance.turn(appliance.read("sched {"))
    before = counters(appliance.data("metrics"))
    assert before["runs_total"] == {("succeeded", "console"): 1}
    assert before["attempts_total"] == {("hello", "succeeded"): 1}
    assert (before["drops_total"], before["reloads_total"]) == ({("accepted",): 1}, {("rejected",): 1})
    appliance.restart(after_ms=5 * SECOND, stanzas=NIGHTLY)
    after = counters(appliance.data("metrics"))
    assert after.pop("commands_total") == {}, "no row is written for a command that writes none"
    del before["commands_total"]
    assert after == before
    appliance.say("run hello")
    appliance.turn(ended(appliance.history()[-1].key, 3))
    assert values(appliance.data("metrics"), "runs_total") == {("succeeded", "console"): 1, ("failed", "console"): 1}


def test_histograms_begin_again_with_the_daemon_and_its_start_is_told(appliance: Appliance) -> None:
    appliance.say("run hello")
    appliance.turn(ended(appliance.history()[-1].key))
    assert values(appliance.data("metrics"), "start_time_seconds") == {(): START_MS / SECOND}
    appliance.restart(after_ms=5 * SECOND)
    after = appliance.data("metrics")
    assert all(family["samples"] == [] for family in after["families"] if family["type"] == "histogram")
    assert values(after, "start_time_seconds") == {(): START_MS / SECOND + 5}
    assert after["started_ms"] == START_MS + 5 * SECOND


def test_counters_of_what_is_not_declared_any_more_are_forgotten_at_the_next_start(appliance: Appliance) -> None:
    appliance.restart(stanzas=NIGHTLY)
    appliance.after(60 * SECOND)
    appliance.turn(ended(appliance.history()[-1].key))
    assert appliance.database.rows("SELECT state, number FROM ended_runs") == [("succeeded", 1)]
    appliance.turn(appliance.read('program "other" { argv = ( "/bin/true" ) }\n'))
    assert appliance.database.rows("SELECT * FROM ended_runs") == []
    assert values(appliance.data("metrics"), "attempts_total") == {("hello", "succeeded"): 1}
    appliance.restart(stanzas='program "other" { argv = ( "/bin/true" ) }\n')
    data = appliance.data("metrics")
    assert (values(data, "attempts_total"), values(data, "runs_total")) == ({}, {("succeeded", "stanza"): 1})


def test_the_rows_of_counters_are_what_is_shown(appliance: Appliance) -> None:
    """Also after a turn whose commit failed, and one that was tried again."""
    appliance.restart(stanzas=NIGHTLY)
    appliance.data("metrics")
    for failing in (0, 1, 2):
        appliance.after(60 * SECOND)
        key = appliance.history()[-1].key
        appliance.database.failing_commits = failing
        appliance.turn(ended(key, failing))
        appliance.after(5 * SECOND)
    assert appliance.state.metrics.counters == appliance.state.store.counters.all() | {
        key: number for key, number in appliance.state.metrics.counters.items() if key[0] == "commands_total"
    }
    assert job(appliance.data("metrics"))["runs"] == {"succeeded": 1, "failed": 2}
    assert sorted(appliance.database.rows("SELECT state, number FROM ended_runs")) == [("failed", 2), ("succeeded", 1)]


def test_the_ends_of_each_job_are_read_together(appliance: Appliance) -> None:
    jobs = "".join(f'job "job{number}" {{ every = 60 command = "run hello" }}\n' for number in range(1, 4))
    appliance.restart(stanzas=STANZAS + jobs)
    assert [row[1:5] for row in appliance.data("metrics")["job_ends"]] == [[0, None, None, None]] * 3
    for statuses in ((0, 3), (3, 0), (3, 3)):
        appliance.after(60 * SECOND)
        keys = [start.key.run for start in appliance.started()]
        appliance.after(2 * SECOND, *(ended(key, status) for key, status in zip(keys[:2], statuses, strict=True)))
        appliance.turn(*(ended(key) for key in keys[2:]))
    live = appliance.data("metrics")
    appliance.restart(stanzas=STANZAS + jobs)
    read = appliance.data("metrics")
    columns = slice(0, 5)
    assert [row[columns] for row in sorted(read["job_ends"])] == [row[columns] for row in sorted(live["job_ends"])]
    assert [row[1] for row in sorted(read["job_ends"])] == [2, 1, 0]


def test_the_jobs_of_all_states_are_those_that_max_jobs_limits(either: Appliance) -> None:
    many = "sched { max_jobs = 6 }\n" + NIGHTLY
    many += 'job "off" { every = 60 command = "run hello" enabled = no }\n'
    many += 'job "done" { at = "2020-01-01T00:00:00Z" command = "run hello" }\n'
    either.turn(either.read(many))
    for line in ("sched in 900 version", "sched pause nightly"):
        either.say(line)
    data = either.data("metrics")
    assert values(data, "jobs") == {("waiting",): 1, ("paused",): 1, ("off",): 1, ("done",): 1}
    assert values(data, "jobs_limit") == {(): 6}
    either.say("sched in 900 version")
    either.say("sched in 900 version")
    assert "there are already 6 jobs" in str(either.ask("sched in 900 version").error)
    assert sum(values(either.data("metrics"), "jobs").values()) == 6
