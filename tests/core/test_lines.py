"""The answers of each command at the console, as text and as data, and what is rejected."""

from __future__ import annotations

import json

import pytest

from schedappliance.client import questions
from schedappliance.commands import PERFORM
from schedappliance.core.orders import COSTLY_BYTES, MOST_SPENT
from schedappliance.engine.effects import PutOff, ReadFiles, Reply
from schedappliance.engine.events import ConnectionClosed, Event
from schedappliance.engine.records import User
from schedappliance.model.commands import FORMS
from tests.support.core import MINUTE, OPERATOR, SECOND, START_MS, Appliance, some, spoken

HEADER = "JOB ID        \t    NEXT RUN TIME\tREC\tCOMMAND\n"
HISTORY = "RUN ID        \tDUE TIME\tSTATE\tSTATUS\tCOMMAND\tREASON\n"
START_S = START_MS // 1000


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("sched at 1800000000 pid", "example.com-000000001"),
        ("sched at 2033-05-18T03:33:20Z pid", "example.com-000000001"),
        ("sched in 1.5 pid", "example.com-000000001"),
        ("SCHED  Every\t60 sched in 5 run hello", "example.com-000000001"),
        ("sched list", HEADER),
        ("sched history", HISTORY),
        ("run hello", "example.com-000000001/1"),
        ("config get message_EXPIRATION", "Message_Expiration = 86400"),
        ("config set message_expiration = 300", "Message_Expiration = 300"),
        ("config set new 'a b'", 'new = "a b"'),
        ("config set new ''", 'new = ""'),
        ("config set sched x", "sched = x"),
        ("version", "# schedappliance version: 1.2.3"),
        ("pid", "4711"),
        ("help sched in", f"sched in SECONDS COMMAND\n\t{FORMS['sched_in'].help}\n"),
        ("summary reset", "statistics cleared."),
        ("shutdown", ""),
        ("quit", ""),
        (" \tpid \t", "4711"),
    ],
)
def test_each_command_answers_with_text(either: Appliance, line: str, answer: str) -> None:
    assert either.say(line) == answer


@pytest.mark.parametrize(
    ("line", "data"),
    [
        ("sched in 60 pid", {"id": "example.com-000000001", "next_run_ms": START_MS + MINUTE}),
        ("sched list", []),
        ("sched history", []),
        ("run hello", {"run": "example.com-000000001/1"}),
        ("config get message_expiration", {"option": "Message_Expiration", "value": "86400"}),
        ("config set a b", {"option": "a", "value": "b"}),
        ("pid", {"pid": 4711}),
        ("json version", {"version": "1.2.3"}),
        ("shutdown", {"shutdown": True}),
        ("summary reset", {"reset": True}),
        ("help pid", [{"usage": "pid", "help": FORMS["pid"].help}]),
    ],
)
def test_each_command_answers_with_data_after_json(either: Appliance, line: str, data: object) -> None:
    assert either.data(line) == data


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("run nix", "nix"),
        ("json run nix", "nix"),
        ("json sched in 5 run nix", "nix"),
        ("sched every 60 sched in 5 run nix", "nix"),
        ("json sched lst", "lst"),
        ("authz may sched in 5 foo bar", "foo"),
        ("JSON  authz  may  sched lst", "lst"),
    ],
)
def test_the_place_of_a_mistake_is_that_in_the_line(either: Appliance, line: str, place: str) -> None:
    (mistake,) = either.ask(line).diagnostics
    assert (mistake.source.name, mistake.source.text) == (questions.COMMAND, line)
    assert mistake.span is not None and line[mistake.span.start : mistake.span.end] == place


def test_the_list_matches_momentum_s_tab_for_tab(either: Appliance) -> None:
    either.say("sched every 60  run  sleep\t'5'  ")
    either.say("sched in 5 pid")
    either.say("sched at 1800000000 sched in 5 run hello")
    either.say("sched in 5 version")
    assert either.say("sched list") == (
        HEADER
        + f"example.com-000000002\t{START_S + 5}\t  \tpid\n"
        + f"example.com-000000004\t{START_S + 5}\t  \tversion\n"
        + f"example.com-000000001\t{START_S + 60}\t y\trun  sleep\t'5'\n"
        + "example.com-000000003\t1800000000\t  \tsched in 5 run hello\n"
    )


def test_the_list_as_data_has_every_field_of_a_job(either: Appliance) -> None:
    either.say("sched every 60 config set a 'ü'")
    either.ask("sched in 5 pid", User(0, "root"))
    first, second = either.data("sched list")
    assert first == {
        "id": "example.com-000000002",
        "next_run_ms": START_MS + 5 * SECOND,
        "recurrent": False,
        "interval_ms": None,
        "calendar": None,
        "zone": None,
        "command": "pid",
        "user": "root",
        "origin": "console",
        "name": None,
        "paused": False,
    }
    assert (second["recurrent"], second["interval_ms"], second["command"]) == (True, MINUTE, "config set a 'ü'")


def test_a_long_list_is_streamed_completely(either: Appliance) -> None:
    for _ in range(3):
        either.turn(*[either.typed(f"sched in {n} pid") for n in range(1, 401)])
    answer = either.ask("sched list")
    assert not isinstance(answer.output, str)
    lines = spoken(answer).splitlines()
    assert len(lines) == 1 + 1200
    assert lines[1:] == sorted(lines[1:], key=lambda line: (line.split("\t")[1], line.split("\t")[0]))
    assert len(either.data("sched list")) == 1200


def test_a_list_that_is_being_sent_does_not_see_later_turns(appliance: Appliance) -> None:
    appliance.turn(*[appliance.typed("sched in 5 pid") for _ in range(1000)])
    pieces = appliance.ask("sched list").output
    assert not isinstance(pieces, str)
    assert [next(pieces), next(pieces)] == [HEADER, f"example.com-000000001\t{START_S + 5}\t  \tpid\n"]
    appliance.turn(*[appliance.typed(f"sched delete example.com-{n:09d}") for n in range(900, 1001)])
    assert len(list(pieces)) == 999


def test_a_deleted_job_is_removed_everywhere(either: Appliance) -> None:
    either.say("sched in 5 config set a 1")
    assert either.say("sched delete example.com-000000001") == ""
    assert either.say("sched list") == HEADER
    either.after(MINUTE)
    assert either.history() == []
    assert (
        either.error("sched delete example.com-000000001") == "there is no job example.com-000000001; there are no jobs"
    )


def test_the_error_for_an_unknown_id_names_the_nearest(either: Appliance) -> None:
    for _ in range(5):
        either.say("sched in 5 pid")
    near = ", ".join(f"example.com-{n:09d}" for n in (3, 4, 5))
    assert (
        either.error("sched delete example.com-000000077")
        == f"there is no job example.com-000000077; the nearest ids are {near}"
    )
    assert "no job has the id or name" in either.error("sched delete example.org-000000001")
    assert "no job has the id or name" in either.error("sched history 1")
    assert "there is no job" in either.error("sched history example.com-000000077")


def test_a_declared_job_cannot_be_deleted_and_the_error_names_its_place(appliance: Appliance) -> None:
    appliance.restart(stanzas='\njob "purge" { every = 60 command = pid }\n')
    error = appliance.error("sched delete example.com-000000001")
    assert error.startswith('job example.com-000000001 is declared as job "purge" in /etc/schedappliance/sched.conf:3;')
    assert "example.com-000000001" in appliance.say("sched list")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            f"sched at {START_S - 61} pid",
            "1699999939 (2023-11-14T22:12:19+00:00) has passed: it is 1700000000 (2023-11-14T22:13:20+00:00)",
        ),
        ("sched in 0 pid", "duration `0` is zero"),
        ("sched every 0.5 pid", "`0.5` is shorter than one second"),
        ("sched every 60 sched every 60 pid", "`sched every` is not allowed inside `sched every`"),
        ('sched cron "TZ=UTC * * * * *" sched every 5 pid', "`sched every` is not allowed inside `sched cron`"),
        ("sched at now + 5 pid", "`now + 5` has no unit"),
        ("sched at now + 5 sched every 5 pid", "`now + 5` has no unit"),
        ('sched at "now + 5" pid', "`now + 5` has no unit"),
        ("sched at 08:00 monday pid", "invalid time `08:00 monday`; write a time of day (`08:00`, `0800`"),
        ("sched at next monday pid", "invalid time `next monday`; write a time of day (`08:00`, `0800`"),
        ("sched at yesterday 08:00 pid", "invalid time `yesterday 08:00`; write a time of day (`08:00`"),
        ("sched at teatime pid", "invalid time `teatime`; write a time of day (`08:00`"),
        ("sched at noon + 2 days pid", "invalid time `noon + 2 days`; write a time of day (`08:00`"),
        ("sched at 8am next week pid", "invalid time `8am next week`; write a time of day (`08:00`"),
        ("sched at 2500 pid", "invalid time of day in `2500`; write 00:00 to 23:59"),
        ("sched at noon rnu hello", "unknown command `rnu`"),
        ("sched at tomorrow 08:00 rnu hello", "unknown command `rnu`"),
        ("sched at now rnu hello", "unknown command `rnu`"),
        ("sched every 60 shutdown", "`shutdown` cannot be recurrent"),
        ("sched in 5 quit", "`quit` cannot be scheduled"),
        ("sched in 5 run helo", "program `helo` is not declared; did you mean `hello`?"),
        ("run helo", "program `helo` is not declared"),
        ("json run helo", "program `helo` is not declared"),
        ("run sleep", "program `sleep` takes exactly 1 argument, not 0"),
        ("sched in 5 sched in 5 run sleep abc", "argument 1 `abc` of program `sleep` does not match `[0-9]+`"),
        ("config set sched backing_store x", "`backing_store` of `sched` can be set only in the stanza files"),
        ("json config set program hello argv x", '`argv` of `program "hello"` can be set only in the stanza files'),
        ("config get program hello", 'missing option of `program "hello"`'),
        ("config set 1a b", "invalid option name `1a`"),
        ("config set a", "missing value for `a`"),
        ("help sched in the", "no command begins with `sched in the`"),
        ("", ""),
        ("pid pid", ""),
        ("nonsense", ""),
    ],
)
def test_a_rejected_line_changes_nothing(either: Appliance, line: str, message: str) -> None:
    assert message in either.error(line)
    assert either.say("sched list") == HEADER
    assert (either.history(), either.store.settings.overrides(), either.started()) == ([], [], [])


def test_a_time_just_past_is_accepted(either: Appliance) -> None:
    assert either.say(f"sched at {START_S - 60} pid") == "example.com-000000001"
    assert either.states() == [(1, 1, "succeeded")]


def test_the_error_for_an_unset_option_is_momentum_s(either: Appliance) -> None:
    answer = either.ask("config get nothing")
    assert (answer.error, answer.verbatim) == ("Option 'nothing' is not set in scope ''.", True)


def test_the_answer_to_a_reload_waits_for_the_files(either: Appliance) -> None:
    event = either.typed("config reload")
    effects = either.turn(event)
    assert effects == [ReadFiles(1, typed=True)]


def test_run_starts_its_program_in_the_same_turn(either: Appliance) -> None:
    assert either.say("run sleep 5") == "example.com-000000001/1"
    assert [start.argv for start in either.started()] == [("/bin/sleep", "5")]
    assert either.say("sched list") == HEADER


def test_the_history_shows_states_statuses_and_reasons(either: Appliance) -> None:
    either.say("sched in 1 config get nothing")
    either.say("sched in 2 config set a 1")
    either.after(SECOND)
    either.after(SECOND)
    lines = either.say("sched history").splitlines()
    assert lines[1:] == [
        f"example.com-000000002/1\t{START_S + 2}\tsucceeded\t\tconfig set a 1",
        f"example.com-000000001/1\t{START_S + 1}\tfailed\t\tconfig get nothing\tOption 'nothing' is not set in scope ''.",
    ]
    assert either.say("sched history example.com-000000002").splitlines()[1:] == lines[1:2]
    (run,) = either.data("sched history example.com-000000002")
    assert (run["run"], run["state"], run["claimed_ms"]) == ("example.com-000000002/1", "succeeded", START_MS + 2000)


def test_the_summary_counts(either: Appliance) -> None:
    either.say("sched in 1 pid")
    either.say("sched in 60 pid")
    either.say("run hello")
    either.after(90 * SECOND)
    summary = either.data("summary")
    assert (summary["jobs"], summary["programs_running"], summary["runs_queued"]) == (0, 1, 0)
    assert (summary["runs_succeeded"], summary["commands"], summary["uptime_s"]) == (2, 4, 90)
    either.say("summary reset")
    assert "runs_succeeded" not in either.data("summary")


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("sched in 5 pid", "ok"),
        ("json config set a 1", "ok"),
        ("run helo", "rejected: program `helo` is not declared"),
        ("nonsense", "rejected: unknown command `nonsense`"),
        ("sched in x run hello", "rejected: "),
        (
            "config set program hello argv x",
            'rejected: `argv` of `program "hello"` can be set only in the stanza files',
        ),
    ],
)
def test_every_change_is_logged_with_user_origin_line_and_outcome(either: Appliance, line: str, outcome: str) -> None:
    either.ask(line)
    assert f"info: user=operator uid=1000 origin=console command='{line}' {outcome}" in either.logged()


@pytest.mark.parametrize("line", ["pid", "sched list", "config get message_expiration"])
def test_commands_that_change_nothing_are_not_logged(either: Appliance, line: str) -> None:
    either.ask(line)
    assert either.logged() == ""


def test_lines_of_one_turn_are_answered_in_their_order(either: Appliance) -> None:
    lines = ["config get a", "config set a 1", "config get a", "sched in 5 pid", "sched delete example.com-000000001"]
    events = [either.typed(line) for line in lines]
    either.turn(*events)
    answers = [either.reply_to(event) for event in events]
    assert [answer.ok for answer in answers] == [False, True, True, True, True]


def test_the_user_of_a_job_is_stored(either: Appliance) -> None:
    either.ask("sched in 5 sched in 5 pid", User(12, "twelve"))
    either.ask("sched in 5 pid", OPERATOR)
    either.after(5 * SECOND)
    (job,) = either.data("sched list")
    assert (job["id"], job["user"]) == ("example.com-000000003", "twelve")


# `sched ack` needs an incident: see test_alerts.py.
DROPPABLE = [form for form in FORMS if FORMS[form].drop and form not in ("json", "sched_ack")]
EXAMPLES = {
    "sched_at": "sched at 1800000000 pid",
    "sched_in": "sched in 5 pid",
    "sched_every": "sched every 5 pid",
    "sched_cron": 'sched cron "TZ=UTC 30 2 * * *" pid',
    "sched_calendar": 'sched calendar "Mon 02:30 UTC" pid',
    "sched_next": "sched next example.com-000000001",
    "sched_list": "sched list",
    "sched_delete": "sched delete example.com-000000001",
    "sched_history": "sched history",
    "sched_show": "sched show example.com-000000001",
    "sched_why": "sched why example.com-000000001",
    "sched_run": "sched run example.com-000000001",
    "sched_stop": "sched stop example.com-000000002/1",
    "sched_pause": "sched pause example.com-000000001",
    "sched_resume": "sched resume example.com-000000001",
    "sched_hold": "sched hold a new disk",
    "sched_release": "sched release",
    "sched_incidents": "sched incidents",
    "run": "run hello",
    "config_get": "config get message_expiration",
    "config_set": "config set a 1",
    "config_unset": "config unset message_expiration",
}


@pytest.mark.parametrize("prefix", ["", "json "])
@pytest.mark.parametrize("form", DROPPABLE)
def test_a_command_answers_alike_in_a_drop_and_at_the_console(appliance: Appliance, form: str, prefix: str) -> None:
    console = Appliance(None)
    line = prefix + EXAMPLES[form]
    for one in (appliance, console):
        one.say("sched in 77 pid")
        one.say("run hello")
        one.say("config set message_expiration 3")
    (result,) = json.loads(appliance.drop(line + "\n").result)["results"]
    text = console.say(line)
    assert result == {"line": 1, **({"data": json.loads(text)} if prefix else {"output": text})}
    console.close()


def test_every_form_has_a_performer() -> None:
    assert PERFORM.keys() == FORMS.keys() - {"json"}


def test_few_rejected_lines_share_a_turn(either: Appliance) -> None:
    """The search for what was meant may take milliseconds for each."""
    either.turn(*(either.typed(f"run hullo{number}") for number in range(30)))
    put_off = [effect.event for effect in some(PutOff, either.effects)]
    assert (len(some(Reply, either.effects)), len(put_off)) == (8, 22)
    either.turn(*put_off)
    assert len(some(Reply, either.effects)) == 8


def test_lines_wait_for_the_next_turn_when_the_answers_of_this_one_are_large(either: Appliance) -> None:
    either.say(f"config set a {'x' * 60_000}")
    events: list[Event] = [*(either.typed("config get a") for _ in range(30)), ConnectionClosed(0)]
    either.turn(*events)
    answered = [reply.reply_to for reply in some(Reply, either.effects)]
    put_off = [effect.event for effect in some(PutOff, either.effects)]
    assert (len(answered), put_off) == (18, events[18:]), "the answer that exceeds 1 MB is the last one"
    either.turn(*put_off)
    assert (len(some(Reply, either.effects)), some(PutOff, either.effects)) == (12, [])


def test_few_commands_that_read_rows_share_a_turn(either: Appliance) -> None:
    """Their answers are short, but each may take milliseconds."""
    job = either.say("sched in 600 pid").strip()
    lines = [either.typed(f"sched why {job}") for _ in range(100)]
    either.turn(*lines)
    replies, put_off = some(Reply, either.effects), [effect.event for effect in some(PutOff, either.effects)]
    assert len(replies) == MOST_SPENT // COSTLY_BYTES
    assert put_off == lines[len(replies) :]


def test_few_due_commands_that_read_rows_share_a_turn(either: Appliance) -> None:
    for _ in range(100):
        either.say("sched in 1 sched why 1")
    either.say("sched in 1 config set a 5")
    either.clock.advance(SECOND)
    turns = 0
    while len(either.history()) < 101:
        ended = len(either.history())
        either.turn()
        turns += 1
        assert len(either.history()) - ended <= MOST_SPENT // COSTLY_BYTES + 1
    assert turns == 4
    assert either.say("config get a") == "a = 5"
