"""Roles in the core: checked for every line and drop and again at each run, for users who were just looked up."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from schedappliance.core.reload import AUTHORIZATION_LOST
from schedappliance.core.turn import MOST_SLEPT_MS
from schedappliance.core.users import GRACE_MS, PATIENCE_MS, STANDS_MS
from schedappliance.engine.effects import LogMessage, LookUpUser, PublishResult, ReadFiles, Reply
from schedappliance.engine.events import ConnectionClosed, LineTyped, ReloadRequested, StopRequested, UserLookedUp
from schedappliance.engine.reasons import NOT_AUTHORIZED
from schedappliance.engine.records import Job, KnownUser, RunKey, User
from schedappliance.store.jobs import Jobs
from tests.support.core import (
    MINUTE,
    NODE,
    OPERATOR,
    SECOND,
    STANZAS,
    Appliance,
    agrees_with_its_store,
    dump,
    ended,
    some,
    spoken,
)

ERROR = "Not Authorized for this command"
BOB, EVE = User(1001, "bob"), User(1002, "eve")
PEOPLE = {
    OPERATOR.uid: KnownUser(*OPERATOR),
    BOB.uid: KnownUser(*BOB, frozenset({"users"}), frozenset({100})),
    EVE.uid: KnownUser(*EVE),
}
ADMIN = 'Role "admin" { allow = ( "." ) users = ( "operator" ) }'
PROGRAM = 'program "p" { argv = ( "/bin/work" ) args = any }\njob "tick" { every = 60  command = "run p tick" }\n'


def roles(*others: str) -> str:
    return f"{STANZAS}{PROGRAM}Authorization {{ {' '.join((ADMIN, *others))} }}\n"


def users_may(*allow: str) -> str:
    """Roles that allow members of `users` these patterns, and the operator everything."""
    listed = " ".join(f'"{pattern}"' for pattern in allow)
    return roles(f'Role "users" {{ allow = ( {listed} ) groups = ( users ) }}')


def answered(appliance: Appliance) -> list[int]:
    """The lines that were answered in the last turn."""
    return [reply.reply_to for reply in some(Reply, appliance.effects)]


@pytest.fixture
def guarded(either: Appliance) -> Appliance:
    """Bob may list the jobs and run one program; eve nothing; the operator everything."""
    either.people = dict(PEOPLE)
    either.turn(either.read(users_may("^sched list$", "^run p$", "^sched in [0-9]+ ", "^authz id$")))
    return either


@pytest.mark.parametrize(
    "line", ["config set a 1", "sched in 5 run p", "shutdown", "nonsense", f"sched stop {NODE}-000000001/1"]
)
def test_a_user_without_a_role_does_not_learn_that_the_store_cannot_be_written(guarded: Appliance, line: str) -> None:
    guarded.ask("pid", EVE)
    guarded.database.failing_commits = 9
    answer = guarded.ask(line, EVE)
    assert (answer.error, [diagnostic.code for diagnostic in answer.diagnostics]) == (ERROR, ["E512"])
    assert f"warning: user=eve uid=1002 origin=console command='{line}' rejected: {ERROR}" in guarded.logged()
    guarded.database.failing_commits = 9
    assert [diagnostic.code for diagnostic in guarded.ask("config set a 1").diagnostics] == ["E504"]


EVERYTHING = [
    *("help", "version", "quit", "pid", "summary", "summary reset", "shutdown", "authz id", "authz roles list"),
    *("sched list", "SCHED  LIST", "json sched list", "sched history", "sched show ID", "sched why ID", "sched run ID"),
    *("sched delete ID", "sched pause ID", "sched resume ID", "sched at 1795370460 pid", "sched in 5 pid"),
    *("sched every 60 sched in 5 run hello", "json sched in 5 json pid", "run hello", "run --wait hello", "run p"),
    *("health", "metrics", "preview", "authz may shutdown", "sched stop ID/1", "sched wait ID/1", "sched list find x"),
    *("sched hold x", "sched release", "sched pause --all", "sched resume n*"),
    *("run nosuch", "config get a", "config eval a", "config set a 1", "config unset a", "config show"),
    *("config showrecurse", "config begin", "config commit", "config rollback", "config reload", "config status"),
    *("config history", "config diff", "config set job tick command shutdown", "json help"),
]


@pytest.mark.parametrize(
    ("user", "first", "second", "carried_out"),
    [
        (OPERATOR, "sched run tick", "run p", "sched run tick"),
        (OPERATOR, "sched run p", "run p", "run p"),
        (OPERATOR, "sched run nobody", "run nobody", "run nobody"),
        (BOB, "sched run tick", "run p", "run p"),
        (BOB, "sched run tick", "run hello", "sched run tick"),
        (EVE, "sched run tick", "run p", "sched run tick"),
    ],
)
def test_a_client_that_gives_two_lines_has_one_of_them_carried_out_and_logged(
    guarded: Appliance, user: User, first: str, second: str, carried_out: str
) -> None:
    guarded.turn(guarded.typed(first, user)._replace(instead=second))
    logged = [line.partition("command=")[2] for line in guarded.logged().splitlines() if "origin=console" in line]
    commands = [line.partition(" rejected")[0].removesuffix(" ok") for line in logged]
    assert commands == [repr(carried_out)]


@pytest.mark.parametrize(
    "line", ["version", "json sched list limit 1000", "json sched incidents limit 11", "json config show"]
)
def test_what_nobody_typed_is_rejected_without_a_line_in_the_log(guarded: Appliance, line: str) -> None:
    """Each Tab at a prompt would otherwise look like an attack."""
    event = guarded.typed(line, EVE)
    guarded.turn(event._replace(quiet=True))
    assert guarded.reply_to(event).error == ERROR
    assert "origin=console" not in guarded.logged()
    guarded.turn(guarded.typed(line, EVE))
    assert "warning: user=eve uid=1002 origin=console" in guarded.logged()


def test_what_nobody_typed_is_answered_if_a_role_allows_it(guarded: Appliance) -> None:
    event = guarded.typed("version", OPERATOR)
    guarded.turn(event._replace(quiet=True))
    assert str(guarded.reply_to(event).output).startswith("# schedappliance version: ")


@pytest.mark.parametrize("line", ["run hello", "sched show tick", "sched in 5 sched list", "authz may sched list"])
def test_other_commands_cannot_be_tried_without_a_line_in_the_log(guarded: Appliance, line: str) -> None:
    event = guarded.typed(line, BOB)
    guarded.turn(event._replace(quiet=True))
    (mistake,) = guarded.reply_to(event).diagnostics
    assert (mistake.code, mistake.message[:27]) == ("E507", "`quiet` is allowed only for")
    assert "origin=console" in guarded.logged() and guarded.started() == []


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("pid", "run p"),
        ("pid", "sched run tick"),
        ("sched run p", "nonsense"),
        ("sched run p", "run --wait p"),
        ("sched in 5 sched run tick", "run p"),
    ],
)
def test_a_second_line_of_another_form_is_rejected(guarded: Appliance, first: str, second: str, full: bool) -> None:
    """Whether a line may be carried out while the store cannot be written, and whose jobs it runs, is seen in the first one."""
    guarded.database.full = full
    event = guarded.typed(first, BOB)._replace(instead=second)
    guarded.turn(event)
    (mistake,) = guarded.reply_to(event).diagnostics
    assert (mistake.code, mistake.source.text, bool(mistake.help)) == ("E507", second, True)
    assert guarded.started() == []
    event = guarded.typed(first, EVE)._replace(instead=second)
    guarded.turn(event)
    assert guarded.reply_to(event).error == ERROR


@pytest.mark.parametrize("line", EVERYTHING)
def test_a_user_without_a_role_can_do_nothing(guarded: Appliance, line: str) -> None:
    guarded.say("sched every 600 pid")
    line = line.replace("ID", "example.com-000000002")
    before = dump(guarded.store)
    answer = guarded.ask(line, EVE)
    assert (answer.error, answer.verbatim, answer.output) == (ERROR, True, "")
    assert [diagnostic.code for diagnostic in answer.diagnostics] == ["E512"]
    assert f"warning: user=eve uid=1002 origin=console command='{line}' rejected: {ERROR}" in guarded.logged()
    assert dump(guarded.store) == before
    assert not guarded.started() and not guarded.state.stopping and not some(ReadFiles, guarded.effects)


@pytest.mark.parametrize(
    ("line", "rejected"),
    [
        ("run 'p'", None),
        ("RUN\tp", None),
        ("json sched list", None),
        ("sched in 5 run p", None),
        ("run p x", "run p x"),
        ("run 'p x'", 'run "p x"'),
        ("run hello", "run hello"),
        ("sched in 5 run hello", "run hello"),
        ("sched in 5 sched in 5 pid", "pid"),
        ("sched in 5 json shutdown", "shutdown"),
        ("run p '\"^sched list$\"'", r'run p "\"^sched list$\""'),
        ("config set a 'run p'", 'config set a "run p"'),
        ("sched every 60 run p", "sched every 60 run p"),
    ],
)
def test_a_role_allows_a_command_in_any_spelling(guarded: Appliance, line: str, rejected: str | None) -> None:
    answer = guarded.ask(line, BOB)
    if rejected is None:
        assert answer.error is None
    else:
        assert answer.error == ERROR
        assert f"allows `{rejected}`" in answer.diagnostics[0].message


def test_a_drop_is_rejected_as_a_whole_and_its_result_says_why(guarded: Appliance) -> None:
    before = guarded.next_runs()
    published = guarded.drop("sched list\nrun p\nsched in 5 run helo\n", user=BOB)
    result: dict[str, Any] = json.loads(published.result)
    assert not published.accepted and result["results"] == []
    (diagnostic,) = result["diagnostics"]
    assert (diagnostic["code"], diagnostic["line"]) == ("E512", 3)
    assert diagnostic["message"] == "no role of user `bob` allows `run helo`"
    assert guarded.next_runs() == before
    assert "warning: user=bob uid=1001 origin=spool file='a.cmd' rejected: " in guarded.logged()
    assert not guarded.drop("sched list\n", mark="2~b.cmd", user=EVE).accepted
    assert guarded.drop("sched list\nsched in 5 run p\n", mark="3~c.cmd", user=BOB).accepted


def test_each_line_about_a_command_counts_for_its_user(guarded: Appliance) -> None:
    """The log limits these lines for each user."""
    assert guarded.ask("sched in 5 run p", BOB).ok
    assert not guarded.ask("run q", BOB).ok
    assert not guarded.ask("sched list", EVE).ok
    guarded.drop("run q\n", user=BOB)
    guarded.turn(guarded.read(users_may("^sched list$")))
    guarded.after(5 * SECOND)
    assert guarded.drop("sched list\n", mark="2~b.cmd", user=BOB).accepted
    counted = Counter((log.share, log.message.split()[2]) for log in some(LogMessage, guarded.past) if log.share)
    assert counted == {
        ("user=bob uid=1001 accepted", "origin=console"): 1,
        ("user=bob uid=1001 accepted", "origin=spool"): 1,
        ("user=bob uid=1001 rejected", "origin=console"): 1,
        ("user=bob uid=1001 rejected", "origin=spool"): 1,
        ("user=bob uid=1001 rejected", "origin=job"): 1,
        ("user=eve uid=1002 rejected", "origin=console"): 1,
        ("uid=1001 runs", "failed:"): 1,
    }


def test_a_job_accepted_under_older_roles_is_checked_again(guarded: Appliance) -> None:
    assert guarded.ask("sched in 5 run p", BOB).ok
    assert guarded.ask("sched in 5 sched in 5 run p", BOB).ok
    guarded.turn(guarded.read(users_may("^sched list$")))
    guarded.after(5 * SECOND)
    assert guarded.started() == []
    assert [(run.state, run.reason, run.user) for run in guarded.history()] == [("failed", "not authorized", "bob")] * 2
    assert "warning: run example.com-000000002/1 failed: not authorized" in guarded.logged()
    assert "user=bob uid=1001 origin=job command='run p' rejected: not authorized" in guarded.logged()
    assert (
        guarded.say("sched why example.com-000000002")
        .splitlines()[1]
        .startswith("its last run: example.com-000000002/1 failed: not authorized, due ")
    )
    agrees_with_its_store(guarded)


def test_a_job_accepted_before_there_were_roles_is_checked(either: Appliance) -> None:
    either.people = dict(PEOPLE)
    assert either.ask("sched every 60 shutdown", EVE).error
    assert either.ask("sched every 60 run hello", EVE).ok
    assert either.ask("sched in 5 shutdown", EVE).ok
    either.turn(either.read(roles()))
    either.after(MINUTE)
    assert [start.argv for start in either.started()] == [("/bin/work", "tick")] and not either.state.stopping
    assert {run.reason for run in either.history(1) + either.history(2)} == {NOT_AUTHORIZED}


def test_a_recurrent_job_runs_again_when_a_role_allows_it_again(guarded: Appliance) -> None:
    guarded.turn(guarded.read(users_may("^sched every", "^run p$")))
    assert guarded.ask("sched every 60 run p", BOB).ok
    guarded.turn(guarded.read(users_may("^sched every")))
    guarded.after(MINUTE)
    guarded.turn(guarded.read(users_may("^run p$")))
    guarded.after(MINUTE)
    assert [run.state for run in guarded.history(2)] == ["failed", "started"]


def test_sched_why_says_that_the_next_run_will_fail(guarded: Appliance) -> None:
    assert guarded.ask("sched in 50 run p", BOB).ok
    guarded.turn(guarded.read(users_may("^sched list$")))
    assert "it will fail: not authorized" in guarded.say("sched why example.com-000000002").splitlines()


def test_the_groups_of_a_user_are_those_at_the_time_of_the_run(guarded: Appliance) -> None:
    assert guarded.ask("sched in 5 run p", BOB).ok
    guarded.people[BOB.uid] = KnownUser(*BOB)
    guarded.after(5 * SECOND)
    (run,) = guarded.history(2)
    assert (run.state, run.reason) == ("failed", "not authorized")
    assert guarded.ask("sched list", BOB).error == ERROR


def test_number_and_name_must_belong_together_at_the_run(guarded: Appliance) -> None:
    assert guarded.ask("sched in 5 run p", BOB).ok
    guarded.people[BOB.uid] = KnownUser(BOB.uid, "carol", frozenset({"users"}), frozenset({100}))
    guarded.after(5 * SECOND)
    (run,) = guarded.history(2)
    assert (run.state, run.reason) == ("failed", "not authorized: user 1001 was `bob` and is `carol` now")
    # The user of a line is whoever has the number now.
    assert guarded.ask("sched in 5 run p", BOB).ok
    assert "job: user=bob" not in guarded.logged()
    guarded.after(5 * SECOND)
    assert [(run.state, run.user) for run in guarded.history(3)] == [("started", "carol")]


def test_a_queued_run_is_checked_at_its_start(guarded: Appliance) -> None:
    guarded.turn(guarded.read("sched { max_running = 1 }\n" + users_may("^run p$")))
    guarded.turn(guarded.typed("run p", BOB), guarded.typed("run p", BOB))
    assert len(guarded.started()) == 1
    guarded.turn(guarded.read("sched { max_running = 1 }\n" + users_may("^run$")))
    guarded.after(2 * SECOND, ended(RunKey(2, 1)))
    assert guarded.started() == []
    assert [(run.state, run.reason) for run in guarded.history(3)] == [("failed", "not authorized")]
    agrees_with_its_store(guarded)


def test_a_retry_is_checked_too(guarded: Appliance) -> None:
    stanzas = users_may("^run p$").replace("args = any", "args = any retries = 3")
    guarded.turn(guarded.read(stanzas))
    assert guarded.ask("run p", BOB).ok
    guarded.turn(ended(RunKey(2, 1), 1))
    guarded.turn(guarded.read(stanzas.replace("^run p$", "^pid$")))
    guarded.after(20 * SECOND)
    (run,) = guarded.history(2)
    assert (run.state, run.reason, run.attempts) == ("failed", "not authorized", 1)


def test_declared_jobs_need_no_role(either: Appliance) -> None:
    either.turn(either.read(f"{STANZAS}{PROGRAM}Authorization {{ }}\n"))
    either.after(MINUTE)
    assert [start.argv for start in either.started()] == [("/bin/work", "tick")]
    assert either.asked == []


def test_a_rejected_run_triggers_on_failure(guarded: Appliance) -> None:
    """`on_failure` answers this failure too, and needs no role."""
    answered = 'program "p" { argv = ( "/bin/work" ) args = any on_failure = "run hello" }\n'
    stanzas = users_may("^run p$", "^sched in").replace(PROGRAM, answered)
    guarded.turn(guarded.read(stanzas))
    assert guarded.ask("sched in 5 run p", BOB).ok
    guarded.turn(guarded.read(stanzas.replace("^run p$", "^pid$")))
    guarded.after(5 * SECOND)
    guarded.turn()
    assert [start.argv for start in guarded.started()] == [("/bin/echo", "hello")]


def test_a_job_runs_by_the_roles_of_its_own_user_whoever_runs_it(guarded: Appliance) -> None:
    stanzas = users_may("^sched ", "^run p$")
    guarded.turn(guarded.read(stanzas))
    guarded.say("sched in 600 run hello")
    assert guarded.ask("sched in 600 run p", BOB).ok
    guarded.clock.advance(2 * SECOND)
    # Bob may not `run hello`, the operator may.
    assert guarded.ask("sched run example.com-000000002", BOB).ok
    assert [start.argv for start in guarded.started()] == [("/bin/echo", "hello")]
    # The operator may `run p`, bob no longer.
    guarded.turn(guarded.read(stanzas.replace("^run p$", "^pid$")))
    guarded.clock.advance(2 * SECOND)
    answer = guarded.ask("sched run example.com-000000003")
    assert (answer.output, answer.error) == (
        "example.com-000000003/1",
        "run example.com-000000003/1 failed: not authorized",
    )
    assert [(run.state, run.reason) for run in guarded.history(3)] == [("failed", "not authorized")]


def test_a_job_that_runs_another_user_s_job_is_checked_for_both_users(guarded: Appliance) -> None:
    guarded.turn(guarded.read(users_may("^sched ", "^run p$")))
    assert guarded.ask("sched in 600 run p", BOB).ok
    guarded.say("sched in 5 sched run example.com-000000002")
    guarded.after(5 * SECOND)
    assert [start.argv for start in guarded.started()] == [("/bin/work",)]
    assert guarded.asked[-2:] == [OPERATOR.uid, BOB.uid]


def test_only_the_lines_of_an_unknown_user_are_held(guarded: Appliance) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {BOB.uid}
    lines = [guarded.typed(line, BOB) for line in ("sched list", "run p", "shutdown")]
    guarded.turn(*lines[:2])
    (question,) = some(LookUpUser, guarded.effects)
    assert question.who == BOB.uid and answered(guarded) == []
    # One look-up is enough. Other users and declared jobs do not wait.
    other = guarded.typed("pid")
    guarded.after(MINUTE, lines[2], other)
    assert answered(guarded) == [other.reply_to]
    assert len(guarded.started()) == 1 and some(LookUpUser, guarded.effects) == []
    guarded.turn(guarded.looked_up(question))
    assert answered(guarded) == [line.reply_to for line in lines]
    assert [guarded.reply_to(line).error for line in lines] == [None, None, ERROR]
    assert guarded.state.statistics.commands == len(lines) + 1


def test_a_drop_that_waits_for_its_user_is_explained(guarded: Appliance) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {BOB.uid}
    guarded.turn(guarded.dropped("sched list\n", "1~b.cmd", user=BOB))
    (question,) = some(LookUpUser, guarded.effects)
    why = f"waits for the look-up of user {BOB.uid}"
    assert guarded.say("spool why b").endswith(f": it {why}\n")
    assert [(row["file"], row["state"], row["answer"]) for row in guarded.data("spool list")] == [
        ("b.cmd", "waiting", why)
    ]
    guarded.turn(guarded.looked_up(question))
    assert [row["state"] for row in guarded.data("spool why b")] == ["done"]


def test_lines_of_one_user_do_not_overtake_each_other(guarded: Appliance) -> None:
    """The second look-up concerns only the same user, who is known."""
    guarded.turn(guarded.read(users_may("^sched ", "^run p$", "^config set")))
    guarded.say("sched in 600 run p")
    guarded.clock.advance(2 * SECOND)
    guarded.late = {OPERATOR.uid}
    assert guarded.ask("sched list", BOB).ok
    lines = [guarded.typed(line, BOB) for line in ("sched run example.com-000000002", "config set a 1")]
    guarded.turn(*lines)
    (question,) = some(LookUpUser, guarded.effects)
    assert question.who == OPERATOR.uid and answered(guarded) == []
    guarded.turn(guarded.looked_up(question))
    assert answered(guarded) == [line.reply_to for line in lines]


def test_a_user_whose_answer_became_old_during_another_look_up_is_looked_up_again(guarded: Appliance) -> None:
    guarded.turn(guarded.read(users_may("^sched ", "^run p$")))
    guarded.say("sched in 600 run p")
    guarded.clock.advance(2 * SECOND)
    guarded.late = {OPERATOR.uid}
    line = guarded.typed("sched run example.com-000000002", BOB)
    guarded.turn(line)
    (question,) = some(LookUpUser, guarded.effects)
    guarded.after(5 * SECOND, guarded.looked_up(question))
    assert answered(guarded) == [line.reply_to] and guarded.asked[-1] == BOB.uid


def test_only_the_due_jobs_of_an_unknown_user_are_held(guarded: Appliance) -> None:
    assert guarded.ask("sched in 5 run p", BOB).ok
    guarded.say("sched in 5 run hello")
    guarded.late = {BOB.uid}
    guarded.after(5 * SECOND)
    assert [start.argv for start in guarded.started()] == [("/bin/echo", "hello")]
    (question,) = some(LookUpUser, guarded.effects)
    # The job is due but cannot be claimed: the loop sleeps until the answer or the next job of another user.
    assert guarded.core.wake()[0] == guarded.next_runs()[0][1] != guarded.next_runs()[1][1]
    guarded.after(GRACE_MS - 1)
    assert guarded.started() == [] and some(LookUpUser, guarded.effects) == []
    guarded.turn(guarded.looked_up(question))
    assert [start.argv for start in guarded.started()] == [("/bin/work",)]
    agrees_with_its_store(guarded)


def test_a_thousand_unclaimable_jobs_of_one_user_delay_no_other_user(guarded: Appliance) -> None:
    guarded.drop("sched in 5 run p\n" * 1500, user=BOB)
    guarded.say("sched in 6 pid")
    guarded.late = {BOB.uid}
    guarded.after(7 * SECOND)
    for _ in range(2):
        guarded.turn()
    assert [run.command for run in guarded.history()] == ["pid"]


def test_the_loop_looks_again_soon_while_a_user_is_looked_up(guarded: Appliance) -> None:
    """The next job of another user may come after any number of jobs of this one, all of which would be read."""
    guarded.turn(guarded.read(users_may("^sched ", "^run p$").replace("every = 60", "every = 10d")))
    guarded.say("sched in 864000 run hello")
    for seconds in (5, 600):
        assert guarded.ask(f"sched in {seconds} run p", BOB).ok
    guarded.late = {BOB.uid}
    guarded.after(5 * SECOND)
    assert guarded.core.wake()[0] == guarded.clock.moment().wall + MOST_SLEPT_MS


def failed(uid: int | str, problem: str = "Too many open files") -> UserLookedUp:
    assert isinstance(uid, int)
    return UserLookedUp(KnownUser(uid, f"uid-{uid}", problem=problem))


def test_a_failed_look_up_is_repeated_and_is_no_answer(guarded: Appliance) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {EVE.uid, BOB.uid}
    line = guarded.typed("sched list", BOB)
    guarded.turn(line)
    guarded.turn(failed(BOB.uid))
    assert answered(guarded) == []
    assert guarded.core.wake()[1] == guarded.clock.moment().boot + SECOND
    guarded.after(SECOND)
    (question,) = some(LookUpUser, guarded.effects)
    guarded.turn(guarded.looked_up(question))
    assert guarded.reply_to(line).ok


def test_a_look_up_that_always_fails_is_repeated_for_a_bounded_time(guarded: Appliance) -> None:
    guarded.late = {BOB.uid}
    line, asked = guarded.typed("sched list", BOB), 0
    guarded.turn(line)
    began = guarded.clock.moment().boot
    while not answered(guarded):
        questions = some(LookUpUser, guarded.effects)
        asked += len(questions)
        guarded.turn(*[failed(question.who) for question in questions])
        boot, wake = guarded.clock.moment().boot, guarded.core.wake()[1]
        assert wake is not None
        guarded.after(wake - boot)
    assert guarded.clock.moment().boot - began == PATIENCE_MS
    assert PATIENCE_MS // SECOND - 1 <= asked <= PATIENCE_MS // SECOND + 1
    answer = guarded.reply_to(line)
    assert answer.error == ERROR
    assert answer.diagnostics[0].message == (
        f"user {BOB.uid} cannot be looked up, so its roles are not known: Too many open files"
    )


def test_while_look_ups_fail_only_the_first_lines_wait(guarded: Appliance) -> None:
    """A probe asks for the health again and again. The roles by number apply to a user who cannot be looked up."""
    role = f'Role "probe" {{ allow = ( "^health$" ) users = ( "{BOB.uid}" ) }}'
    guarded.turn(guarded.read(roles(role)))
    guarded.late = {BOB.uid}
    began = guarded.clock.moment().boot
    waits = list[int]()
    while (asked := guarded.clock.moment().boot) - began < 3 * STANDS_MS:
        line = guarded.typed("health", BOB)
        guarded.turn(line)
        while not answered(guarded):
            guarded.after(SECOND, *[failed(question.who) for question in some(LookUpUser, guarded.effects)])
        assert guarded.reply_to(line).ok
        waits.append(guarded.clock.moment().boot - asked)
        for _ in range(30):
            guarded.after(SECOND, *[failed(question.who) for question in some(LookUpUser, guarded.effects)])
    assert max(waits[1:]) <= SECOND < waits[0]


def test_a_job_fails_with_the_problem_of_the_look_up(guarded: Appliance) -> None:
    assert guarded.ask("sched in 3600 run p", BOB).ok
    guarded.late = {BOB.uid}
    guarded.after(60 * MINUTE)
    guarded.turn(failed(BOB.uid))
    guarded.after(PATIENCE_MS - 1)
    assert guarded.history(2) == []
    guarded.turn(*[failed(question.who) for question in some(LookUpUser, guarded.effects)])
    guarded.after(1)
    assert [(run.state, run.reason) for run in guarded.history(2)] == [
        ("failed", f"not authorized: user {BOB.uid} cannot be looked up: Too many open files")
    ]


@pytest.mark.parametrize("fails", [True, False])
def test_the_last_answer_stands_while_a_new_one_does_not_come(guarded: Appliance, fails: bool) -> None:
    assert guarded.ask("sched list", BOB).ok
    guarded.late = {BOB.uid}
    line = guarded.typed("run p", BOB)
    guarded.after(2 * SECOND, line)
    assert answered(guarded) == []
    if fails:
        guarded.turn(failed(BOB.uid))
    else:
        assert guarded.core.wake()[1] == guarded.clock.moment().boot + GRACE_MS
        guarded.after(GRACE_MS)
    assert guarded.reply_to(line).ok
    # The question has no answer yet, so the next line waits for nothing.
    assert guarded.ask("run p", BOB).ok


def test_an_answer_does_not_stand_for_ever(guarded: Appliance) -> None:
    assert guarded.ask("sched list", BOB).ok
    guarded.late = {BOB.uid}
    line = guarded.typed("run p", BOB)
    guarded.after(STANDS_MS + 1, line)
    guarded.after(GRACE_MS)
    assert answered(guarded) == []


def test_each_user_has_a_look_up_of_its_own(guarded: Appliance) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {BOB.uid, EVE.uid}
    bobs, eves = guarded.typed("sched list", BOB), guarded.typed("sched list", EVE)
    guarded.turn(bobs, eves)
    assert [question.who for question in some(LookUpUser, guarded.effects)] == [BOB.uid, EVE.uid]
    guarded.turn(UserLookedUp(guarded.person(EVE.uid)))
    assert answered(guarded) == [eves.reply_to]


def test_a_drop_is_held_until_its_user_is_known(guarded: Appliance) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {BOB.uid}
    guarded.turn(guarded.dropped("sched list\n", user=BOB))
    assert some(PublishResult, guarded.effects) == []
    (question,) = some(LookUpUser, guarded.effects)
    guarded.turn(guarded.looked_up(question))
    (published,) = some(PublishResult, guarded.effects)
    assert published.accepted


def test_a_look_up_is_valid_for_a_second(guarded: Appliance) -> None:
    for after in (0, SECOND, 1):
        guarded.clock.advance(after)
        assert guarded.ask("sched list", BOB).ok
    assert guarded.asked == [BOB.uid] * 2


@pytest.mark.parametrize("at_once", [True, False])
def test_held_lines_are_answered_when_the_store_fails_meanwhile(guarded: Appliance, at_once: bool) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {BOB.uid}
    lines = [guarded.typed("sched list", BOB), guarded.typed("sched in 5 run p", BOB)]
    guarded.database.failing_commits = 1 if at_once else 0
    guarded.turn(*lines)
    (question,) = some(LookUpUser, guarded.effects)
    guarded.database.failing_commits = 0 if at_once else 2
    guarded.after(2 * SECOND, guarded.looked_up(question))
    answers = [guarded.reply_to(line) for line in lines]
    assert answers[0].ok
    assert answers[1].ok or "the store cannot be written" in str(answers[1].error)
    guarded.database.failing_commits = 0
    guarded.after(2 * SECOND)
    agrees_with_its_store(guarded)


def test_held_lines_are_answered_when_the_appliance_stops(guarded: Appliance) -> None:
    guarded.clock.advance(2 * SECOND)
    guarded.late = {BOB.uid}
    line = guarded.typed("run p", BOB)
    guarded.turn(line)
    (question,) = some(LookUpUser, guarded.effects)
    guarded.turn(StopRequested("SIGTERM"), guarded.looked_up(question))
    assert "stopping" in str(guarded.reply_to(line).error)


def test_roles_loaded_in_the_turn_of_a_line_apply_to_it(either: Appliance) -> None:
    either.people = dict(PEOPLE)
    before, after = either.typed("pid", EVE), either.typed("pid", EVE)
    either.turn(before, either.read(roles()), after)
    assert either.reply_to(before).ok
    assert either.reply_to(after).error == ERROR


def test_a_reload_can_add_and_remove_the_roles(guarded: Appliance) -> None:
    assert guarded.ask("pid", EVE).error == ERROR
    guarded.turn(guarded.read(STANZAS))
    assert guarded.ask("pid", EVE).ok
    guarded.turn(guarded.read(roles().replace('"."', '"("')))
    assert guarded.ask("pid", EVE).ok, "invalid files change nothing"
    guarded.turn(ReloadRequested("SIGHUP"))
    (request,) = some(ReadFiles, guarded.effects)
    guarded.turn(guarded.read(f"{STANZAS}Authorization {{ }}\n", request.reply_to))
    assert guarded.ask("pid").error == ERROR, "every user is subject to the roles; an edit of the files ends a lockout"


@pytest.mark.parametrize(
    "line", ["config set sched max_running 5", "config set sched history 7", "config set program p timeout 5"]
)
def test_config_set_does_not_change_the_roles(guarded: Appliance, line: str) -> None:
    guarded.say(line)
    assert guarded.ask("pid", EVE).error == ERROR
    if guarded.path:
        guarded.restart(stanzas=users_may("^pid$"))
        assert guarded.ask("pid", EVE).error == ERROR
        assert guarded.ask("pid", BOB).ok


def test_with_roles_the_commands_of_declared_jobs_cannot_be_overridden(either: Appliance) -> None:
    """Declared jobs need no role, so an override would get around every role."""
    either.turn(either.read(STANZAS + PROGRAM))
    either.say("config set job tick command 'run hello'")
    either.turn(either.read(roles()))
    assert "option command of job" in either.logged() and "is dropped" in either.logged()
    assert "set only in the stanza files" in str(either.ask("config set job tick command shutdown").error)
    either.say("config set job tick every 30")
    either.after(MINUTE)
    assert [start.argv for start in either.started()] == [("/bin/work", "tick")]


def test_a_transaction_is_checked_line_by_line(guarded: Appliance) -> None:
    guarded.turn(guarded.read(users_may("^config (begin|commit)$")))
    lines = ["config begin", "config set a 1", "config commit"]
    assert [guarded.ask(line, BOB).error for line in lines] == [None, ERROR, None]
    assert guarded.ask("config get a").error


def test_a_role_for_run_also_allows_run_wait(guarded: Appliance) -> None:
    assert guarded.ask("run --wait p", BOB).error == ERROR
    guarded.turn(guarded.read(users_may("^run (--wait )?p$")))
    event = guarded.typed("run --wait p", BOB)
    guarded.turn(event)
    guarded.turn(ended(RunKey(2, 1), 0, output=b"done"))
    assert spoken(guarded.reply_to(event)) == "done"


@pytest.mark.parametrize(
    ("name", "shown"), [("bob", "bob"), ("a b", "'a b'"), ("x uid=0", "'x uid=0'"), ("bob\nroot", "'bob\\nroot'")]
)
def test_a_user_name_cannot_forge_a_log_message(either: Appliance, name: str, shown: str) -> None:
    either.ask("config set a 'x\ty'", User(7, name))
    assert f"info: user={shown} uid=7 origin=console command=\"config set a 'x\\ty'\" ok" in either.logged()


def test_only_a_part_of_a_rejected_line_is_logged(guarded: Appliance) -> None:
    guarded.ask(f"run p {'x' * 60_000}", EVE)
    assert len(guarded.logged()) < 1200
    assert "... (60006 characters) rejected: Not Authorized" in guarded.logged()


def test_only_a_part_of_an_accepted_line_is_logged(either: Appliance) -> None:
    """A user with the least role wrote 2.5 MB a second into the log, which nothing bounds."""
    answer = either.ask(f"sched in 600 config set a {'x' * 60_000}")
    assert answer.ok and len(either.logged()) < 1200
    assert f"command='sched in 600 config set a {'x' * 974}'... (60026 characters) ok" in either.logged()
    assert "x" * 60_000 in either.say("sched show example.com-000000001")


def test_only_a_part_of_a_job_s_command_is_logged_when_it_is_rejected(either: Appliance) -> None:
    assert either.ask(f"sched in 5 config unset {'x' * 60_000}").ok
    either.after(5000)
    assert "sched: command: config unset xxx" in either.logged()
    assert len(either.logged()) < 3000


def test_a_rejected_reading_command_is_logged_too(either: Appliance) -> None:
    either.ask("sched show example.com-000000009")
    assert "info: user=operator uid=1000 origin=console command='sched show example.com-000000009' rejected: " in (
        either.logged()
    )


@pytest.mark.parametrize("first", ["config begin", "pid"])
def test_a_connection_that_closes_does_not_overtake_its_lines_that_wait(either: Appliance, first: str) -> None:
    """Otherwise a line of a transaction that waits would be carried out after the rollback, outside the transaction."""
    either.people = dict(PEOPLE)
    either.turn(either.read(users_may("^config ", "^pid$")))
    either.turn(LineTyped(first, BOB, 101, 7))
    either.clock.advance(2 * SECOND)
    either.late = {BOB.uid}
    either.turn(LineTyped("config set message_expiration 5", BOB, 102, 7))
    either.turn(ConnectionClosed(7))
    question = some(LookUpUser, either.past)[-1]
    either.turn(either.looked_up(question))
    assert either.state.transactions == {}
    value = "86400" if first == "config begin" else "5"
    assert either.say("config get message_expiration") == f"Message_Expiration = {value}"


def test_a_job_that_runs_another_by_name_looks_up_the_owner_of_that_job_too(guarded: Appliance) -> None:
    chained = 'job "chain" { every = 1d command = "sched run example.com-000000002" }\n'
    text = users_may("^sched in [0-9]+ ", "^run p$").replace("Authorization", chained + "Authorization")
    assert guarded.ask("sched in 900 run p", BOB).ok
    guarded.turn(guarded.read(text))
    guarded.people[BOB.uid] = KnownUser(*BOB)
    guarded.clock.advance(10 * MINUTE)
    answer = guarded.ask("sched run chain")
    assert [start for start in guarded.started() if start.key.run.job == 2] == []
    assert [(run.state, run.reason) for run in guarded.history(2)] == [("failed", NOT_AUTHORIZED)], answer


def test_a_long_chain_of_jobs_is_not_followed(guarded: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded.turn(guarded.read(users_may("^sched in ", "^sched run ", "^run p$")))
    guarded.ask("sched in 1d run p", BOB)
    for number in range(2, 9):
        guarded.ask(f"sched in 1d sched run {NODE}-00000000{number}", BOB)
    read: list[int] = []
    get = Jobs.get

    def noted(jobs: Jobs, number: int) -> Job | None:
        read.append(number)
        return get(jobs, number)

    monkeypatch.setattr(Jobs, "get", noted)
    assert guarded.ask(f"sched run {NODE}-000000009", EVE).error == ERROR
    assert set(read) == {9, 8}
    read.clear()
    guarded.ask(f"sched in 1 sched run {NODE}-000000009", BOB)
    guarded.clock.advance(SECOND)
    guarded.turn()
    assert [run.state for run in guarded.history(10)] == ["failed"]
    assert min(read) >= 8


def test_digits_of_another_script_are_a_name(guarded: Appliance) -> None:
    guarded.turn(guarded.read(users_may("^pid$").replace("groups = ( users )", 'users = ( "²" ) groups = ( "٣" )')))
    assert guarded.ask("pid", BOB).error == ERROR
    assert guarded.ask("pid").ok


def test_files_that_drop_all_roles_cause_a_warning(guarded: Appliance) -> None:
    answer = guarded.reload_typed(STANZAS)
    jobs = "jobs: 0 added, 0 changed, 1 removed, 0 unchanged"
    assert spoken(answer) == f"OK\n{jobs}\nwarning: {AUTHORIZATION_LOST}"
    assert f"warning: {AUTHORIZATION_LOST}" in guarded.logged()
    assert f"warning: {AUTHORIZATION_LOST}" in guarded.say("config status").splitlines()
    assert guarded.data("config status")["warnings"] == [AUTHORIZATION_LOST]
    guarded.reload_typed(STANZAS)
    assert guarded.data("config status")["warnings"] == [AUTHORIZATION_LOST], "the generation does not change"
    guarded.turn(guarded.read(roles()))
    assert guarded.data("config status")["warnings"] == []


def test_a_reload_as_data_warns_about_removed_roles(guarded: Appliance) -> None:
    event = guarded.typed("json config reload")
    guarded.turn(event)
    guarded.turn(guarded.read(STANZAS, 1, typed=True))
    assert json.loads(spoken(guarded.reply_to(event)))["warnings"] == [AUTHORIZATION_LOST]


@pytest.mark.parametrize(
    "line", ["nonsense", "sched in x run hello", "config set program hello argv x", "sched show 9"]
)
def test_with_roles_every_rejection_is_logged_as_a_warning(guarded: Appliance, line: str) -> None:
    guarded.ask(line)
    assert f"warning: user=operator uid=1000 origin=console command='{line}' rejected: " in guarded.logged()


def test_only_a_part_of_an_invalid_line_is_logged(guarded: Appliance) -> None:
    guarded.ask("nonsense " * 7000)
    assert 0 < len(guarded.logged()) < 2500


NO_COMMANDS = [
    *("nonsense", "sched in x run hello", "config set program hello argv x", "sched show", "run 'x", "json", "json x"),
    *("config set program nope timeout 5", "sched why nope", "sched why tick", "config eval job nope every"),
]


@pytest.mark.parametrize("line", NO_COMMANDS)
def test_a_user_without_a_role_learns_nothing_whatever_the_line(guarded: Appliance, line: str) -> None:
    answer = guarded.ask(line, EVE)
    assert (answer.error, answer.verbatim) == (ERROR, True)
    assert [diagnostic.code for diagnostic in answer.diagnostics] == ["E512"]
    assert f"warning: user=eve uid=1002 origin=console command={line!r} rejected: {ERROR}" in guarded.logged()


def test_an_invalid_line_is_held_until_its_user_is_known(guarded: Appliance) -> None:
    guarded.late = {BOB.uid, EVE.uid}
    bobs, eves = guarded.typed("nonsense", BOB), guarded.typed("nonsense", EVE)
    asked = some(LookUpUser, guarded.turn(bobs, eves))
    assert answered(guarded) == []
    guarded.turn(*map(guarded.looked_up, asked))
    assert (guarded.reply_to(bobs).diagnostics[0].code, guarded.reply_to(eves).error) == ("E110", ERROR)


def test_the_result_of_a_user_without_a_role_says_nothing_else(guarded: Appliance) -> None:
    for number, text in enumerate(["nonsense\n", "sched list\nrun nope\nsched in x\n", ""]):
        result = json.loads(guarded.drop(text, mark=f"{number}~a.cmd", user=EVE).result)
        assert [(d["code"], d["message"]) for d in result["diagnostics"]] == [("E512", "user `eve` has no role")]
    result = json.loads(guarded.drop("nonsense\n", mark="9~a.cmd", user=BOB).result)
    assert [d["code"] for d in result["diagnostics"]] == ["E110"]


def test_a_user_who_may_not_list_jobs_does_not_learn_their_names(guarded: Appliance) -> None:
    guarded.turn(guarded.read(users_may("^sched why ")))
    answer = guarded.ask("sched why tikc", BOB)
    assert answer.error is not None
    assert "no job has the id or name `tikc`" in answer.error
    assert "tick" not in answer.error
    assert "did you mean `tick`?" in guarded.error("sched why tikc")
    guarded.turn(guarded.read(users_may("^config (get|set) job \\S+ every", "^sched show ")))
    for line in ("config get job tikc every", "config set job tikc every 5", "sched show n-000000999"):
        answer = guarded.ask(line, BOB)
        assert answer.error is not None
        assert "tick" not in answer.error
        assert "nearest" not in answer.error
    assert "did you mean `tick`?" in guarded.error("config get job tikc every")
    guarded.turn(guarded.read(users_may("^sched (why|list)")))
    assert "did you mean `tick`?" in str(guarded.ask("sched why tikc", BOB).error)
    assert "declared: `tick`" in str(guarded.ask("sched why nowhere-near", BOB).error)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("run p", "yes"),
        ("RUN   'p'", "yes"),
        ("json sched in 5 run p", "yes"),
        ("sched in 5 run hello", "no: no role of user `bob` allows `run hello`"),
        ("shutdown", "no: no role of user `bob` allows `shutdown`"),
    ],
)
def test_a_user_learns_what_the_roles_allow(guarded: Appliance, command: str, text: str) -> None:
    guarded.turn(guarded.read(users_may("^sched in [0-9]+ ", "^run p$", "^authz may ")))
    answer = guarded.ask(f"authz  may {command}", BOB)
    assert (answer.output, answer.exit_status) == (f"{text}\n", int(text != "yes"))
    assert not guarded.state.stopping and not guarded.started()


def test_without_roles_a_user_may_give_every_command(either: Appliance) -> None:
    data = either.data("authz may shutdown")
    assert data.pop("digest") == either.data("config status")["digest"]
    assert data == {"allowed": True, "denied": None, "roles": [], "delegate_roles": None}


def test_an_invalid_command_is_rejected_whether_or_not_it_is_allowed(either: Appliance) -> None:
    assert [mistake.code for mistake in either.ask("authz may frobnicate").diagnostics] == ["E110"]
