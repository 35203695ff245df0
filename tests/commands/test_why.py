"""`sched why`: every reason of the engine is produced and shown, and so is what decides the next run."""

from __future__ import annotations

import ast
import inspect
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import schedappliance
from schedappliance.clock import lasted_text, local_text
from schedappliance.commands.phrases import time_text
from schedappliance.commands.why import MOST_PARSED, READ_OF_PARSED
from schedappliance.core.users import PATIENCE_MS
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.engine import reasons
from schedappliance.engine.events import OutputsChecked, ProgramNotStarted, StopRequested
from schedappliance.engine.reasons import Reason
from schedappliance.engine.records import AttemptKey, KnownUser, ProcessKey, RunKey, User
from schedappliance.engine.states import RunState
from schedappliance.store.settings import Settings
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.tree import Statement
from tests.support.core import DISK_FULL, MINUTE, SECOND, STANZAS, START_MS, Appliance, ended, has_pid
from tests.support.previews import UTC_ZONE

ONE = "example.com-000000001"
FIRST, SECOND_RUN, THIRD = RunKey(1, 1), RunKey(1, 2), RunKey(1, 3)
S = START_MS // 1000
DECLARED = STANZAS + 'job "a" { every = 60 command = "run sleep 5" }\n'


def files(policy: str = "", sched: str = "", arguments: str = "any") -> str:
    head = f"sched {{ {sched} }}\n" if sched else ""
    return f'{head}{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = {arguments} {policy} }}\n'


# As much as one answer may parse.
COMMENTS = "#\n" * (MOST_PARSED // 2)


def why(appliance: Appliance, number: int = 1) -> list[str]:
    return appliance.say(f"sched why example.com-{number:09d}").splitlines()


def scheduled(appliance: Appliance, policy: str = "", sched: str = "", minutes: int = 1) -> None:
    """A job that runs a program every minute and has come due this often."""
    appliance.turn(appliance.read(files(policy, sched)))
    appliance.say("sched every 60 run p")
    for _ in range(minutes):
        appliance.after(MINUTE)


def down(appliance: Appliance, line: str, sched: str = "") -> None:
    """A job that came due three times while no appliance ran."""
    appliance.turn(appliance.read(files(sched=sched)))
    appliance.say(line)
    appliance.restart(3 * MINUTE + SECOND, files(sched=sched))
    appliance.turn()


def while_down(appliance: Appliance) -> Reason:
    down(appliance, "sched every 60 pid")
    return reasons.WHILE_DOWN


def while_busy(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 pid")
    appliance.after(3 * MINUTE)
    return reasons.WHILE_BUSY


def store_locked(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 pid")
    with closing(sqlite3.connect(str(appliance.path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        appliance.after(MINUTE)
        appliance.after(2 * MINUTE)
    appliance.after(SECOND)
    return reasons.degraded("the store cannot be written: database is locked")


def while_paused(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 pid")
    appliance.say(f"sched pause {ONE}")
    appliance.after(3 * MINUTE)
    appliance.say(f"sched resume {ONE}")
    return reasons.WHILE_PAUSED


def while_held(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 pid")
    appliance.say("sched hold a new disk")
    appliance.after(3 * MINUTE)
    appliance.say("sched release")
    return reasons.held("a new disk")


def until_release(appliance: Appliance) -> Reason:
    scheduled(appliance, minutes=0)
    appliance.say("sched hold")
    appliance.say(f"sched run {ONE}")
    return reasons.HELD


def too_old(appliance: Appliance) -> Reason:
    down(appliance, "sched every 60 pid", "catch_up_within = 0.5")
    return reasons.TOO_OLD


def not_made_up(appliance: Appliance) -> Reason:
    down(appliance, "sched every 60 pid", "catch_up = none")
    return reasons.NOT_MADE_UP


def no_shutdown(appliance: Appliance) -> Reason:
    down(appliance, "sched in 60 shutdown")
    return reasons.NO_SHUTDOWN


def overlap(appliance: Appliance) -> Reason:
    scheduled(appliance, minutes=2)
    return reasons.OVERLAP


def overlap_waiting(appliance: Appliance) -> Reason:
    busy(appliance, "", "max_running = 3")
    appliance.after(MINUTE)
    return reasons.OVERLAP_WAITING


def one_waits(appliance: Appliance) -> Reason:
    scheduled(appliance, "overlap = queue", minutes=3)
    return reasons.ONE_WAITS


def newer(appliance: Appliance) -> Reason:
    scheduled(appliance, "overlap = replace", minutes=2)
    appliance.turn(ended(FIRST, signal=15))
    return reasons.NEWER


def stopped_by(appliance: Appliance) -> Reason:
    scheduled(appliance, minutes=1)
    appliance.say(f"sched stop {ONE}/1")
    appliance.turn(ended(FIRST, signal=15))
    return reasons.stopped_by("operator")


def paused(appliance: Appliance) -> Reason:
    scheduled(appliance, "overlap = queue", minutes=2)
    assert appliance.say(f"sched pause {ONE}") == ""
    appliance.turn(ended(FIRST))
    return reasons.PAUSED


def deleted(appliance: Appliance) -> Reason:
    scheduled(appliance, "retries = 1 retry_delay = 600")
    appliance.turn(ended(FIRST, 3))
    assert appliance.say(f"sched delete {ONE}") == ""
    return reasons.DELETED


def deleted_when_done(appliance: Appliance) -> Reason:
    appliance.turn(appliance.read(files("retries = 1 retry_delay = 600")))
    appliance.say("run p")
    appliance.turn(ended(FIRST, 3))
    assert appliance.say(f"sched delete {ONE}") == ""
    return reasons.DELETED


def removed(appliance: Appliance) -> Reason:
    return called_off_by_the_files(appliance, "")


def switched_off(appliance: Appliance) -> Reason:
    return called_off_by_the_files(appliance, 'job "j" { every = 60 command = "run p" enabled = no }\n')


def called_off_by_the_files(appliance: Appliance, job: str) -> Reason:
    """A run that waits for its next attempt is cancelled."""
    policy = files("retries = 1 retry_delay = 600")
    appliance.turn(appliance.read(policy + 'job "j" { every = 60 command = "run p" }\n'))
    appliance.after(MINUTE)
    first = appliance.started()[-1].key.run
    appliance.turn(ended(first, 3))
    appliance.turn(appliance.read(policy + job))
    appliance.after(20 * MINUTE)
    assert appliance.started() == []
    return reasons.SWITCHED_OFF if job else reasons.REMOVED


def no_place(appliance: Appliance) -> Reason:
    busy(appliance, "", "max_running = 3")
    return reasons.no_place(3, 1)


def no_place_for(appliance: Appliance) -> Reason:
    busy(appliance, "max_running = 3", "")
    return reasons.no_place_for("p", 3, 1)


def kept_places(appliance: Appliance) -> Reason:
    appliance.turn(appliance.read(files("overlap = parallel", "max_running = 2")))
    for line in ("sched every 60 run p", "run p", "run p"):
        assert appliance.ask(line, User(2000, "guest")).ok
    appliance.after(MINUTE)
    return reasons.kept_places(1, 1)


def busy(appliance: Appliance, policy: str, sched: str) -> None:
    """The first job waits behind three running jobs and a queued one."""
    appliance.turn(appliance.read(files(policy, sched)))
    appliance.say("sched every 60 run p")
    appliance.turn(*[appliance.typed("run p") for _ in range(4)])
    appliance.after(MINUTE)


def any_place(appliance: Appliance) -> Reason:
    busy(appliance, "", "max_running = 3")
    return reasons.NO_PLACE


def too_many_wait(appliance: Appliance) -> Reason:
    """The first job of the guest waits for a place with each of its runs, until they are half of `max_jobs`."""
    guest = User(2000, "guest")
    program = 'program "takes" { argv = ( "/bin/work" ) overlap = parallel }\n'
    appliance.turn(appliance.read(f"sched {{ max_jobs = 2 max_running = 2 }}\n{program}"))
    assert appliance.ask("sched every 1 run takes", guest).ok
    for _ in range(6):
        appliance.after(SECOND)
    return reasons.TOO_MANY_WAIT


def short(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 run hello")
    appliance.after(MINUTE - SECOND // 2, appliance.typed("run hello"))
    appliance.turn(
        ProgramNotStarted(AttemptKey(RunKey(2, 1), 1), "cannot start /bin/echo: Cannot allocate memory", exhausted=True)
    )
    appliance.after(SECOND // 2)
    return reasons.SHORT


def no_output(appliance: Appliance) -> Reason:
    appliance.turn(OutputsChecked("outputs cannot be written to /var/out: Input/output error"))
    appliance.say("sched every 60 run hello")
    appliance.after(MINUTE)
    return reasons.NO_OUTPUT


def after_earlier(appliance: Appliance) -> Reason:
    scheduled(appliance, "overlap = queue", minutes=2)
    return reasons.AFTER_EARLIER


def after_replaced(appliance: Appliance) -> Reason:
    scheduled(appliance, "overlap = replace", minutes=2)
    return reasons.AFTER_REPLACED


def unreadable(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 pid")
    appliance.database.execute("UPDATE jobs SET grammar = 0, command = 'sched tomorrow pid'")
    appliance.after(MINUTE)
    return reasons.UNREADABLE


def timeout(appliance: Appliance) -> Reason:
    scheduled(appliance, "timeout = 5")
    appliance.after(5 * SECOND)
    appliance.turn(ended(FIRST, signal=15))
    return reasons.TIMEOUT


def stopped(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(StopRequested("SIGTERM"))
    appliance.turn(ended(FIRST, signal=15))
    appliance.restart(stanzas=files())
    return reasons.STOPPED


def while_running(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(has_pid(appliance.started()[0]))
    appliance.restart(stanzas=files())
    return reasons.WHILE_RUNNING


def perhaps_not_started(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.restart(stanzas=files())
    return reasons.PERHAPS_NOT_STARTED


def perhaps_not_started_by_its_keeper(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(ended(FIRST, None))
    return reasons.PERHAPS_NOT_STARTED


def outlived_with_output(appliance: Appliance) -> Reason:
    """Its start was not reported, but its output shows it."""
    scheduled(appliance)
    appliance.turn(ended(FIRST, None, output=b"said"))
    return reasons.OUTLIVED


def outlived(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.restart(stanzas=files(), survivors={AttemptKey(FIRST, 1): ProcessKey(300, 7)})
    appliance.turn(ended(FIRST, None))
    return reasons.OUTLIVED


def undeclared(appliance: Appliance) -> Reason:
    scheduled(appliance, minutes=0)
    appliance.turn(appliance.read(STANZAS))
    appliance.after(MINUTE)
    return reasons.undeclared("p")


def unfit(appliance: Appliance) -> Reason:
    scheduled(appliance, minutes=0)
    appliance.turn(appliance.read(files(arguments='( "[0-9]+" )')))
    appliance.after(MINUTE)
    return reasons.unfit("program `p` takes exactly 1 argument, not 0")


def unset(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 run unset")
    appliance.after(MINUTE)
    return reasons.unfit("option `nowhere_set` is not set")


def rejected(appliance: Appliance) -> Reason:
    appliance.say("sched every 60 sched delete example.com-000000009")
    appliance.after(MINUTE)
    return reasons.rejected(f"there is no job example.com-000000009; the nearest ids are {ONE}")


def not_started(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(ProgramNotStarted(AttemptKey(FIRST, 1), "cannot start /bin/work: No such file or directory"))
    return reasons.not_started("cannot start /bin/work: No such file or directory")


def start_again(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(
        ProgramNotStarted(AttemptKey(FIRST, 1), "cannot start /bin/work: Cannot allocate memory", exhausted=True)
    )
    return reasons.start_again("cannot start /bin/work: Cannot allocate memory")


def next_attempt(appliance: Appliance) -> Reason:
    scheduled(appliance, "retries = 1")
    appliance.turn(ended(FIRST, 3))
    return reasons.next_attempt(1, RunState.FAILED, reasons.exit_status(3))


def not_before(appliance: Appliance) -> Reason:
    start_again(appliance)
    recorded = "cannot start /bin/work: Cannot allocate memory; it is tried again"
    return reasons.not_before(recorded, time_text(appliance.clock.moment().wall + SECOND, UTC_ZONE))


def exit_status(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(ended(FIRST, 3))
    return reasons.exit_status(3)


def ended_by(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(ended(FIRST, signal=signal.SIGSEGV))
    return reasons.ended_by(signal.SIGSEGV)


def ended_by_a_number(appliance: Appliance) -> Reason:
    scheduled(appliance)
    appliance.turn(ended(FIRST, signal=signal.SIGRTMIN + 1))
    return reasons.ended_by(signal.SIGRTMIN + 1)


ALLOWED = 'Authorization { Role "r" { allow = ( "." ) users = ( "operator" ) } }\n'


def not_authorized(appliance: Appliance) -> Reason:
    """The role allows less than it did when the job was accepted."""
    appliance.turn(appliance.read(files() + ALLOWED))
    appliance.say("sched every 60 run p")
    appliance.turn(appliance.read(files() + ALLOWED.replace('"."', '"^(json )?sched (why|show|history) "')))
    appliance.after(MINUTE)
    return reasons.NOT_AUTHORIZED


def not_looked_up(appliance: Appliance) -> Reason:
    """The system cannot say who the user is, for a longer time than the appliance waits."""
    appliance.turn(appliance.read(files() + ALLOWED))
    appliance.say("sched in 3600 run p")
    appliance.people[1000] = KnownUser(1000, "uid-1000", problem="Too many open files")
    appliance.after(60 * MINUTE)
    appliance.after(PATIENCE_MS)
    appliance.people[1000] = KnownUser(1000, "operator")
    appliance.after(2 * SECOND)
    return reasons.not_looked_up(1000, "Too many open files")


def no_longer(appliance: Appliance) -> Reason:
    """The number of the user belongs to another name now."""
    appliance.turn(appliance.read(files() + ALLOWED))
    appliance.say("sched every 60 run p")
    appliance.people[1000] = KnownUser(1000, "somebody")
    appliance.after(MINUTE)
    appliance.people[1000] = KnownUser(1000, "operator")
    appliance.clock.advance(2 * SECOND)
    return reasons.no_longer(1000, "somebody", "operator")


def looked_up(appliance: Appliance) -> Reason:
    """A run that waited for an earlier one, while the look-up of its user is pending."""
    appliance.turn(appliance.read(files("overlap = queue") + ALLOWED.replace('"operator"', '"operator" "1001"')))
    assert appliance.ask("sched every 60 run p", User(1001, "uid-1001")).ok
    appliance.after(MINUTE)
    appliance.after(MINUTE)
    appliance.late.add(1001)
    appliance.after(2 * SECOND, ended(FIRST))
    return reasons.LOOKED_UP


CASES: dict[str, list[Callable[[Appliance], Reason]]] = {
    "WHILE_DOWN": [while_down],
    "WHILE_BUSY": [while_busy],
    "degraded": [store_locked],
    "WHILE_PAUSED": [while_paused],
    "held": [while_held],
    "TOO_OLD": [too_old],
    "NOT_MADE_UP": [not_made_up],
    "NO_SHUTDOWN": [no_shutdown],
    "OVERLAP": [overlap],
    "OVERLAP_WAITING": [overlap_waiting],
    "ONE_WAITS": [one_waits],
    "NEWER": [newer],
    "PAUSED": [paused],
    "DELETED": [deleted, deleted_when_done],
    "REMOVED": [removed],
    "SWITCHED_OFF": [switched_off],
    "stopped_by": [stopped_by],
    "HELD": [until_release],
    "NO_PLACE": [any_place],
    "TOO_MANY_WAIT": [too_many_wait],
    "SHORT": [short],
    "NO_OUTPUT": [no_output],
    "AFTER_EARLIER": [after_earlier],
    "AFTER_REPLACED": [after_replaced],
    "UNREADABLE": [unreadable],
    "NOT_AUTHORIZED": [not_authorized],
    "no_longer": [no_longer],
    "not_looked_up": [not_looked_up],
    "LOOKED_UP": [looked_up],
    "TIMEOUT": [timeout],
    "STOPPED": [stopped],
    "WHILE_RUNNING": [while_running],
    "PERHAPS_NOT_STARTED": [perhaps_not_started, perhaps_not_started_by_its_keeper],
    "OUTLIVED": [outlived, outlived_with_output],
    "undeclared": [undeclared],
    "unfit": [unfit, unset],
    "rejected": [rejected],
    "not_started": [not_started],
    "start_again": [start_again],
    "next_attempt": [next_attempt],
    "not_before": [not_before],
    "no_place": [no_place],
    "no_place_for": [no_place_for],
    "kept_places": [kept_places],
    "exit_status": [exit_status],
    "ended_by": [ended_by, ended_by_a_number],
}


def test_every_reason_has_a_case() -> None:
    """A reason that is added to the engine must be added here."""
    texts = {name for name, value in vars(reasons).items() if isinstance(value, str) and name.isupper()}
    makers = {
        name
        for name, value in inspect.getmembers(reasons, inspect.isfunction)
        if value.__module__ == reasons.__name__ and not name.startswith("_")
    }
    # These belong to alerts: a run that is late goes on, and tests/core/test_alerts.py tests which alerts are left out.
    assert CASES.keys() == (texts | makers) - {"longer_than_usual", "TOO_MANY_ALERTS"}


@pytest.mark.parametrize("produce", [case for cases in CASES.values() for case in cases])
def test_the_answer_shows_the_reason(appliance: Appliance, produce: Callable[[Appliance], Reason]) -> None:
    reason = produce(appliance)
    answer = "\n".join(why(appliance))
    lines = [
        line for line in answer.splitlines() if line.startswith(("its last run: ", "queued: ", "the last run that "))
    ]
    assert any(f": {reason}" in line for line in lines), answer
    runs = appliance.data(f"sched history {ONE}")
    assert any(run["reason"] is not None and run["reason"].startswith(reason) for run in runs), runs
    shown = [appliance.say(f"sched show {run['run']}") for run in runs]
    assert any(f": {reason}" in text for text in shown), shown


def _made(tree: ast.AST) -> list[int]:
    """The lines that make a reason of a text."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) in ("Reason", "cast")
        and "Reason" in ast.unparse(node)
    ]


def test_only_one_module_contains_the_texts_of_reasons() -> None:
    modules = Path(schedappliance.__file__).parent.rglob("*.py")
    assert {path.name for path in modules if _made(ast.parse(path.read_text()))} == {"reasons.py"}


@pytest.mark.parametrize("source", ["Reason('x')", "reasons.Reason(f'{x}')", "cast(Reason, 'x')", "cast('Reason', x)"])
def test_a_second_module_with_texts_of_reasons_is_found(source: str) -> None:
    assert _made(ast.parse(source)) == [1]


def test_it_shows_the_next_run(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.say("sched in 60 pid")
    either.turn(either.read(DECLARED + f'job "b" {{ at = {S + 5} command = pid }}\n'))
    assert why(either, 1) == [
        f"it runs next at {S + 60} (2023-11-14T22:14:20+00:00): 60 seconds after its last due time"
    ]
    assert why(either, 2) == [f"it runs once, at {S + 60} (2023-11-14T22:14:20+00:00)"]
    assert why(either, 3) == [
        f"it runs next at {S + 40} (2023-11-14T22:14:00+00:00): the next multiple of 60 seconds, as its stanza says"
    ]
    either.after(5 * SECOND)
    assert why(either, 4)[0] == "it does not run again: its due time has passed"


def test_it_shows_what_keeps_a_job_from_running(either: Appliance) -> None:
    either.turn(either.read(DECLARED))
    either.say(f"sched pause {ONE}")
    paused = "it does not run: it is paused; `sched resume` ends the pause"
    due = f"{S + 40} (2023-11-14T22:14:00+00:00)"
    assert why(either) == [paused, f"its next due time is {due}; it is missed unless the job is resumed before then"]
    either.after(MINUTE)
    assert why(either) == [paused, f"it was due at {due}: due times that pass while it is paused are not caught up"]
    either.turn(either.read(DECLARED.replace("every", "enabled = no every")))
    missed = f"its last run: {ONE}/1 missed: the job was paused, due {due}"
    assert why(either) == ["it does not run: its stanza has `enabled = false`", missed]


def test_it_shows_that_a_due_time_has_passed_because_the_store_cannot_be_written(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.database.full = True
    either.after(MINUTE)
    assert why(either) == [
        f"it has been due since {S + 60} (2023-11-14T22:14:20+00:00); it runs as soon as the run can be stored: "
        f"the store cannot be written: {DISK_FULL}"
    ]


def test_it_shows_that_a_due_job_runs_at_once(either: Appliance) -> None:
    either.say("sched in 60 pid")
    either.clock.advance(MINUTE)
    assert why(either) == [f"it has been due since {S + 60} (2023-11-14T22:14:20+00:00); it runs at once"]


@pytest.mark.parametrize(
    ("overlap", "meanwhile"),
    [
        ("skip", "is skipped"),
        ("queue", "waits for it, unless another run already waits"),
        ("parallel", "runs beside it"),
        ("replace", "takes its place"),
    ],
)
def test_it_shows_the_effect_of_a_live_run_on_the_next_one(either: Appliance, overlap: str, meanwhile: str) -> None:
    scheduled(either, f"overlap = {overlap}")
    expected = f"if its last run has not ended by then, the next one {meanwhile} (`overlap = {overlap}`)"
    assert why(either)[1:] == [expected, f"running: {ONE}/1, due {S + 60} (2023-11-14T22:14:20+00:00), for 0.0 s"]
    either.turn(ended(FIRST))
    assert expected not in why(either)


@pytest.mark.parametrize(
    ("later", "fault"),
    [
        (STANZAS, "program `p` is not declared since generation 3 (2023-11-14T22:13:21+00:00)"),
        (files(arguments='( "[0-9]+" )'), "program `p` takes exactly 1 argument, not 0"),
        (files().replace('"/bin/work"', '"/bin/work" "%{gone}"'), "option `gone` is not set"),
    ],
)
def test_it_shows_why_the_next_run_will_fail(either: Appliance, later: str, fault: str) -> None:
    scheduled(either, minutes=0)
    either.clock.advance(SECOND)
    for text in (later, f"{later}More = 1\n"):
        either.turn(either.read(text))
    assert why(either)[1:] == [f"it will fail: {fault}"]
    either.turn(either.read(files()))
    assert len(why(either)) == 1


def test_it_shows_that_the_command_of_a_job_is_no_longer_valid(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.database.execute("UPDATE jobs SET grammar = 0, command = 'sched tomorrow pid'")
    assert why(either)[1:] == ["it will fail: its command is no longer valid"]


def test_a_program_that_was_never_declared_is_not_called_removed(either: Appliance) -> None:
    scheduled(either, minutes=0)
    either.database.execute("UPDATE generations SET files = '[]'")
    either.turn(either.read(STANZAS))
    assert why(either)[1:] == ["it will fail: program `p` is not declared"]


def test_it_shows_the_last_run_and_the_last_failure(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.after(MINUTE)
    either.after(MINUTE)
    overlap = f"{ONE}/2 skipped: the job's last run has not ended, due {S + 120} (2023-11-14T22:15:20+00:00)"
    running = f"running: {ONE}/1, due {S + 60} (2023-11-14T22:14:20+00:00), for 1 min"
    assert why(either)[2:] == [running, f"its last run: {overlap}"]
    either.turn(ended(FIRST))
    either.after(MINUTE)
    either.turn(ended(THIRD))
    expected = [
        f"its last run: {ONE}/3 succeeded, due {S + 180} (2023-11-14T22:16:20+00:00), took 0.0 s",
        f"the last run that did not succeed: {overlap}",
    ]
    assert why(either)[1:] == expected
    runs = {run["occurrence"]: run for run in either.data(f"sched history {ONE}")}
    assert either.data(f"sched why {ONE}") == {
        "id": ONE,
        "name": None,
        "state": "waiting",
        "next_run_ms": START_MS + 4 * MINUTE,
        "interval_ms": MINUTE,
        "held": None,
        "calendar": None,
        "zone": None,
        "words": None,
        "live": [],
        "last_run": runs[3],
        "last_not_done": runs[2],
        "usual_ms": None,
        "next": [why(either)[0]],
        "now": [],
        "past": expected,
    }


def test_it_shows_how_long_the_runs_of_a_job_usually_take(either: Appliance) -> None:
    """The median of those that succeeded, up to the run that is asked for."""
    either.say("sched every 600 run sleep 5")
    either.after(5 * MINUTE)
    for number, (seconds, status) in enumerate([(20, 0), (90, 0), (1, 7), (30, 0), (40, 7), (100, 0)], 1):
        either.after(5 * MINUTE)
        either.after(seconds * SECOND, ended(RunKey(1, number), status))
        either.after(5 * MINUTE - seconds * SECOND)
        assert f", took {lasted_text(seconds * SECOND)}" in either.say(f"sched why {ONE}/{number}")
    usual = [either.data(f"sched why {ONE}/{number}")["usual_ms"] for number in (3, 4, 6)]
    assert usual == [None, 30_000, 30_000]
    assert why(either)[-1] == "its runs usually take 30 s"


def test_it_explains_one_run_by_its_id(either: Appliance) -> None:
    either.turn(either.read(files(sched="max_running = 1")))
    either.say("sched every 60 run p")
    either.turn(either.typed("run p"))
    either.after(MINUTE)
    either.after(MINUTE)
    place = "it waits for a place: as many programs run as `max_running` in `sched` allows (1)"
    times = [f"{S + 60 * minute} (2023-11-14T22:1{3 + minute}:20+00:00)" for minute in (1, 2)]
    queued = f"queued: {ONE}/1, due {times[0]}: {place}"
    assert either.say(f"sched why {ONE}/1") == queued
    (skipped,) = either.say(f"sched why {ONE}/2").splitlines()
    assert skipped.startswith(f"{ONE}/2 skipped: ")
    assert skipped.endswith(f", due {times[1]}")
    data, runs = either.data(f"sched why {ONE}/1"), either.data(f"sched history {ONE}")
    assert data == runs[1] | {"now": [queued], "past": [], "usual_ms": None}
    assert either.error(f"sched why {ONE}/3").startswith(f"there is no run {ONE}/3; ")


def test_it_counts_attempts_and_due_times(either: Appliance) -> None:
    scheduled(either, "retries = 1 retry_delay = 0")
    either.turn(ended(FIRST, 3))
    assert why(either)[2].endswith(f"{ONE}/1, due {S + 60} (2023-11-14T22:14:20+00:00), attempt 2, for 0.0 s")
    either.turn(ended(FIRST, 4, attempt=2))
    assert why(either)[1].endswith(
        f"{ONE}/1 failed: exit status 4, due {S + 60} (2023-11-14T22:14:20+00:00), after 2 attempts, took 0.0 s"
    )
    either.say(f"sched pause {ONE}")
    either.after(3 * MINUTE)
    either.say(f"sched resume {ONE}")
    times = f"3 due times from {S + 120} (2023-11-14T22:15:20+00:00) to {S + 240} (2023-11-14T22:17:20+00:00)"
    assert why(either)[1] == f"its last run: {ONE}/4 missed: the job was paused, {times}"


def test_a_queued_run_shows_how_many_wait_before_it_now(either: Appliance) -> None:
    either.turn(either.read(files(sched="max_running = 1")))
    either.turn(*[either.typed("run p") for _ in range(4)])
    gone = "no further run is planned after this one:"
    queued = f"queued: example.com-000000004/1, due {S} (2023-11-14T22:13:20+00:00): "
    queued += "it waits for a place: as many programs run as `max_running` in `sched` allows (1)"
    assert why(either, 4) == [gone, f"{queued}; 2 wait before it"]
    either.turn(ended(FIRST))
    assert why(either, 4) == [gone, f"{queued}; 1 wait before it"]
    either.turn(ended(RunKey(2, 1)))
    assert why(either, 4) == [gone, queued]


@pytest.mark.parametrize("command", ["pid", '"config set a 1"', "'config set a 1'", r'"config set a \"1\\2\""'])
def test_it_shows_since_when_a_job_is_no_longer_declared(either: Appliance, command: str) -> None:
    either.turn(either.read(f"{STANZAS}job a {{ every = 60 command = {command} }}\n"))
    either.after(MINUTE)
    either.turn(either.read(STANZAS))
    either.turn(either.read(f"{STANZAS}job b {{ every = 60 command = version }}\n"))
    gone = "it does not run again: since generation 3 (2023-11-14T22:14:20+00:00) no stanza has its command"
    assert why(either)[0] == gone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("older", "later", "is_dated"),
    [
        pytest.param("", COMMENTS, True, id="later files without the name are not parsed"),
        pytest.param("", f"# zebra\n{COMMENTS}", False, id="later files with the name are too long"),
        pytest.param(COMMENTS, "", False, id="the files that declare it are too long"),
        pytest.param("", COMMENTS * READ_OF_PARSED, False, id="later files are too long even to be read"),
    ],
)
def test_an_answer_parses_few_older_files(either: Appliance, older: str, later: str, is_dated: bool) -> None:
    either.turn(either.read(f'{STANZAS}program "zebra" {{ argv = ( "/bin/zebra" ) }}\n{older}'))
    either.say("sched every 60 run zebra")
    either.turn(either.read(f"{STANZAS}{later}"))
    since = f" since generation 3 ({local_text(START_MS, UTC_ZONE)})" if is_dated else ""
    assert why(either)[1:] == [f"it will fail: program `zebra` is not declared{since}"]


def test_files_that_are_too_long_are_not_read(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a hundred generations of 16 MiB would take seconds."""
    read: list[int] = []
    texts = Settings.texts

    def spy(settings: Settings, generation: int) -> dict[str, str] | None:
        read.append(generation)
        return texts(settings, generation)

    either.turn(either.read(f'{STANZAS}program "zebra" {{ argv = ( "/bin/zebra" ) }}\n'))
    either.say("sched every 60 run zebra")
    for text in (f"{STANZAS}{COMMENTS * 6}", STANZAS):
        either.turn(either.read(text))
    monkeypatch.setattr(Settings, "texts", spy)
    monkeypatch.setattr("schedappliance.commands.why.READ_OF_PARSED", 5)
    assert why(either)[1:] == ["it will fail: program `zebra` is not declared"]
    assert read == [4]


def test_files_that_did_not_change_are_parsed_once(either: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(source: Source) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
        parsed.append(source.name)
        return parse_stanzas(source)

    declaring = f'{STANZAS}program "zebra" {{ argv = ( "/bin/zebra" ) }}\n'
    either.turn(either.read(declaring))
    either.say("sched every 60 run zebra")
    named = f"{STANZAS}# zebra\n"
    for text in (named, STANZAS, named):
        either.turn(either.read(text))
    monkeypatch.setattr("schedappliance.commands.why.parse_stanzas", parse)
    assert "since generation 3" in why(either)[1]
    assert len(parsed) == 2


def test_a_job_whose_command_is_still_declared_may_have_been_made_by_another(either: Appliance) -> None:
    """The runs do not show whether a declared job scheduled it or a stanza was renamed."""
    declared = STANZAS + 'job "a" { every = 60 command = pid }\n'
    either.turn(either.read(declared))
    either.after(MINUTE)
    either.turn(either.read(declared.replace('"a"', '"b"')))
    assert why(either)[0] == "it does not run again: it is done, was deleted or is no longer declared"


def test_it_shows_that_the_current_files_are_rejected(either: Appliance) -> None:
    either.turn(either.read(DECLARED))
    before = why(either)
    either.turn(either.read(f'{DECLARED}job "new" {{ evry = 60 command = pid }}\n'))
    note = f"the stanza files read at {S} (2023-11-14T22:13:20+00:00) were rejected: see `config status`"
    assert why(either) == [before[0], note]
    assert either.error("sched why new").endswith(f"; {note}")
    either.turn(either.read(f'{DECLARED}job "new" {{ every = 60 command = pid }}\n'))
    assert why(either) == before
    assert len(either.say("sched why new").splitlines()) == 1


def test_it_shows_the_history_of_a_removed_job(either: Appliance) -> None:
    either.say("run hello")
    either.turn(ended(FIRST, 7))
    assert why(either) == [
        "it does not run again: it is done or was deleted",
        f"its last run: {ONE}/1 failed: exit status 7, due {S} (2023-11-14T22:13:20+00:00), took 0.0 s",
    ]
    either.say("sched in 60 pid")
    either.say("sched delete example.com-000000002")
    assert either.error("sched why example.com-000000002") == "there is no job example.com-000000002; there are no jobs"
