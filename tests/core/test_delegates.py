"""Delegates: users who may give commands on behalf of others (`as` in a request)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from schedappliance.core.users import FRESH_MS, PATIENCE_MS
from schedappliance.engine.effects import Answer, LookUpUser
from schedappliance.engine.events import ConnectionClosed, LineTyped, UserLookedUp
from schedappliance.engine.records import NO_UID, KnownUser, User
from tests.support.core import OPERATOR, SECOND, STANZAS, Appliance, dump, some, spoken

ALICE, EVE, ROOT, WEB = User(1001, "alice"), User(1002, "eve"), User(0, "root"), User(990, "web")
PEOPLE = [KnownUser(*OPERATOR), KnownUser(*ALICE, frozenset({"users"}), frozenset({100}))]
PEOPLE += [KnownUser(*EVE, frozenset({"users"}), frozenset({100})), KnownUser(*ROOT), KnownUser(*WEB)]
AUTHORIZATION = """
Authorization {
    delegates = ( "web" )
    Role "all" { allow = ( "." )  users = ( "operator" "root" ) }
    Role "web" { allow = ( "^(sched|run|authz|config|pid)" )  users = ( "web" ) }
    Role "users" { allow = ( "^(sched|authz|config|shutdown)" )  groups = ( "users" ) }
}
"""


@pytest.fixture
def guarded(either: Appliance) -> Appliance:
    """`web` is a delegate. Alice may give some of its commands."""
    either.people = {known.uid: known for known in PEOPLE}
    either.turn(either.read(STANZAS + AUTHORIZATION))
    return either


Ask = Callable[..., Answer]


@pytest.fixture
def ask(guarded: Appliance) -> Ask:
    """Gives a line on behalf of a user."""

    def answer(line: str, name: str | None = "alice", user: User = WEB, connection: int = 0) -> Answer:
        event = guarded.typed(line, user)._replace(on_behalf_of=name, connection=connection)
        guarded.turn(event)
        return guarded.reply_to(event)

    return answer


def test_what_is_done_on_behalf_of_a_user_is_of_this_user_and_the_log_names_both(guarded: Appliance, ask: Ask) -> None:
    assert ask("sched in 60 sched list").ok
    audited = "info: user=alice uid=1001 by=web by_uid=990 origin=console command='sched in 60 sched list' ok"
    assert audited in guarded.logged()
    (job,) = guarded.data("sched list")
    assert (job["user"], job["origin"]) == ("alice", "console")
    guarded.after(60 * SECOND)
    assert guarded.data("sched history")[0]["state"] == "succeeded"
    assert "alice" in spoken(ask("authz id"))
    assert not ask("sched nonsense").ok
    audited = "warning: user=alice uid=1001 by=web by_uid=990 origin=console command='sched nonsense' rejected: "
    assert audited in guarded.logged()
    assert ask("config set colour red").ok
    assert ask("sched hold").ok
    assert guarded.state.status.hold is not None and guarded.state.status.hold.user == ALICE


@pytest.mark.parametrize(
    ("line", "denied"),
    [
        ("run hello", "no role of user `alice` allows `run hello`"),
        ("shutdown", "no role of user `web` allows `shutdown`"),
    ],
)
def test_the_roles_of_both_users_must_allow_a_command(guarded: Appliance, ask: Ask, line: str, denied: str) -> None:
    answer = ask(line)
    assert (answer.error, answer.diagnostics[0].text.partition(";")[0]) == ("Not Authorized for this command", denied)
    assert (
        f"warning: user=alice uid=1001 by=web by_uid=990 origin=console command='{line}' rejected" in guarded.logged()
    )
    assert spoken(ask(f"authz may {line}")) == f"no: {denied}\n"
    assert spoken(ask("authz may sched list")) == "yes\n"
    data = json.loads(spoken(ask(f"json authz may {line}")))
    assert (data["allowed"], data["roles"], data["delegate_roles"]) == (False, ["users"], ["web"])


@pytest.mark.parametrize(
    ("name", "user", "error"),
    [
        ("alice", EVE, "user `eve` may not give commands on behalf of `alice`"),
        ("nobody-knows", EVE, "user `eve` may not give commands on behalf of `nobody-knows`"),
        ("eve", EVE, "user `eve` may not give commands on behalf of `eve`"),
        # Not even the users who may do everything, unless the stanza names them.
        ("alice", ROOT, "user `root` may not give commands on behalf of `alice`"),
        ("alice", OPERATOR, "user `operator` may not give commands on behalf of `alice`"),
        ("alice", User(5, "nobody"), "Not Authorized for this command"),
        ("root", WEB, "nobody may give commands on behalf of user `root`"),
        ("nobody-knows", WEB, "there is no user `nobody-knows`"),
        ("0", WEB, "there is no user `0`"),
        ("@config", WEB, "there is no user `@config`"),
    ],
)
def test_nobody_but_a_delegate_gives_commands_on_behalf_of_others(
    guarded: Appliance, ask: Ask, name: str, user: User, error: str
) -> None:
    before = dump(guarded.store)
    answer = ask("sched in 60 sched list", name, user)
    assert answer.error is not None and answer.error.partition(";")[0] == error
    assert [diagnostic.code for diagnostic in answer.diagnostics] == ["E512"]
    assert dump(guarded.store) == before
    assert f"warning: user={user.name} uid={user.uid} origin=console command=" in guarded.logged().replace(
        "uid-5", "nobody"
    )
    assert (name in guarded.asked) == (user == WEB), "only a delegate makes the system look up a name"


def test_without_an_authorization_there_is_no_delegate(guarded: Appliance, ask: Ask) -> None:
    guarded.turn(guarded.read(STANZAS))
    for user in (WEB, ROOT):
        error = ask("sched in 60 pid", "alice", user).error
        assert error is not None and error.startswith(
            f"user `{user.name}` may not give commands on behalf of `alice`; `delegates` of"
        )
    assert guarded.data("sched list") == []


def test_a_job_given_on_behalf_of_a_user_runs_with_the_roles_of_this_user(guarded: Appliance, ask: Ask) -> None:
    """Also when the delegate has lost its own."""
    assert ask("sched in 60 sched list").ok and ask("sched in 90 sched list").ok
    guarded.turn(
        guarded.read(STANZAS + AUTHORIZATION.replace('delegates = ( "web" )', "").replace('users = ( "web" )', ""))
    )
    guarded.after(60 * SECOND)
    assert guarded.data("sched history")[0]["state"] == "succeeded"
    guarded.people[ALICE.uid] = KnownUser(*ALICE)
    guarded.after(30 * SECOND)
    assert guarded.data("sched history")[0]["reason"] == "not authorized"


def test_a_transaction_belongs_to_one_user(guarded: Appliance, ask: Ask) -> None:
    assert ask("config begin", connection=7).ok
    for line, name in (("config set colour red", "eve"), ("config commit", "operator"), ("config commit", None)):
        answer = ask(line, name, connection=7)
        assert answer.diagnostics[0].code == "E510"
        assert "a transaction of user `alice` is open on this connection" in answer.diagnostics[0].text
    assert ask("config set colour blue", "eve", connection=8).ok
    guarded.turn(ConnectionClosed(7))
    assert "user=alice uid=1001 by=web by_uid=990 origin=console the transaction is rolled back" in guarded.logged()


def test_lines_on_behalf_of_users_wait_for_them_and_keep_their_order(guarded: Appliance) -> None:
    guarded.clock.advance(2 * FRESH_MS)
    guarded.late = {"alice"}
    lines = [guarded.typed("sched list", WEB)._replace(on_behalf_of=name) for name in ("alice", "eve", None)]
    guarded.turn(*lines)
    (question,) = some(LookUpUser, guarded.effects)
    assert question.who == "alice" and guarded.asked[-1] == WEB.uid
    guarded.late = set()
    guarded.turn(guarded.looked_up(question))
    assert [guarded.reply_to(line).ok for line in lines] == [True] * 3


def test_no_command_is_given_on_behalf_of_a_user_who_cannot_be_looked_up(guarded: Appliance) -> None:
    guarded.late = {"alice"}
    line: LineTyped = guarded.typed("sched list", WEB)._replace(on_behalf_of="alice")
    guarded.turn(line)
    guarded.turn(UserLookedUp(KnownUser(NO_UID, "alice", problem="Connection refused"), "alice"))
    assert not guarded.effects
    guarded.after(PATIENCE_MS)
    assert guarded.reply_to(line).error == "user `alice` cannot be looked up: Connection refused; try again later"


def test_names_that_no_user_has_are_forgotten(guarded: Appliance, ask: Ask) -> None:
    for number in range(9):
        guarded.clock.advance(2 * FRESH_MS)
        ask("sched list", f"nobody-{number}")
    assert len([who for who in guarded.state.users._known if isinstance(who, str)]) == 1
