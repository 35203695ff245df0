"""Users by number, as the system knows them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

from schedappliance.edge.inbox import Inbox
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import LookUpUsers
from schedappliance.engine.events import UsersLookedUp
from schedappliance.engine.records import KnownUser, User


def user_named(uid: int) -> User:
    """A user by number; may ask a directory service, so never on the deciding thread."""
    try:
        return User(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return User(uid, f"uid-{uid}")


def known_user(uid: int) -> KnownUser:
    """A user with all groups, primary and supplementary; one without an entry has none. May ask a directory service."""
    try:
        entry = pwd.getpwuid(uid)
        gids = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except (KeyError, OSError):
        return KnownUser(uid, user_named(uid).name)
    return KnownUser(uid, entry.pw_name, frozenset(_names(gids)), gids)


def _names(gids: frozenset[int]) -> Iterator[str]:
    for gid in gids:
        try:
            yield grp.getgrgid(gid).gr_name
        except KeyError:
            continue


@dataclass(frozen=True, slots=True)
class Users:
    """Answers who users are now, on a thread of its own."""

    inbox: Inbox
    worker: Worker

    def look_up(self, effect: LookUpUsers) -> None:
        self.worker.submit(lambda: self.inbox.post(UsersLookedUp(tuple(map(known_user, effect.uids)))))
