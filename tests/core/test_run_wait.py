"""`run --wait`: answered once, when the run has finally ended, whatever happens to it, the store or the appliance."""

from __future__ import annotations

import json

import pytest

from schedappliance.engine.effects import Answer, Reply, Stop
from schedappliance.engine.events import LineTyped, ProgramNotStarted, StopRequested
from schedappliance.engine.records import AttemptKey, RunKey
from tests.support.core import SECOND, STANZAS, Appliance, ended, some

FIRST, SECOND_JOB = RunKey(1, 1), RunKey(2, 1)
ONE = "example.com-000000001"
INTERRUPTED = f"interrupted: the appliance is stopping, and run {ONE}/1 has not ended"


def files(policy: str = "", sched: str = "") -> str:
    return f'sched {{ {sched} }}\n{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'


def waiting(appliance: Appliance, policy: str = "", line: str = "run --wait p") -> LineTyped:
    """Types a line that waits for a run of the program."""
    appliance.turn(appliance.read(files(policy)))
    event = appliance.typed(line)
    appliance.turn(event)
    assert answers(appliance) == []
    return event


def answers(appliance: Appliance) -> list[tuple[int, Answer]]:
    """The answers of the last turn."""
    return [(reply.reply_to, reply.answer) for reply in some(Reply, appliance.effects)]


@pytest.mark.parametrize(
    ("policy", "status", "signal", "answer"),
    [
        ("", 0, None, Answer("out\n", exit_status=0)),
        ("success = ( 0 3 )", 3, None, Answer("out\n", exit_status=3)),
        ("success = ( 3 )", 0, None, Answer("out\n", f"run {ONE}/1 failed: exit status 0", exit_status=0)),
        ("", 7, None, Answer("out\n", f"run {ONE}/1 failed: exit status 7", exit_status=7)),
        ("", 0, 9, Answer("out\n", f"run {ONE}/1 failed: ended by signal 9 (SIGKILL)", exit_status=137)),
    ],
)
def test_the_answer_describes_the_end_of_the_run(
    either: Appliance, policy: str, status: int, signal: int | None, answer: Answer
) -> None:
    event = waiting(either, policy)
    assert [start.argv for start in either.started()] == [("/bin/work",)]
    assert (either.states(), either.next_runs()) == ([(1, 1, "started")], [])
    either.turn(ended(FIRST, status, signal, b"out\n"))
    assert answers(either) == [(event.reply_to, answer)]
    either.turn(ended(FIRST, status, signal, b"out\n"))
    assert (answers(either), dict(either.state.awaited)) == ([], {})


def test_it_is_the_same_run_as_without_waiting(either: Appliance) -> None:
    other = Appliance(None, files())
    waiting(either, "", "run --wait  p 'a b' --wait")
    other.say("run p 'a b' --wait")
    for one in (either, other):
        one.turn(ended(FIRST, 3))
        (run,) = one.history()
        assert (run.key, run.state, run.exit_status, run.user, run.origin) == (
            FIRST,
            "failed",
            3,
            "operator",
            "console",
        )
    assert either.started() == other.started() == []
    assert either.history()[0].command == "run p 'a b' --wait"
    other.close()


def test_the_answer_as_data_has_every_field(either: Appliance) -> None:
    event = waiting(either, "", "json run --wait p")
    either.turn(ended(FIRST, 7, output=b"\xff\n"))
    answer = either.reply_to(event)
    assert json.loads(str(answer.output)) == {
        "run": f"{ONE}/1",
        "state": "failed",
        "reason": "exit status 7",
        "exit_status": 7,
        "output": "\ufffd\n",
    }
    assert (answer.is_json, answer.exit_status, answer.error) == (True, 7, f"run {ONE}/1 failed: exit status 7")


def test_it_waits_for_the_last_attempt_and_reports_that_one(either: Appliance) -> None:
    event = waiting(either, "retries = 2 retry_delay = 1")
    either.turn(ended(FIRST, 3, output=b"first\n"))
    assert answers(either) == []
    either.after(2 * SECOND)
    either.turn(ended(FIRST, 0, attempt=2))
    assert answers(either) == [(event.reply_to, Answer("", exit_status=0))]


def test_a_timeout_is_reported_with_the_signal(either: Appliance) -> None:
    event = waiting(either, "timeout = 5")
    either.after(5 * SECOND)
    either.turn(ended(FIRST, signal=15, output=b"begun\n"))
    error = f"run {ONE}/1 timed out: the program's timeout passed"
    assert either.reply_to(event) == Answer("begun\n", error, exit_status=143)


def test_a_program_that_cannot_be_started_has_no_status(either: Appliance) -> None:
    event = waiting(either)
    either.turn(ProgramNotStarted(AttemptKey(FIRST, 1), "no such file"))
    assert either.reply_to(event) == Answer(error=f"run {ONE}/1 failed: no such file")


def test_a_run_that_fails_before_its_start_is_answered_at_once(either: Appliance) -> None:
    answer = either.ask("run --wait unset")
    assert answer == Answer(error=f"run {ONE}/1 failed: option `nowhere_set` is not set")
    assert (either.states(), dict(either.state.awaited)) == ([(1, 1, "failed")], {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --wait helo", "program `helo` is not declared; did you mean `hello`?"),
        ("json run --wait helo", "program `helo` is not declared; did you mean `hello`?"),
        ("run --wait sleep x", "argument 1 `x` of program `sleep` does not match `[0-9]+`"),
        ("run --wait", "incomplete command `run --wait`"),
        ("sched in 5 run --wait hello", "`run --wait` cannot be scheduled; remove `--wait`"),
    ],
)
def test_a_rejected_line_starts_nothing_and_is_answered_at_once(either: Appliance, line: str, message: str) -> None:
    assert message in either.error(line)
    assert (either.history(), either.next_runs(), dict(either.state.awaited)) == ([], [], {})


def test_it_counts_toward_the_job_limit(either: Appliance) -> None:
    either.turn(either.read(files(sched="max_jobs = 1")))
    either.say("sched in 600 pid")
    assert "there are already 1 jobs" in either.error("run --wait p")


def test_other_clients_are_answered_meanwhile_and_each_gets_its_own_run(either: Appliance) -> None:
    first = waiting(either)
    second = either.typed("run --wait p 2")
    either.turn(second, either.typed("pid"))
    assert [answer.output for _, answer in answers(either)] == ["4711"]
    either.turn(ended(SECOND_JOB, 2))
    assert [(to, answer.exit_status) for to, answer in answers(either)] == [(second.reply_to, 2)]
    either.turn(ended(FIRST, 1))
    assert [(to, answer.exit_status) for to, answer in answers(either)] == [(first.reply_to, 1)]


def test_it_also_waits_for_a_place(either: Appliance) -> None:
    either.state.places = 1
    either.say("run hello")
    event = either.typed("run --wait sleep 5")
    either.turn(event)
    assert either.states()[1] == (2, 1, "queued")
    either.turn(ended(FIRST))
    assert answers(either) == []
    either.turn(ended(SECOND_JOB, output=b"late"))
    assert either.reply_to(event) == Answer("late", exit_status=0)


def test_a_queued_run_whose_program_is_removed_is_answered(either: Appliance) -> None:
    event = waiting(either, "max_running = 1")
    second = either.typed("run --wait p")
    either.turn(second)
    either.turn(either.read(STANZAS), ended(FIRST))
    assert either.reply_to(event) == Answer("", exit_status=0)
    either.turn()
    answer = Answer(error="run example.com-000000002/1 failed: program `p` is not declared")
    assert (second.reply_to, answer) in [
        (reply.reply_to, reply.answer) for reply in some(Reply, either.past) if reply.answer.error
    ]


def test_no_answer_goes_out_before_the_end_is_recorded(either: Appliance) -> None:
    event = waiting(either)
    either.database.failing_commits = 1
    either.turn(ended(FIRST, 7))
    assert answers(either) == []
    either.after(SECOND)
    assert [(to, answer.exit_status) for to, answer in answers(either)] == [(event.reply_to, 7)]


def test_a_line_that_cannot_be_stored_fails_at_once(either: Appliance) -> None:
    either.database.full = True
    assert "the store cannot be written" in either.error("run --wait hello")
    either.database.full = False
    either.after(SECOND)
    assert (either.history(), either.started(), dict(either.state.awaited)) == ([], [], {})


def test_a_stop_interrupts_an_awaited_run(either: Appliance) -> None:
    event = waiting(either)
    either.turn(StopRequested("SIGTERM"))
    assert answers(either) == []
    either.turn(ended(FIRST, signal=15, output=b"begun\n"))
    error = f"run {ONE}/1 interrupted: the appliance was stopped"
    assert either.reply_to(event) == Answer("begun\n", error, exit_status=143)
    assert isinstance(either.effects[-1], Stop)


def test_a_stop_in_the_same_turn_interrupts_an_awaited_run_too(either: Appliance) -> None:
    event = either.typed("run --wait hello")
    either.turn(event, either.typed("shutdown"))
    either.turn(ended(FIRST, signal=15))
    assert "interrupted: the appliance was stopped" in (either.reply_to(event).error or "")


@pytest.mark.parametrize("policy", ["", "retries = 1 retry_delay = 60"])
def test_the_client_of_a_queued_run_is_answered_before_the_appliance_ends(either: Appliance, policy: str) -> None:
    if policy:
        event = waiting(either, policy)
        either.turn(ended(FIRST, 3))
    else:
        either.state.places = 0
        event = waiting(either)
    either.turn(StopRequested("SIGTERM"))
    answer = either.reply_to(event)
    assert answer.error is not None
    assert answer.error.startswith(INTERRUPTED)
    assert [diagnostic.code for diagnostic in answer.diagnostics] == ["E505"]
    assert isinstance(either.effects[-1], Stop)
    assert either.states() == [(1, 1, "queued")]


def test_a_stop_without_the_store_answers_waiting_clients(either: Appliance) -> None:
    event = waiting(either)
    either.database.full = True
    either.turn(StopRequested("SIGTERM"))
    either.after(SECOND, ended(FIRST, signal=15))
    assert [to for to, _ in answers(either)] == [event.reply_to]
    assert (either.reply_to(event).error or "").startswith(INTERRUPTED)
    assert isinstance(either.effects[-1], Stop)
    either.database.full = False


def test_a_drop_waits_for_nothing(appliance: Appliance) -> None:
    result = json.loads(appliance.drop("run --wait hello\n").result)
    assert (result["accepted"], [diagnostic["code"] for diagnostic in result["diagnostics"]]) == (False, ["E304"])
    assert appliance.history() == []


def test_it_is_logged_when_it_is_accepted(either: Appliance) -> None:
    waiting(either)
    assert "info: user=operator uid=1000 origin=console command='run --wait p' ok" in either.logged()
