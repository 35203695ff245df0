"""`authz id` and `authz roles list`: Momentum's texts byte for byte, and the same as data."""

from __future__ import annotations

import pytest

from schedappliance.engine.records import KnownUser, User
from tests.support.core import OPERATOR, SECOND, STANZAS, Appliance, spoken

TOM = User(1001, "tom")

ROLES = """\
Authorization {
  Role "users" { allow = ( "^authz " )  groups = ( "users" ) }
  Role "admin" { allow = ( "." )  users = ( "operator" ) }
}
authorization < role 'fred & "co" <x>' < allow = ( "^pid$" )  users = ( tom ) > >
"""

ID = """\
<AuthzInformation username="tom">
  <Roles>
    <Role name="users"/>
  </Roles>
</AuthzInformation>
"""

LIST = """\
<Roles>
 <Role name="users"/>
 <Role name="admin"/>
 <Role name="fred &amp; &quot;co&quot; &lt;x&gt;"/>
</Roles>
"""


@pytest.fixture
def with_roles(appliance: Appliance) -> Appliance:
    appliance.people[TOM.uid] = KnownUser(*TOM, frozenset({"users"}))
    appliance.turn(appliance.read(STANZAS + ROLES))
    return appliance


def test_authz_id_shows_the_user_and_the_roles(with_roles: Appliance) -> None:
    with_roles.turn(with_roles.read(STANZAS + ROLES.replace("( tom )", "( nobody )")))
    assert spoken(with_roles.ask("authz id", TOM)) == ID
    assert spoken(with_roles.ask("json AUTHZ ID", TOM)) == '{"user": "tom", "uid": 1001, "roles": ["users"]}'


def test_the_roles_are_the_current_ones(with_roles: Appliance) -> None:
    assert with_roles.data("authz id")["roles"] == ["admin"]
    with_roles.people[OPERATOR.uid] = KnownUser(*OPERATOR, frozenset({"users"}))
    with_roles.clock.advance(2 * SECOND)
    assert with_roles.data("authz id")["roles"] == ["users", "admin"]


def test_the_roles_are_listed_in_the_order_of_the_files(with_roles: Appliance) -> None:
    assert with_roles.say("authz roles list") == LIST
    assert with_roles.data("authz roles list") == {
        "authorization": True,
        "roles": ["users", "admin", 'fred & "co" <x>'],
    }


def test_without_the_stanza_nobody_has_a_role(either: Appliance) -> None:
    empty = '<AuthzInformation username="operator">\n  <Roles>\n  </Roles>\n</AuthzInformation>\n'
    assert either.say("authz id") == empty
    assert either.say("authz roles list") == "<Roles>\n</Roles>\n"
    assert either.data("authz roles list") == {"authorization": False, "roles": []}


def test_a_declared_job_has_no_role(with_roles: Appliance) -> None:
    """Its user is not a user of the system, although it has the number of one."""
    with_roles.people[0] = KnownUser(0, "root", frozenset({"users"}))
    with_roles.turn(with_roles.read(STANZAS + ROLES + 'job "id" { every = 60 command = "json authz id" }\n'))
    with_roles.after(60 * SECOND)
    answers = with_roles.database.rows("SELECT answer FROM runs")
    assert answers == [('{"user": "@config", "uid": 0, "roles": []}',)]


def test_the_stanza_is_shown_as_in_a_file(with_roles: Appliance) -> None:
    assert "authorization {\n        Role users {\n                allow = (\n" in with_roles.say(
        "config showrecurse"
    ).replace('"', "")
    shown = with_roles.data("config showrecurse authorization")
    assert shown[0]["stanzas"][0] == {
        "stanza": "role",
        "name": "users",
        "options": {"allow": ["^authz "], "groups": ["users"]},
    }
    before = with_roles.state.configuration.authorization
    with_roles.turn(with_roles.read_exactly(with_roles.say("config showrecurse")))
    after = with_roles.state.configuration.authorization
    assert before and after
    assert [(r.name, r.allow, r.users, r.groups) for r in before.roles.values()] == [
        (r.name, r.allow, r.users, r.groups) for r in after.roles.values()
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config set authorization role admin", "set only in the stanza files"),
        ("config set Authorization x 5", "set only in the stanza files"),
        ("config get authorization role", "has no options of its own"),
        ("config unset authorization", "`config set` has set no option of `authorization`"),
        ("config show authorization role", "unexpected `role` after `authorization`"),
    ],
)
def test_only_the_files_can_change_the_stanza(with_roles: Appliance, line: str, message: str) -> None:
    assert message in with_roles.error(line)


def test_a_stanza_that_is_absent_is_not_shown_as_an_empty_one(either: Appliance) -> None:
    """An empty stanza would mean the opposite."""
    assert "everyone who can open the socket may run every command" in either.error("config show authorization")
    assert "uthorization" not in either.say("config showrecurse")
