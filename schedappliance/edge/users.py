"""Asks the system for users and their groups: those of clients and drops, and those of the effect LookUpUser.

Rule: a look-up may ask a directory service that hangs, so the deciding thread makes none once the loop runs, and no
look-up waits for another one. An error of a look-up is reported as such: it does not mean that there is no such user.
"""

from __future__ import annotations

import grp
import pwd
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Unusable
from schedappliance.edge.programs.accounts import GROUP, PASSWD, LookUpFailed, check_missing, groups_of
from schedappliance.edge.threads import NO_THREAD
from schedappliance.engine.events import UserLookedUp
from schedappliance.engine.records import NO_UID, KnownUser, User

if TYPE_CHECKING:
    from schedappliance.edge.threads import Inbox
    from schedappliance.engine.effects import LookUpUser

# Look-ups at the same time; each hangs at most with one thread.
MOST_THREADS = 32
# How often the user of a client or a drop is looked up, if that fails.
TRIES, AGAIN_SECONDS = 10, 0.5


def user_of(uid: int) -> User:
    """Looks a user up by number, without groups.

    A user without an entry, or whose look-up fails, gets the name `uid-NUMBER`.
    """
    return _without_groups(uid).user


def known_after_tries(uid: int, with_groups: bool) -> KnownUser:
    """Looks a user up, several times if that fails. `with_groups`: also looks up the groups."""
    pause = threading.Event()
    for _ in range(TRIES):
        known = known_user(uid) if with_groups else _without_groups(uid)
        if known.problem is None:
            break
        pause.wait(AGAIN_SECONDS)
    return known


def _without_groups(uid: int) -> KnownUser:
    try:
        entry = _entry(uid)
    except LookUpFailed as error:
        return KnownUser(uid, f"uid-{uid}", problem=str(error))
    return KnownUser(uid, entry.pw_name if entry else f"uid-{uid}")


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        check_missing("getpwuid_r", uid, PASSWD)
        return None


def known_by_name(name: str) -> KnownUser:
    """Looks a user up by name, as `known_user`.

    The user has the name that the system gives for the number, which may differ from `name`.
    """
    try:
        return known_user(pwd.getpwnam(name).pw_uid)
    except KeyError:
        pass
    try:
        check_missing("getpwnam_r", name.encode(), PASSWD)
    except LookUpFailed as error:
        return KnownUser(NO_UID, name, problem=str(error))
    return KnownUser(NO_UID, name)


def known_user(uid: int) -> KnownUser:
    """Looks a user up with the primary and all supplementary groups. A user without an entry has no groups."""
    try:
        entry = _entry(uid)
        if entry is None:
            return KnownUser(uid, f"uid-{uid}")
        gids = frozenset(groups_of(entry.pw_name, entry.pw_gid))
        return KnownUser(uid, entry.pw_name, frozenset(_group_names(gids)), gids)
    except LookUpFailed as error:
        return KnownUser(uid, f"uid-{uid}", problem=str(error))
    except OSError as error:
        return KnownUser(uid, f"uid-{uid}", problem=error.strerror or str(error))


def _group_names(gids: frozenset[int]) -> Iterator[str]:
    for gid in gids:
        try:
            yield grp.getgrgid(gid).gr_name
        except KeyError:
            check_missing("getgrgid_r", gid, GROUP)


def group_number(name: str, key: str) -> int:
    """The group that a key of the appliance file names; raises Unusable if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Unusable(f"there is no group {name}", f"correct `{key}`") from None


@dataclass(slots=True)
class LookUps:
    """Makes look-ups, each on a thread of its own, so that one that hangs delays no other.

    May be used by any thread.
    """

    _waiting: deque[Callable[[], None]] = field(default_factory=deque)
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, look_up: Callable[[], None]) -> None:
        """Runs a look-up soon, on another thread. The look-up posts its result itself and raises nothing.

        Raises RuntimeError if no thread can be started.
        """
        with self._lock:
            self._waiting.append(look_up)
            if self._running >= MOST_THREADS:
                return
            self._running += 1
        try:
            threading.Thread(target=self._run, name="users", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._running -= 1
                if self._running:
                    # One of the other threads makes it.
                    return
                self._waiting.remove(look_up)
            raise

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                look_up = self._waiting.popleft()
            look_up()


@dataclass(frozen=True, slots=True)
class Users:
    """Performs the effect LookUpUser."""

    inbox: Inbox
    look_ups: LookUps

    def look_up(self, effect: LookUpUser) -> None:
        if isinstance(who := effect.who, str):
            self._submit(lambda: known_by_name(who), KnownUser(NO_UID, who, problem=NO_THREAD), who)
        else:
            self._submit(lambda: known_user(who), KnownUser(who, f"uid-{who}", problem=NO_THREAD))

    def _submit(self, look_up: Callable[[], KnownUser], otherwise: KnownUser, name: str | None = None) -> None:
        """Posts the result of a look-up, or `otherwise` if there is no thread for it."""
        try:
            self.look_ups.submit(lambda: self.inbox.post(UserLookedUp(look_up(), name)))
        except RuntimeError:
            self.inbox.post(UserLookedUp(otherwise, name))
