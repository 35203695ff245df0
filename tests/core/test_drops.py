"""Drops: all commands of a file or none, once per mark, with a complete result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from schedappliance.core.orders import MAX_STORED_ANSWER, stored_output
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.edge.spool.reading import read_drop
from schedappliance.edge.threads import LINES_OF_COSTLY, weight_of
from schedappliance.engine.effects import Answer, PublishResult
from schedappliance.engine.events import DropClaimed
from schedappliance.lint.linter import lint_commands
from schedappliance.model.command_file import MAX_COSTLY, MAX_LINES, MAY_BE_COSTLY, cost_of
from schedappliance.model.commands import FORMS, read_command
from tests.support.core import MINUTE, OPERATOR, SECOND, STANZAS, START_MS, Appliance, dump, some

START_S = START_MS // 1000
NOTHING = "example.com-000000777"


def result_of(published: PublishResult) -> Any:
    return json.loads(published.result)


def test_the_commands_of_a_file_are_done_in_their_order(either: Appliance) -> None:
    published = either.drop(
        "# three\n  sched in 60 run sleep 5\n\nconfig set message_expiration 300\r\njson run hello\n"
    )
    assert (published.mark, published.name, published.accepted) == ("1~a.cmd", "a.cmd", True)
    assert result_of(published) == {
        "file": "a.cmd",
        "accepted": True,
        "user": "operator",
        "results": [
            {"line": 2, "output": "example.com-000000001"},
            {"line": 4, "output": "Message_Expiration = 300"},
            {"line": 5, "data": {"run": "example.com-000000002/1"}},
        ],
        "diagnostics": [],
    }
    assert [start.key.run for start in either.started()] == [(2, 1)]
    assert "info: user=operator uid=1000 origin=spool file='a.cmd' done" in either.logged()
    assert [(job["user"], job["origin"]) for job in either.data("sched list")] == [("operator", "spool")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("sched in 60 run helo", "E301"),
        ("run sleep abc", "E302"),
        ("sched every 60 shutdown", "E303"),
        ("shutdown", "E304"),
        ("config reload", "E304"),
        ("json json config reload", "E304"),
        ("sched", "E109"),
        ("config set message_expiration", "E109"),
        ("config set sched backing_store x", "E508"),
        ("config get program hello", "E508"),
        ("config begin", "E304"),
        ("config show", "E304"),
        ("# not a comment", "E110"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_line_rejects_the_whole_drop(either: Appliance, bad: str, code: str, place: int) -> None:
    lines = ["sched in 60 pid", "config set message_expiration 1"]
    lines.insert(place, f" {bad}")
    published = either.drop("\n".join(lines) + "\n")
    result = result_of(published)
    assert (published.accepted, result["accepted"], result["results"]) == (False, False, [])
    errors = [d for d in result["diagnostics"] if d["severity"] == "error"]
    assert [(d["code"], d["line"], d["file"]) for d in errors] == [(code, place + 1, "a.cmd")]
    assert (either.store.jobs.count(), dict(either.state.options.overrides), either.started()) == (0, {}, [])
    assert "rejected: a.cmd:" in either.logged()


@pytest.mark.parametrize("text", ["nonsense\nsched list\nsched\n", "run helo\nrun sleep 5\nrun sleep abc\n"])
def test_every_bad_line_is_reported(either: Appliance, text: str) -> None:
    result = result_of(either.drop(text))
    errors = [d["line"] for d in result["diagnostics"] if d["severity"] == "error"]
    assert errors == [1, 3]


def test_mistakes_of_both_kinds_are_reported_together(either: Appliance) -> None:
    result = result_of(either.drop("nonsense\nrun helo\n"))
    assert [d["line"] for d in result["diagnostics"] if d["severity"] == "error"] == [1, 2]


def test_the_log_names_the_error_that_rejects(either: Appliance) -> None:
    either.drop("config set never_declared 1\nrun helo\n")
    assert "rejected: a.cmd:2:" in either.logged()


def test_a_warning_rejects_nothing(either: Appliance) -> None:
    published = either.drop("config set never_declared 1\n")
    assert published.accepted
    assert [d["code"] for d in result_of(published)["diagnostics"]] == ["W402"]


def test_the_number_of_reported_diagnostics_is_limited_and_errors_come_first(either: Appliance) -> None:
    published = either.drop("config set never_declared 1\n" * 600 + "run helo\n" * 3)
    result = result_of(published)
    assert [d["line"] for d in result["diagnostics"]] == [601, 602, 603, *range(1, 498)]
    assert result["more_diagnostics"] == 103
    assert either.say("spool why a.cmd").endswith("\n\tand 103 more\n")
    assert "more_diagnostics" not in result_of(either.drop("run helo\n", "b.cmd"))


@pytest.mark.parametrize("text", ["", "\n", "# only this\n"])
def test_a_file_without_a_command_is_rejected(either: Appliance, text: str) -> None:
    assert not either.drop(text).accepted


def test_a_file_that_could_not_be_read_is_rejected_with_the_reason(either: Appliance) -> None:
    mistake = Diagnostic("E108", "the file is too large", "make it smaller", Source("a.cmd", ""))
    either.turn(DropClaimed("1~a.cmd", "a.cmd", OPERATOR, START_MS, mistake.source, mistakes=(mistake,)))
    (published,) = some(PublishResult, either.effects)
    assert [d["message"] for d in result_of(published)["diagnostics"]] == ["the file is too large"]


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (f"sched delete {NOTHING}", "E501"),
        ("sched at 1 pid", "E503"),
        ("config get nothing_set", "E202"),
    ],
)
def test_a_line_that_fails_undoes_all_lines_before_it(either: Appliance, last: str, code: str) -> None:
    either.say("config set kept 1")
    either.say("sched in 60 pid")
    before = dump(either.store)
    either.turn(
        either.typed("config set also_kept 2"),
        either.dropped(f"config set kept 9\nsched delete example.com-000000001\nrun hello\nsched in 5 pid\n{last}\n"),
    )
    (published,) = some(PublishResult, either.effects)
    (mistake,) = result_of(published)["diagnostics"]
    assert (published.accepted, mistake["code"], mistake["line"], mistake["file"]) == (False, code, 5, "a.cmd")
    after = dump(either.store)
    assert [after[table] for table in ("jobs", "runs", "attempts")] == [before[t] for t in ("jobs", "runs", "attempts")]
    assert either.started() == []
    assert [either.say(f"config get {name}") for name in ("kept", "also_kept")] == ["kept = 1", "also_kept = 2"]
    assert either.say("sched in 5 pid") == "example.com-000000002"
    either.after(MINUTE)
    either.turn()
    assert sorted(either.states()) == [(1, 1, "succeeded"), (2, 1, "succeeded")]


def test_a_rejected_deletion_does_not_delay_a_job_that_is_due(either: Appliance) -> None:
    either.say("sched in 5 pid")
    either.after(5 * SECOND, either.dropped(f"sched delete example.com-000000001\nsched delete {NOTHING}\n"))
    either.turn()
    assert either.states() == [(1, 1, "succeeded")]


def test_a_second_mark_is_answered_again_and_not_repeated(appliance: Appliance) -> None:
    first = appliance.drop("sched in 60 pid\n")
    again = appliance.drop("sched in 60 pid\nsched in 60 version\n")
    appliance.restart()
    after_restart = appliance.drop("sched in 60 pid\n")
    assert first == again == after_restart
    assert appliance.store.jobs.count() == 1
    other = appliance.drop("sched in 60 pid\n", mark="2~a.cmd")
    assert result_of(other)["results"][0]["output"] == "example.com-000000002"


def test_a_mark_twice_in_one_turn_is_done_once(either: Appliance) -> None:
    either.turn(either.dropped("run hello\n"), either.dropped("run hello\n"))
    first, second = some(PublishResult, either.effects)
    assert (first, either.states()) == (second, [(1, 1, "started")])


def test_a_rejected_file_stays_rejected_under_its_mark(appliance: Appliance) -> None:
    first = appliance.drop("run later\n")
    appliance.turn(appliance.read(STANZAS + 'program "later" { argv = ( "/bin/echo" ) }\n'))
    assert appliance.drop("run later\n") == first
    assert appliance.drop("run later\n", mark="2~a.cmd").accepted


def test_a_time_is_measured_against_the_arrival_of_the_file(either: Appliance) -> None:
    text = f"sched at {START_S + 5} pid\n"
    either.clock.advance(3_600_000)
    assert not either.drop(text, "1~a.cmd").accepted
    assert either.drop(text, "2~a.cmd", arrived_ms=START_MS + MINUTE).accepted
    assert either.states() == [(1, 1, "succeeded")]


def test_a_long_answer_as_data_does_not_end_the_appliance(either: Appliance) -> None:
    either.turn(*[either.typed("sched in 60 run sleep 5") for _ in range(600)])
    published = either.drop("json sched list\n")
    assert published.accepted


def test_a_long_answer_as_text_is_cut(either: Appliance) -> None:
    either.turn(*[either.typed("sched in 60 run sleep 5") for _ in range(1500)])
    (result,) = result_of(either.drop("sched list\n"))["results"]
    assert result["output"].startswith("JOB ID")
    assert 1000 <= result["output"].count("\n") <= 1001


@pytest.mark.slow
def test_every_command_of_the_longest_drop_is_answered(appliance: Appliance) -> None:
    """The answers to commands that schedule are not counted, however many there are."""
    line = f"sched at {START_S + 900} config set night_shift_of_the_week {'x' * 5}\n"
    assert len(line) > 60
    result = result_of(appliance.drop(line * MAX_LINES))
    assert result["accepted"], result["diagnostics"]
    assert result["results"][-1] == {"line": MAX_LINES, "output": f"example.com-{MAX_LINES:09d}"}
    assert line.strip() not in json.dumps(result["results"][-1])


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "json "])
@pytest.mark.parametrize("value", ["'" + "\\" * 60_000 + "'", "x" * 60_000])
def test_a_drop_that_sets_long_values_is_answered(either: Appliance, prefix: str, value: str) -> None:
    """A megabyte is the default of `spool.max_bytes`."""
    assert result_of(either.drop(f"{prefix}config set a {value}\n" * 17))["accepted"]


COSTLY = (
    "config set sched zone UTC",
    "json config unset program hello",
    "config set job tick every 60",
    "sched pause --all",
    "sched resume *",
    "sched list",
    "json sched show 1",
    "sched why tick",
    "sched next tick",
    "sched next tick 1000",
    "sched history",
    "sched incidents",
)


@pytest.mark.parametrize("line", COSTLY)
def test_commands_whose_work_grows_with_the_jobs_are_limited(line: str) -> None:
    """20,000 of them with 1,000 declared jobs, or as many runs, took minutes, in one turn."""
    command = read_command(line).command
    assert command is not None
    text = (
        f"{line}\n" * (MAX_COSTLY // cost_of(command))
        + "config set a 1\nsched pause tick\nsched in 5 sched pause --all\n" * 2
    )
    assert read_drop("a.cmd", text.encode()).mistakes == ()
    (mistake,) = read_drop("a.cmd", f"{text}{line}\n".encode()).mistakes
    what = "too many commands that list or explain, set an option of a stanza, or pause or resume many jobs"
    cost = (MAX_COSTLY // cost_of(command) + 1) * cost_of(command)
    assert (mistake.code, mistake.message) == ("E108", f"the file holds {what}: they count as {cost}")
    assert [*lint_commands(mistake.source, None)] == [mistake]


@pytest.mark.parametrize(
    ("line", "cost"),
    [
        ("sched in 5 sched list", 0),
        ("sched pause tick", 0),
        ("config get a", 0),
        ("config set a 1", 0),
        ("config set sched zone UTC", 1),
        ("json sched why tick", 1),
        ("sched next tick", 1),
        ("sched next tick 100", 5),
        ("sched next tick 99999999999999999999", 400),
        ("sched next tick 0000000100", 5),
        ("sched next tick 0", 1),
        ("config show", 1),
        ("json config showrecurse", 16),
        ("sched pause tick*", 8),
    ],
)
def test_commands_cost_by_their_work(line: str, cost: int) -> None:
    command = read_command(line).command
    assert command is not None and cost_of(command) == cost


CHEAP = {
    *("sched_at", "sched_in", "sched_every", "sched_cron", "sched_calendar", "sched_delete", "sched_run", "sched_stop"),
    *("sched_hold", "sched_release", "sched_ack", "run", "run_wait", "config_get", "config_eval", "config_begin"),
    *("config_commit", "config_rollback", "config_reload", "authz_id", "authz_roles_list", "authz_may", "spool_retry"),
    *("help", "version", "pid", "health", "summary_reset", "watch", "shutdown", "quit", "json", "sched_wait"),
    # They are answered by parts, or by another process.
    *("sched_output", "preview"),
}


def test_each_form_is_cheap_or_may_be_costly() -> None:
    assert {*FORMS} - MAY_BE_COSTLY == CHEAP


def test_a_drop_of_costly_commands_weighs_more_than_its_lines() -> None:
    """Otherwise hundreds of small drops would share a turn."""
    plain, costly = (
        DropClaimed(name, name, OPERATOR, 0, *read_drop(name, text.encode()))
        for name, text in (("a.cmd", "sched in 5 pid\n" * 100), ("b.cmd", "sched why tick\n" * 100))
    )
    assert (weight_of(plain), weight_of(costly)) == (101, 101 + 100 * LINES_OF_COSTLY)


def test_long_answers_are_limited_together(either: Appliance) -> None:
    either.turn(*[either.typed("sched in 60 run sleep 5") for _ in range(600)])
    published = either.drop("config set a 1\n" + "json sched list\n" * 20)
    (mistake,) = result_of(published)["diagnostics"]
    assert (mistake["code"], mistake["message"]) == ("E108", "the answers are too large")
    assert 3 <= mistake["line"] <= 20
    assert either.error("config get a")


def test_an_appliance_that_stops_takes_no_drops(appliance: Appliance) -> None:
    appliance.say("run sleep 5")
    appliance.turn(appliance.typed("shutdown"), appliance.dropped("sched in 60 pid\n"))
    assert some(PublishResult, appliance.effects) == []
    appliance.restart()
    assert appliance.drop("sched in 60 pid\n").accepted


def test_rejected_drops_do_not_count_all_jobs_and_runs_again(
    either: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a dropper could delay an appliance that has a million jobs."""
    either.turn(either.read(f"sched {{ max_jobs = 3 }}\n{STANZAS}"))
    either.say("sched every 60 run hello")
    asked: list[str] = []
    row = either.database.row

    def recorded(sql: str, parameters: Sequence[Any] = ()) -> Any:
        asked.append(sql)
        return row(sql, parameters)

    monkeypatch.setattr(either.database, "row", recorded)
    wrong = "sched in 60 run hello\nrun hello\nsched delete example.com-000000099\n"
    either.turn(*[either.dropped(wrong, f"{n}~a.cmd") for n in range(5)])
    assert [drop.accepted for drop in some(PublishResult, either.effects)] == [False] * 5
    assert asked and not [sql for sql in asked if "count(*) FROM jobs" in sql or "count(*) FROM runs" in sql]
    assert (either.state.pruning.stored_runs, either.history()) == (0, [])
    assert either.drop("sched in 60 run hello\nsched in 60 run hello\n", "6~a.cmd").accepted
    assert not either.drop("sched in 60 run hello\n", "7~a.cmd").accepted, "three jobs are the maximum"
    assert (either.store.jobs.total(), either.store.jobs.count()) == (3, 3)


def test_few_remedies_of_a_drop_name_the_nearest_program(either: Appliance) -> None:
    """The deciding thread looks for it."""
    diagnostics = result_of(either.drop("run helo\n" * 50))["diagnostics"]
    assert [row["message"] for row in diagnostics] == ["program `helo` is not declared"] * len(diagnostics)
    assert [row["help"].startswith("did you mean `hello`?") for row in diagnostics[:4]] == [True, True, False, False]
    assert diagnostics[-1]["help"].startswith("declared programs: ")


def test_no_more_pieces_of_an_answer_are_made_than_are_stored() -> None:
    pieces = iter(["a" * 40_000] * 3)
    assert stored_output(Answer(pieces)) == "a" * MAX_STORED_ANSWER
    assert len([*pieces]) == 1
    assert stored_output(Answer(iter(["a\n", "b"]))) == "a\nb"


def test_jobs_that_a_drop_runs_count_as_its_own_commands(either: Appliance) -> None:
    """20,000 lines `sched run JOB` would have read for a minute, in one turn."""
    job = either.say("sched every 1d sched list").strip()
    few, many = (either.drop(f"sched run {job}\n" * number, f"{number}~a.cmd") for number in (50, 150))
    assert few.accepted
    (mistake,) = result_of(many)["diagnostics"]
    assert (mistake["code"], mistake["line"]) == ("E108", 101)
    assert mistake["message"] == "the jobs that the file runs list or explain too much"
    assert len(either.history()) == 50
