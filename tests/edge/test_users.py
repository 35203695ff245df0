"""Look-ups of users and their groups."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from schedappliance.edge.inbox import Inbox
from schedappliance.edge.users import Users, known_user
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import LookUpUsers
from schedappliance.engine.events import UsersLookedUp
from schedappliance.engine.records import KnownUser
from tests.support.waiting import eventually

UNKNOWN = 4_000_000_000


@pytest.mark.parametrize("entry", pwd.getpwall()[:20], ids=lambda entry: entry.pw_name)
def test_a_user_has_the_primary_and_the_supplementary_groups(entry: pwd.struct_passwd) -> None:
    known = known_user(entry.pw_uid)
    assert (known.uid, known.name) == (entry.pw_uid, pwd.getpwuid(entry.pw_uid).pw_name)
    wanted = {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if known.name in group.gr_mem)}
    assert known.gids == wanted
    assert known.groups == {group.gr_name for group in grp.getgrall() if group.gr_gid in wanted}


def test_a_number_without_an_entry_has_no_groups() -> None:
    assert known_user(UNKNOWN) == KnownUser(UNKNOWN, f"uid-{UNKNOWN}")


def test_a_group_without_an_entry_has_a_number_and_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda _name, _gid: [0, UNKNOWN])
    assert known_user(0).gids == {0, UNKNOWN}
    assert known_user(0).groups == {grp.getgrgid(0).gr_name}


def test_the_users_come_through_the_inbox() -> None:
    inbox = Inbox()
    worker = Worker("users", inbox)
    Users(inbox, worker).look_up(LookUpUsers((0, UNKNOWN)))
    (event,) = eventually(lambda: inbox.take(1), "the answer")
    assert event == UsersLookedUp((known_user(0), known_user(UNKNOWN)))
    worker.close()
