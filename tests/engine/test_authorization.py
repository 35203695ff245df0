"""Which roles a user has, and what a role allows."""

from __future__ import annotations

import pytest

from schedappliance.engine.authorization import not_allowed, roles_of, why_not_run
from schedappliance.engine.reasons import NOT_AUTHORIZED
from schedappliance.engine.records import KnownUser, User
from schedappliance.model.commands import Command, read_command
from schedappliance.model.configuration import Authorization
from tests.support.core import configuration

TOM = KnownUser(1000, "tom", frozenset({"tom", "users"}), frozenset({1000, 100}))


def authorization(*roles: str) -> Authorization:
    stanza = configuration(f"Authorization {{ {' '.join(roles)} }}\n").configuration.authorization
    assert stanza is not None
    return stanza


def command(line: str) -> Command:
    parsed = read_command(line).command
    assert parsed is not None
    return parsed


def role(members: str, allow: str = '"."', name: str = "r") -> str:
    return f'Role "{name}" {{ allow = ( {allow} ) {members} }}'


@pytest.mark.parametrize(
    "members",
    [
        "users = ( tom )",
        "users = ( 1000 )",
        "users = ( 01000 )",
        "users = ( nobody tom )",
        "groups = ( users )",
        "groups = ( 100 )",
        "users = ( nobody ) groups = ( tom )",
    ],
)
def test_a_role_names_users_and_groups_by_name_or_number(members: str) -> None:
    assert [role.name for role in roles_of(authorization(role(members)), TOM)] == ["r"]


@pytest.mark.parametrize(
    "members",
    [
        *("", "users = ( )", "users = ( Tom )", "users = ( to )", "users = ( users )", "users = ( 100 )"),
        *("groups = ( 1001 )", "groups = ( adm )", "groups = ( user )", "users = ( root 0 ) groups = ( root 0 )"),
    ],
)
def test_no_other_user_has_the_role(members: str) -> None:
    assert roles_of(authorization(role(members)), TOM) == []
    assert not_allowed(authorization(role(members)), TOM, command("pid")) == "pid"


def test_a_number_never_matches_a_name_that_looks_like_it() -> None:
    strange = KnownUser(7, "1000", frozenset({"100"}), frozenset({7}))
    assert roles_of(authorization(role("users = ( 1000 ) groups = ( 100 )")), strange) == []


@pytest.mark.parametrize(
    ("allow", "line", "rejected"),
    [
        ('"^run hello$"', "RUN  'hello'", None),
        ('"^run hello$"', "run hello x", "run hello x"),
        ('"^run hello$"', "run 'hello x'", 'run "hello x"'),
        ('"run"', "sched in 5 run x", None),
        ('"^run"', "sched in 5 run x", "sched in 5 run x"),
        ('"^sched"', "sched in 5 run x", "run x"),
        ('"^sched" "^run x$"', "sched in 5 run x", None),
        ('"^sched"', "sched every 60 sched in 5 run x", "run x"),
        ('"^sched every" "^run"', "sched every 60 sched in 5 run x", "sched in 5 run x"),
        ('"^run x$"', "run --wait x", "run --wait x"),
        ('"^run --wait x$"', "run --wait x", "run x"),
        ('"^run (--wait )?x$"', "run --wait x", None),
        ('"^run --wait"', "run '--wait' x", 'run "--wait" x'),
        ('"^sched list$"', "json sched list", None),
        ('"(?i)^RUN"', "run x", None),
        ('"^SCHED"', "SCHED LIST", "sched list"),
    ],
)
def test_patterns_are_searched_in_canonical_lines(allow: str, line: str, rejected: str | None) -> None:
    assert not_allowed(authorization(role("users = ( tom )", allow)), TOM, command(line)) == rejected


def test_each_command_may_be_allowed_by_another_role() -> None:
    roles = authorization(role("users = ( tom )", '"^sched in"', "a"), role("groups = ( users )", '"^run x$"', "b"))
    assert not_allowed(roles, TOM, command("sched in 5 run x")) is None
    others = authorization(role("users = ( tom )", '"^sched in"', "a"), role("groups = ( adm )", '"^run x$"', "b"))
    assert not_allowed(others, TOM, command("sched in 5 run x")) == "run x"


def test_a_job_runs_as_long_as_number_and_name_of_its_user_belong_together() -> None:
    roles = authorization(role("users = ( 1000 tom bob )", '"^run x$"'))
    assert why_not_run(roles, TOM, User(1000, "tom"), command("run x")) is None
    assert why_not_run(roles, TOM, User(1000, "tom"), command("run y")) == NOT_AUTHORIZED
    assert why_not_run(roles, TOM, User(1000, "uid-1000"), command("run x")) is None, "the number has the role"
    by_name = authorization(role("users = ( tom )", '"^run x$"'))
    assert why_not_run(by_name, TOM, User(1000, "uid-1000"), command("run x")) == NOT_AUTHORIZED
    assert why_not_run(roles, TOM, User(1000, "uid-1001"), command("run x")) is not None
    assert why_not_run(roles, TOM, User(1000, "bob"), command("run x")) == (
        "not authorized: user 1000 was `bob` and is `tom` now"
    )
