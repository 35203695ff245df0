"""The running options: set, shown and unset at the console, by jobs and in transactions, with Momentum's texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schedappliance.engine.effects import Answer, Reply
from schedappliance.engine.events import ConnectionClosed, LineTyped, WatchChanged
from schedappliance.model.option_paths import Scope
from schedappliance.model.schedules import Every
from schedappliance.model.stanzas import options_of
from schedappliance.store.database import Database
from schedappliance.store.queries import queries
from schedappliance.store.settings import GENERATIONS_KEPT
from schedappliance.syntax.printer import INDENT, as_data
from tests.support.calls import calls
from tests.support.core import MINUTE, OPERATOR, SECOND, START_MS, Appliance, configuration, some, spoken

FILES = """\
Message_Expiration = 86400
Greeting = "good \\"day\\""
sched { history = 500 }
program "hello" {
  argv = ( "/bin/echo" "%{greeting}" )
  args = any
  env = [ A = "1 2" ]
  timeout = 30
}
job "tidy" { every = 600  command = "run hello" }
job "never" { at = 2100-01-01T00:00:00Z  command = "pid"  enabled = false }
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Appliance]:
    appliance = Appliance(tmp_path / "sched.db", FILES)
    yield appliance
    appliance.close()


def test_momentum_s_texts(running: Appliance) -> None:
    """research: console_commands.config; a line of a sub-scope is indented by eight blanks."""
    assert running.say("config get message_expiration") == "Message_Expiration = 86400"
    assert running.say("config get program hello timeout") == "        timeout = 30"
    assert running.error("config get Blackhole") == "Option 'Blackhole' is not set in scope ''."
    assert running.error("config get program hello retries") == (
        "Option 'retries' is not set in scope 'program \"hello\"'."
    )
    assert running.say("config eval message_expiration") == "Message_Expiration = 86400"
    assert running.say("config eval nowhere x Message_Expiration") == "Message_Expiration = 86400"
    assert running.say("config eval program hello retries") == "        retries = 0"
    for path in (
        "program hell timeout",
        "program hell retries",
        "job hell overlap",
        "notify hell when",
        "days hell dates",
    ):
        assert "not declared" in running.error(f"config eval {path}")
    assert running.say("config set Suspend_Delivery enabled") == "Suspend_Delivery = enabled"
    assert running.say("config set program hello success ( 0 3 )") == (
        "        success = (\n                0\n                3\n        )"
    )
    running.say("config set message_expiration 300")
    assert running.say("config unset message_expiration") == (
        '"Message_Expiration" has been unset. Effective value is now:\n        Message_Expiration = 86400'
    )
    assert running.say("config unset suspend_delivery") == '"Suspend_Delivery" has been unset.'
    assert running.say("config show").splitlines()[2:] == [
        "sched { ... }",
        'program "hello" { ... }',
        'job "tidy" { ... }',
        'job "never" { ... }',
    ]


def test_config_show_prints_a_stanza_file_with_the_same_meaning(running: Appliance) -> None:
    running.say("config set program hello timeout 7")
    running.say("config set greeting 'a \"b\" \\ c'")
    shown = configuration(running.say("config showrecurse")).configuration
    wanted = running.state.configuration
    assert {k: o.value for k, o in shown.options.items()} == {
        "message_expiration": "86400",
        "greeting": 'a "b" \\ c',
    }
    assert (shown.history, shown.backing_store) == (wanted.history, wanted.backing_store)
    assert shown.programs.keys() == wanted.programs.keys()
    program = shown.programs["hello"]
    assert (program.argv, program.env, program.timeout_ms) == (wanted.programs["hello"].argv, (("A", "1 2"),), 7000)
    assert [(j.name, j.schedule, j.enabled) for j in shown.jobs.values()] == [
        (j.name, j.schedule, j.enabled) for j in wanted.jobs.values()
    ]


def test_a_stanza_can_be_shown_alone(running: Appliance) -> None:
    running.say("config set program hello retries 2")
    for command in ("show", "showrecurse"):
        text = running.say(f"config {command} program hello")
        scope = Scope("program", "hello")
        values = options_of(configuration(text).configuration, scope)
        assert {name: as_data(value) for name, value in values.items()} == {
            "argv": ["/bin/echo", "%{greeting}"],
            "args": "any",
            "env": {"A": "1 2"},
            "timeout": "30",
            "retries": "2",
        }
    assert running.data("config show program hello")[0]["options"]["retries"] == "2"


def test_the_data_agree_with_the_text(running: Appliance) -> None:
    assert running.data("config get program hello timeout") == {
        "option": "timeout",
        "value": "30",
        "scope": 'program "hello"',
    }
    running.say("config set program hello timeout 5")
    assert running.data("config unset program hello") == {
        "unset": [{"scope": 'program "hello"', "option": "timeout", "effective": "30"}]
    }
    whole = running.data("config showrecurse")
    assert [(s["stanza"], s["name"]) for s in whole] == [
        ("", ""),
        ("sched", ""),
        ("program", "hello"),
        ("job", "tidy"),
        ("job", "never"),
    ]
    assert whole[3]["options"] == {"every": "600", "command": "run hello"}
    assert [set(s) for s in running.data("config show")[1:]] == [{"stanza", "name"}] * 4


def test_the_timeout_of_a_program_takes_effect_at_once(running: Appliance) -> None:
    running.say("config set program hello timeout 5")
    running.say("run hello")
    (run,) = running.state.running.values()
    assert run.term_at == running.clock.moment().boot + 5 * SECOND


def test_an_override_of_a_period_reschedules_the_job_and_can_be_unset(running: Appliance) -> None:
    before = running.next_runs()
    assert running.say("config set job tidy every 7m") == "        every = 7m"
    assert running.next_runs()[0] == (1, START_MS + 7 * MINUTE - START_MS % (7 * MINUTE))
    assert "1 changed" in running.logged()
    running.say("config unset job tidy every")
    assert running.next_runs() == before


def test_a_job_disabled_by_another_job_stays_disabled_over_a_restart(running: Appliance) -> None:
    running.say("sched in 5 config set job tidy enabled off")
    running.after(5 * SECOND)
    assert running.state.configuration.jobs["tidy"].enabled is False
    running.restart(1000 * SECOND, FILES)
    assert running.history(1) == []
    assert running.state.configuration.jobs["tidy"].enabled is False


def test_an_option_that_needs_another_one_of_its_job_survives_a_restart(running: Appliance) -> None:
    """`move` needs `only`, and comes before it in the order of the rows."""
    files = FILES + (
        'days "weekend" { dates = ( "Sat..Sun" ) }\njob "daily" { calendar = daily zone = UTC command = "pid" }\n'
    )
    running.turn(running.read(files))
    running.say("config set job daily only weekend")
    running.say("config set job daily move next")
    due = running.next_runs()
    running.restart(SECOND, files)
    assert running.next_runs() == due
    assert [override.name for override in running.store.settings.overrides()] == ["move", "only"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config set program nobody timeout 5", "program `nobody` is not declared"),
        ("config set job nobody every 5", "job `nobody` is not declared"),
        ("config get job nobody every", "job `nobody` is not declared"),
        ("config show program nobody", "program `nobody` is not declared"),
        ("config set job tidy at 1900000000", "has both `every` and `at`"),
        ("config set job tidy command 'run nobody'", "program `nobody` is not declared"),
        ("config set job tidy command 'sched every 5 pid'", "`sched every` is not allowed inside a recurrent job"),
        ("config set job tidy command 'shutdwon'", "unknown command"),
        ("config unset message_expiration", "the stanza files set `message_expiration`, not `config set`"),
        ("config unset Blackhole", "Option 'Blackhole' is not set in scope ''."),
        ("config unset program hello", '`config set` has set no option of `program "hello"`'),
    ],
)
def test_an_invalid_change_is_rejected_and_changes_nothing(running: Appliance, line: str, message: str) -> None:
    before = running.say("config showrecurse"), running.next_runs()
    assert message in running.error(line)
    assert (running.say("config showrecurse"), running.next_runs()) == before
    assert running.store.settings.overrides() == []


def test_a_file_that_changes_an_option_of_a_stanza_drops_its_override(running: Appliance) -> None:
    running.say("config set program hello timeout 5")
    running.say("config set program hello retries 3")
    running.turn(running.read(FILES.replace("timeout = 30", "timeout = 40")))
    assert 'option timeout of program "hello": the files changed it' in running.logged()
    program = running.state.configuration.programs["hello"]
    assert (program.timeout_ms, program.retries) == (40_000, 3)


def test_an_override_is_removed_with_its_stanza(running: Appliance) -> None:
    running.say("config set program hello retries 3")
    running.turn(running.read("other = 1\n"))
    assert running.store.settings.overrides() == []
    running.turn(running.read(FILES))
    assert running.state.configuration.programs["hello"].retries == 0


def test_a_typed_reload_drops_overrides_of_stanzas(running: Appliance) -> None:
    running.say("config set program hello timeout 5")
    running.say("config set job tidy every 7m")
    assert running.reload_typed(FILES).ok
    assert running.store.settings.overrides() == []
    assert running.state.configuration.programs["hello"].timeout_ms == 30_000
    assert running.state.configuration.jobs["tidy"].schedule == Every(600_000)
    assert running.next_runs()[0][1] == START_MS + 600 * SECOND - START_MS % (600 * SECOND)


class Connection:
    """One client. Each of its lines is answered in its own turn."""

    def __init__(self, appliance: Appliance, number: int) -> None:
        self.appliance, self.number = appliance, number

    def say(self, line: str) -> str:
        return spoken(self.ask(line))

    def error(self, line: str) -> str:
        answer = self.ask(line)
        assert answer.error is not None
        return answer.error

    def ask(self, line: str) -> Answer:
        event = LineTyped(line, OPERATOR, self.appliance.typed(line).reply_to, self.number)
        self.appliance.turn(event)
        return self.appliance.reply_to(event)

    def leave(self) -> None:
        self.appliance.turn(ConnectionClosed(self.number))


@pytest.fixture
def one(running: Appliance) -> Connection:
    return Connection(running, 1)


@pytest.fixture
def other(running: Appliance) -> Connection:
    return Connection(running, 2)


def test_only_its_connection_sees_a_transaction_before_the_commit(
    running: Appliance, one: Connection, other: Connection
) -> None:
    one.say("config begin")
    one.say("config set message_expiration 5")
    one.say("config set program hello timeout 5")
    assert one.say("config get message_expiration") == "Message_Expiration = 5"
    assert "timeout = 5" in one.say("config show program hello")
    assert other.say("config get message_expiration") == "Message_Expiration = 86400"
    assert running.store.settings.overrides() == []
    assert running.state.configuration.programs["hello"].timeout_ms == 30_000
    assert one.say("config commit") == "OK"
    assert other.say("config get message_expiration") == "Message_Expiration = 5"
    assert running.state.configuration.programs["hello"].timeout_ms == 5000
    running.restart(0, FILES)
    assert running.say("config get program hello timeout") == "        timeout = 5"


def test_the_first_commit_wins(one: Connection, other: Connection) -> None:
    for connection, value in ((one, 1), (other, 2)):
        connection.say("config begin")
        connection.say(f"config set message_expiration {value}")
    assert other.say("config commit") == "OK"
    assert "has changed since the transaction began" in one.error("config commit")
    assert one.say("config get message_expiration") == "Message_Expiration = 2"
    assert "no transaction is open" in one.error("config commit")


@pytest.mark.parametrize("files", [FILES, FILES.replace("86400", "9")])
def test_a_reload_makes_a_transaction_fail(running: Appliance, one: Connection, files: str) -> None:
    one.say("config begin")
    one.say("config set other 1")
    assert running.reload_typed(files).ok
    assert "has changed since the transaction began" in one.error("config commit")
    assert running.store.settings.overrides() == []


def test_a_transaction_ends_with_its_connection_or_a_rollback(running: Appliance, one: Connection) -> None:
    for end in (one.leave, lambda: one.say("config rollback")):
        one.say("config begin")
        one.say("config set other 1")
        end()
        assert running.state.transactions == {}
        assert "no transaction is open" in one.error("config rollback")
        assert one.error("config get other") == "Option 'other' is not set in scope ''."


def test_a_transaction_can_unset_options(running: Appliance, one: Connection) -> None:
    running.say("config set message_expiration 5")
    one.say("config begin")
    one.say("config unset message_expiration")
    assert running.say("config get message_expiration") == "Message_Expiration = 5"
    one.say("config commit")
    assert running.store.settings.overrides() == []


def test_every_answer_says_whether_a_transaction_is_open(one: Connection, other: Connection) -> None:
    def is_open(connection: Connection, line: str) -> bool:
        connection.ask(line)
        (reply,) = some(Reply, connection.appliance.effects)
        return reply.in_transaction

    assert not is_open(one, "pid")
    for line in ("config begin", "config begin", "pid", "nonsense", "run --wait gone", "config set other 1"):
        assert is_open(one, line)
        assert not is_open(other, "pid")
    assert not is_open(one, "config rollback")
    assert not is_open(one, "config commit")


def test_in_a_transaction_a_second_one_and_a_reload_are_rejected(one: Connection) -> None:
    one.say("config begin")
    assert "a transaction is already open" in one.error("config begin")
    assert "a transaction is open" in one.error("config reload")


def test_a_failed_commit_leaves_the_transaction_open(running: Appliance, one: Connection) -> None:
    """The disk is full. The transaction is neither lost nor half done."""
    one.say("config begin")
    one.say("config set message_expiration 5")
    running.database.full = True
    assert "cannot be written" in one.error("config commit")
    running.database.full = False
    running.after(2 * SECOND)
    assert one.say("config get message_expiration") == "Message_Expiration = 5"
    assert running.say("config get message_expiration") == "Message_Expiration = 86400"
    assert one.say("config commit") == "OK"
    assert running.say("config get message_expiration") == "Message_Expiration = 5"


def test_drops_and_jobs_cannot_use_transactions(running: Appliance) -> None:
    for verb in ("begin", "commit", "rollback"):
        assert "cannot be scheduled" in running.error(f"sched in 5 config {verb}")
        assert '"accepted": false' in running.drop(f"config {verb}\n", f"{verb}~a.cmd").result


def test_the_diagnostic_of_a_rejected_value_points_into_the_command(running: Appliance) -> None:
    line = "config set job tidy command 'run nobody'"
    answer = running.ask(line)
    (diagnostic,) = answer.diagnostics
    assert (diagnostic.code, diagnostic.place()) == ("E301", (1, 1, 1, len(line) + 1))


def test_status_shows_the_last_reload_and_the_overrides(running: Appliance) -> None:
    first = running.data("config status")
    assert (first["generation"], first["last_attempt"]["outcome"], first["overrides"]) == (1, "accepted", [])
    running.turn(WatchChanged("events"))
    running.say("config set program hello timeout 5")
    running.after(5 * SECOND, running.read_exactly("program { }\n"))
    status = running.data("config status")
    assert (status["generation"], status["digest"], status["applied_at"]) == (1, first["digest"], first["applied_at"])
    assert status["last_attempt"]["outcome"] == "rejected"
    assert [d["code"] for d in status["last_attempt"]["diagnostics"]] == ["E207"]
    assert status["watch"] == "events"
    assert status["overrides"] == [{"scope": 'program "hello"', "option": "timeout", "value": "5"}]
    text = running.say("config status")
    assert "rejected" in text
    assert "E207" in text
    assert 'program "hello" timeout = 5' in text
    running.turn(running.read(FILES))
    assert running.data("config status")["last_attempt"]["outcome"] == "accepted"


def test_generations_are_listed_and_compared(running: Appliance) -> None:
    assert running.say("config diff") == ""
    running.turn(running.read(FILES.replace("timeout = 30", "timeout = 40")))
    running.turn(running.read(FILES.replace("timeout = 30", "timeout = 50")))
    rows = running.say("config history").splitlines()
    assert [row.split("\t")[0] for row in rows] == ["GENERATION", "3", "2", "1"]
    assert "-  timeout = 40\n+  timeout = 50\n" in running.say("config diff")
    assert "-  timeout = 30\n+  timeout = 50\n" in running.say("config diff 1")
    assert running.data("config diff 1")["from"] == 1
    for wrong in ("9", "x", "1e3"):
        assert "generation" in running.error(f"config diff {wrong}")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The queries that parse the texts of a generation, as they are made, and the number of the generation."""
    made: list[tuple[str, int]] = []
    names = {queries("settings")[name]: name for name in ("generation_paths", "generation_files")}
    row = Database.row

    def spy(database: Database, sql: str, parameters: Sequence[Any] = ()) -> Any:
        if sql in names:
            made.append((names[sql], *parameters))
        return row(database, sql, parameters)

    monkeypatch.setattr(Database, "row", spy)
    return made


@pytest.mark.parametrize("form", ["config history", "json config history"])
def test_the_list_of_generations_parses_one_at_a_time_and_once(
    running: Appliance, read: list[tuple[str, int]], form: str
) -> None:
    """All hundred at once took 0.3 s with 5,000 jobs, in which no other command was answered."""
    for number in range(4):
        running.turn(running.read(f"{FILES}a = {number}\n"))
    pieces = running.ask(form).output
    assert not isinstance(pieces, str)
    before, parsed = [], set()
    for piece in pieces:
        before.append(piece)
        parsed.add(len(read))
    assert read == [("generation_paths", number) for number in (5, 4, 3, 2, 1)]
    assert parsed == {*range(6)} - ({0} if form.startswith("json") else set())
    assert running.say(form) == "".join(before)
    running.turn(running.read(FILES))
    running.say(form)
    assert read[5:] == [("generation_paths", 6)]


def test_a_comparison_parses_only_what_it_compares(running: Appliance, read: list[tuple[str, int]]) -> None:
    for number in range(4):
        running.turn(running.read(f"{FILES}a = {number}\n"))
    assert "-a = 2\n+a = 3\n" in running.say("config diff")
    assert read == [("generation_files", 4), ("generation_files", 5)]


def test_old_generations_are_removed(running: Appliance) -> None:
    for number in range(GENERATIONS_KEPT + 5):
        running.turn(running.read(f"{FILES}a = {number}\n"))
    history = running.data("config history")
    assert len(history) == GENERATIONS_KEPT
    assert history[-1]["generation"] == 7
    assert "is not stored" in running.error("config diff 1")


def test_the_log_marks_changes_in_a_transaction(running: Appliance, one: Connection) -> None:
    lines = ["config begin", "config set other 1", "sched in 5 pid", "config unset other", "config commit"]
    how = ["ok", "ok in a transaction", "ok", "ok in a transaction", "ok"]
    for line, outcome in zip(lines, how, strict=True):
        one.say(line)
        assert running.logged() == f"info: user=operator uid=1000 origin=console command='{line}' {outcome}"
    one.say("config set other 1")
    assert running.logged().endswith("command='config set other 1' ok")
    one.leave()
    assert running.logged() == ""


def test_the_log_reports_a_rollback(running: Appliance, one: Connection) -> None:
    one.say("config begin")
    one.say("config rollback")
    assert running.logged() == "info: user=operator uid=1000 origin=console command='config rollback' ok"
    one.say("config begin")
    one.leave()
    text = "the transaction is rolled back: its connection was closed"
    assert running.logged() == f"info: user=operator uid=1000 origin=console {text}"


def test_status_shows_the_transaction_of_its_connection(one: Connection, other: Connection) -> None:
    line = "transaction: open on this connection"
    one.say("config begin")
    assert line in one.say("config status").splitlines()
    assert line not in other.say("config status").splitlines()
    assert json.loads(one.say("json config status"))["transaction"] == "open"
    assert json.loads(other.say("json config status"))["transaction"] is None


def test_status_writes_overrides_as_a_stanza_file_does(running: Appliance) -> None:
    for line in ("y 'a\"b'", "x ''", "program hello success ( 0 1 )"):
        running.say(f"config set {line}")
    shown = running.say("config status").partition("overrides: 3\n")[2]
    lines = ['y = "a\\"b"', 'x = ""', 'program "hello" success = (', f"{INDENT}0", f"{INDENT}1", ")"]
    assert shown.splitlines() == [f"\t{line}" for line in lines]
    assert running.say("config get y") in shown


@pytest.mark.parametrize("change", ["program hello max_running 2", "program hello max_running none"])
def test_a_raised_limit_starts_a_run_that_waits_for_it(running: Appliance, change: str) -> None:
    running.say("config set program hello max_running 1")
    running.say("run hello")
    running.say("run hello")
    assert running.started() == []
    running.say("config set program hello timeout 9")
    assert running.started() == []
    running.say(f"config set {change}")
    assert len(running.started()) == 1


def test_a_run_that_waits_for_an_earlier_one_starts_when_its_program_becomes_parallel(running: Appliance) -> None:
    running.say("config set program hello overlap queue")
    running.say("sched run tidy")
    running.say("sched run tidy")
    assert running.started() == []
    running.say("config set program hello overlap parallel")
    assert len(running.started()) == 1


def items(number: int, between: str = " ") -> str:
    return f"( {between.join(str(i % 256) for i in range(number))} )"


@pytest.mark.parametrize("value", [items(256), items(256, ", "), f"'{items(256)}'"])
def test_a_list_has_up_to_256_items(running: Appliance, value: str) -> None:
    running.say(f"config set program hello success {value}")
    assert running.state.configuration.programs["hello"].success == tuple(range(256))


@pytest.mark.parametrize(
    "value",
    [items(257), items(257, ", "), f"'{items(257)}'", items(20_000), f"'{items(20_000)}'", "( " * 600],
)
def test_a_longer_list_is_rejected(running: Appliance, value: str) -> None:
    with_brackets = value if value.endswith((")", "'")) else f"'{value}'"
    error = running.error(f"config set program hello success {with_brackets}")
    assert error == "more than 256 items in one list; write a longer list into the stanza file"
    assert running.state.configuration.programs["hello"].success == (0,)


def test_the_same_exit_status_counts_once(running: Appliance) -> None:
    running.say("config set program hello success ( 0 3 0 3 )")
    assert running.state.configuration.programs["hello"].success == (0, 3)


@pytest.mark.parametrize(
    "line",
    [
        "config set program hello timeout 9",
        "config set job tidy every 700",
        "config set job tidy enabled no",
        "config set sched history 9",
        "config set sched max_running 3",
        "config unset program hello kill_after",
        "config unset job tidy",
    ],
)
def test_the_cost_of_an_override_does_not_grow_with_the_declared_jobs(tmp_path: Path, line: str) -> None:
    costs = []
    for number in (1, 2, 40):  # The first one fills the caches.
        others = "".join(f'job "other-{i}" {{ every = 600 command = "run hello" }}\n' for i in range(number))
        appliance = Appliance(tmp_path / f"{number}.db", FILES + others)
        for other in ("job tidy catch_up none", "program hello kill_after 5"):
            appliance.say(f"config set {other}")
        costs.append(calls(partial(appliance.say, line)))
        appliance.close()
    assert costs[1] == costs[2]
