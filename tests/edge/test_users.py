"""Look-ups of users and their groups."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import threading
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from schedappliance.edge import linux, users
from schedappliance.edge.programs import accounts
from schedappliance.edge.threads import Inbox
from schedappliance.edge.users import (
    MOST_THREADS,
    LookUps,
    Users,
    known_after_tries,
    known_by_name,
    known_user,
    user_of,
)
from schedappliance.engine.effects import LookUpUser
from schedappliance.engine.events import UserLookedUp
from schedappliance.engine.records import NO_UID, KnownUser, User
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
    monkeypatch.setattr(linux, "groups_of", lambda _name, _gid: [0, UNKNOWN])
    assert known_user(0).gids == {0, UNKNOWN}
    assert known_user(0).groups == {grp.getgrgid(0).gr_name}


def test_the_users_come_through_the_inbox() -> None:
    inbox = Inbox()
    users = Users(inbox, LookUps())
    for who in (0, UNKNOWN, "root", "no-such-user"):
        users.look_up(LookUpUser(who))
    events = [event for _ in range(4) for event in eventually(lambda: inbox.take(1), "an answer")]
    assert {(event.known, event.asked) for event in events if isinstance(event, UserLookedUp)} == {
        (known_user(0), None),
        (known_user(UNKNOWN), None),
        (known_user(0), "root"),
        (KnownUser(NO_UID, "no-such-user"), "no-such-user"),
    }
    inbox.close()


def test_a_look_up_that_hangs_delays_no_other() -> None:
    look_ups, gate, made = LookUps(), threading.Event(), list[int]()
    for _ in range(3):
        look_ups.submit(partial(hang, gate))
    look_ups.submit(lambda: made.append(1))
    eventually(lambda: made, "the look-up behind those that hang")
    gate.set()


def test_look_ups_beyond_the_limit_of_threads_are_made_later() -> None:
    look_ups, gate, made = LookUps(), threading.Event(), list[int]()
    for _ in range(MOST_THREADS):
        look_ups.submit(partial(hang, gate))
    look_ups.submit(lambda: made.append(1))
    gate.set()
    eventually(lambda: made, "the last look-up")


def test_without_a_thread_the_look_up_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", cannot_start)
    inbox = Inbox()
    for who in (0, "alice"):
        Users(inbox, LookUps()).look_up(LookUpUser(who))
    problem = "the machine has no thread left"
    assert inbox.take(2) == [
        UserLookedUp(KnownUser(0, "uid-0", problem=problem)),
        UserLookedUp(KnownUser(NO_UID, "alice", problem=problem), "alice"),
    ]
    inbox.close()


def hang(gate: threading.Event) -> None:
    gate.wait()


def no_entry(_key: object) -> NoReturn:
    raise KeyError


def test_an_error_is_not_the_answer_that_there_is_no_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The C library reports an error, a file that cannot be read, or a user who is there after all."""
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert known_user(0).problem == os.strerror(errno.EAGAIN)
    monkeypatch.setattr(pwd, "getpwnam", no_entry)
    assert known_by_name("root") == KnownUser(NO_UID, "root", problem=os.strerror(errno.EAGAIN))
    monkeypatch.setattr(users, "PASSWD", str(tmp_path / "passwd"))
    assert known_user(UNKNOWN).problem == f"{tmp_path}/passwd: No such file or directory"
    (tmp_path / "passwd").touch()
    assert known_user(UNKNOWN).problem == f"{tmp_path}/passwd is empty", "an editor cuts it before it writes it again"


def test_groups_that_cannot_be_read_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accounts, "GROUP", str(tmp_path / "group"))
    assert known_user(0) == KnownUser(0, "uid-0", problem=f"{tmp_path}/group: No such file or directory")
    (tmp_path / "group").touch()
    assert known_user(0) == KnownUser(0, "uid-0", problem=f"{tmp_path}/group is empty")


def test_a_name_is_looked_up_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = iter([no_entry, no_entry])
    entry = pwd.getpwuid(0)
    monkeypatch.setattr(users, "AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: next(tries, lambda _uid: entry)(uid))
    assert known_after_tries(0, with_groups=False) == KnownUser(0, entry.pw_name)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert known_after_tries(0, with_groups=True) == KnownUser(0, "uid-0", problem=os.strerror(errno.EAGAIN))
    assert user_of(0) == User(0, "uid-0")
