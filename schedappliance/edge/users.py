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
from functools import partial
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Unusable
from schedappliance.edge.programs.accounts import GROUP, PASSWD, LookUpFailed, check_missing, groups_of
from schedappliance.edge.threads import NO_THREAD
from schedappliance.engine.events import UserLookedUp
from schedappliance.engine.records import NO_UID, KnownUser, User, nameless

if TYPE_CHECKING:
    import logging

    from schedappliance.edge.loop import Alarm, Loop
    from schedappliance.edge.threads import Inbox
    from schedappliance.engine.effects import LookUpUser

# Look-ups at the same time; each hangs at most with one thread.
MOST_THREADS = 32
# How often the user of a client or a drop is looked up, if that fails.
TRIES, AGAIN_SECONDS = 10, 0.5
# How long a client waits for the name of its user, and how often the look-up that it waits for is tried in this time.
NAME_MS, NAME_TRIES = 2000, 4


def user_of(uid: int) -> User:
    """Looks a user up by number, without groups.

    A user without an entry, or whose look-up fails, gets the name `uid-NUMBER`.
    """
    return _without_groups(uid).user


def known_after_tries(uid: int, with_groups: bool, tries: int = TRIES) -> KnownUser:
    """Looks a user up, several times if that fails. `with_groups`: also looks up the groups."""
    pause = threading.Event()
    for number in range(tries):
        if number:
            pause.wait(AGAIN_SECONDS)
        known = known_user(uid) if with_groups else _without_groups(uid)
        if known.problem is None:
            break
    return known


def _without_groups(uid: int) -> KnownUser:
    try:
        entry = _entry(uid)
    except LookUpFailed as error:
        return KnownUser(uid, nameless(uid), problem=str(error))
    return KnownUser(uid, entry.pw_name if entry else nameless(uid))


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
            return KnownUser(uid, nameless(uid))
        gids = frozenset(groups_of(entry.pw_name, entry.pw_gid))
        return KnownUser(uid, entry.pw_name, frozenset(_group_names(gids)), gids)
    except LookUpFailed as error:
        return KnownUser(uid, nameless(uid), problem=str(error))
    except OSError as error:
        return KnownUser(uid, nameless(uid), problem=error.strerror or str(error))


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


@dataclass(slots=True)
class ClientNames:
    """Names the users of clients. Only the deciding thread uses it.

    A look-up that fails or hangs keeps nobody out, since the kernel has told the uid: the user is called `uid-NUMBER`. If
    there are roles, the core looks the user up by itself.
    """

    loop: Loop
    look_ups: LookUps
    log: logging.Logger
    _users: dict[int, User] = field(default_factory=dict)
    # The users whose last look-up failed, or takes longer than NAME_MS.
    _nameless: set[int] = field(default_factory=set)
    # The users whose look-up is under way, and what waits for it.
    _waiting: dict[int, list[Callable[[User], None]]] = field(default_factory=dict)

    def name(self, uid: int, then: Callable[[User], None]) -> None:
        """Calls `then` with the user: at once if the name is known, else after a look-up, at the latest after NAME_MS."""
        is_under_way = uid in self._waiting
        if uid in self._users:
            then(self._users[uid])
        elif is_under_way and uid in self._nameless:
            then(User(uid, nameless(uid)))
        elif is_under_way:
            self._waiting[uid].append(then)
        else:
            self._waiting[uid] = [then]
            self._look_up(uid)

    def _look_up(self, uid: int) -> None:
        tries = 1 if uid in self._nameless else NAME_TRIES
        look_up = partial(known_after_tries, uid, with_groups=False, tries=tries)
        alarm = self.loop.alarms.at(self.loop.clock.moment().boot + NAME_MS, partial(self._stop_waiting, uid))
        try:
            self.look_ups.submit(lambda: self.loop.inbox.post(partial(self._end, alarm, look_up())))
        except RuntimeError:
            self._end(alarm, KnownUser(uid, nameless(uid), problem=NO_THREAD))

    def _stop_waiting(self, uid: int) -> None:
        """Goes on without the name. The look-up stays under way, so that no other one hangs beside it."""
        self._note_problem(uid, "the system does not answer")
        waiting, self._waiting[uid] = self._waiting[uid], []
        for then in waiting:
            then(User(uid, nameless(uid)))

    def _end(self, alarm: Alarm, known: KnownUser) -> None:
        self.loop.alarms.cancel(alarm)
        if known.problem is None:
            self._users[known.uid] = known.user
            self._nameless.discard(known.uid)
        else:
            self._note_problem(known.uid, known.problem)
        for then in self._waiting.pop(known.uid):
            then(known.user)

    def _note_problem(self, uid: int, problem: str) -> None:
        if uid not in self._nameless:
            self._nameless.add(uid)
            self.log.warning(f"the console calls user {uid} `uid-{uid}`: look-up failed: {problem}")


@dataclass(frozen=True, slots=True)
class Users:
    """Performs the effect LookUpUser."""

    inbox: Inbox
    look_ups: LookUps

    def look_up(self, effect: LookUpUser) -> None:
        if isinstance(who := effect.who, str):
            self._submit(lambda: known_by_name(who), KnownUser(NO_UID, who, problem=NO_THREAD), who)
        else:
            self._submit(lambda: known_user(who), KnownUser(who, nameless(who), problem=NO_THREAD))

    def _submit(self, look_up: Callable[[], KnownUser], otherwise: KnownUser, name: str | None = None) -> None:
        """Posts the result of a look-up, or `otherwise` if there is no thread for it."""
        try:
            self.look_ups.submit(lambda: self.inbox.post(UserLookedUp(look_up(), name)))
        except RuntimeError:
            self.inbox.post(UserLookedUp(otherwise, name))
