"""Look-ups of users and groups.

Rule: a look-up may ask a directory service that hangs, so the deciding thread makes none while it takes turns.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Unusable
from schedappliance.engine.events import UsersLookedUp
from schedappliance.engine.records import KnownUser, User

if TYPE_CHECKING:
    from schedappliance.edge.inbox import Inbox
    from schedappliance.edge.worker import Worker
    from schedappliance.engine.effects import LookUpUsers


def user_named(uid: int) -> User:
    """Looks a user up by number. A user without an entry gets the name `uid-NUMBER`."""
    try:
        return User(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return User(uid, f"uid-{uid}")


def known_user(uid: int) -> KnownUser:
    """Looks a user up with the primary and all supplementary groups. A user without an entry has no groups."""
    try:
        entry = pwd.getpwuid(uid)
        gids = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except (KeyError, OSError):
        return KnownUser(uid, user_named(uid).name)
    return KnownUser(uid, entry.pw_name, frozenset(_group_names(gids)), gids)


def _group_names(gids: frozenset[int]) -> Iterator[str]:
    for gid in gids:
        try:
            yield grp.getgrgid(gid).gr_name
        except KeyError:
            continue


def group_number(name: str, key: str) -> int:
    """The group that a key of the appliance file names; raises Unusable if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Unusable(f"there is no group {name}", f"correct `{key}`") from None


@dataclass(frozen=True, slots=True)
class Users:
    """Looks users up on a worker."""

    inbox: Inbox
    worker: Worker

    def look_up(self, effect: LookUpUsers) -> None:
        """Performs the effect LookUpUsers."""
        self.worker.submit(lambda: self.inbox.post(UsersLookedUp(tuple(map(known_user, effect.uids)))))
