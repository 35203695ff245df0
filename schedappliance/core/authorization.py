"""Authorization: asked when a command is accepted, and again when it runs, of the roles that are active then.

Rule: nothing is decided on a user who was not just looked up; what the files themselves give needs no role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.core.audit import audit
from schedappliance.core.users import Input, Uids
from schedappliance.diagnostics import command_diagnostic, shortened
from schedappliance.engine.authorization import not_allowed, roles_of, why_not_run
from schedappliance.engine.effects import Answer, rejection
from schedappliance.engine.reasons import Reason
from schedappliance.engine.records import Job, KnownUser, User
from schedappliance.model.commands import Command

if TYPE_CHECKING:
    from schedappliance.core.state import State

# Momentum's own words.
NOT_AUTHORIZED_TEXT = "Not Authorized for this command"


def await_users(state: State, event: Input, *commands: Command) -> bool:
    """Puts a line or a drop off until it is known who its users are now; False when that is known."""
    if state.configuration.authorization is None:
        return False
    uids = (event.user.uid, *(uid for command in commands for uid in _owners(state, command)))
    needed = state.users.awaited_by_last(event) or _unknown(state, tuple(dict.fromkeys(uids)))
    if needed:
        state.users.put_off(needed, event)
    return bool(needed)


def await_user_of_job(state: State, job: Job) -> bool:
    """Puts a due job off until it is known who its user is now; it stays due meanwhile. False when that is known."""
    if state.configuration.authorization is None or job.command is None:
        return False
    own = () if job.origin == "stanza" else (job.user.uid,)
    needed = _unknown(state, tuple(dict.fromkeys((*own, *_owners(state, job.command)))))
    if needed:
        state.users.put_job_off(needed, job)
    return bool(needed)


def await_user_of_run(state: State, user: User, origin: str) -> bool:
    """Asks who the user of a queued run is now; False when that is known."""
    if state.configuration.authorization is None or origin == "stanza":
        return False
    needed = _unknown(state, (user.uid,))
    if needed:
        state.users.ask(needed)
    return bool(needed)


def _unknown(state: State, uids: Uids) -> Uids:
    """All of the users, unless all of them are known."""
    return () if state.users.are_fresh(uids, state.moment.boot) else uids


def _owners(state: State, command: Command) -> list[int]:
    """Whose jobs a command runs, directly or by a job that runs another one."""
    owners: list[int] = []
    seen: set[int] = set()
    while command.bare.form == "sched_run":
        number = state.store.jobs.meant_by(state.store.node, command.bare.words[0])
        job = state.store.jobs.get(number) if number is not None and number not in seen else None
        if job is None or job.command is None:
            break
        seen.add(job.number)
        owners += [] if job.origin == "stanza" else [job.user.uid]
        command = job.command
    return owners


def user_now(state: State, user: User) -> User:
    """Whoever gives a command, by the name that the system knows now where that counts."""
    known = state.users.last(user.uid) if state.configuration.authorization else None
    return known.user if known else user


def denial(state: State, user: User, command: Command, line: str) -> Answer | None:
    """The rejection of a command unless the roles of the user allow it and every command inside it."""
    authorization = state.configuration.authorization
    if authorization is None:
        return None
    denied = not_allowed(authorization, _known(state, user), command)
    if denied is None:
        return None
    return _not_authorized(f"no role of user `{user.name}` allows `{shortened(denied)}`", line)


def stranger(state: State, user: User, line: str) -> Answer | None:
    """The rejection of a user without any role: then nothing is told, not even what is wrong with a line."""
    authorization = state.configuration.authorization
    if authorization is None or roles_of(authorization, _known(state, user)):
        return None
    return _not_authorized(f"user `{user.name}` has no role", line)


def _not_authorized(message: str, line: str) -> Answer:
    remedy = "`authz id` shows the roles that you have; a role of the stanza files must allow it"
    return rejection([command_diagnostic("E512", message, remedy, line)], NOT_AUTHORIZED_TEXT)


def _known(state: State, user: User) -> KnownUser:
    """Of somebody who was not looked up nothing is known, so that nothing is allowed."""
    return state.users.last(user.uid) or KnownUser(user.uid, user.name)


def why_not(state: State, user: User, origin: str, command: Command) -> Reason | None:
    """Why a run may not take place now; the audit line tells it."""
    authorization = state.configuration.authorization
    if authorization is None or origin == "stanza":
        return None
    reason = why_not_run(authorization, _known(state, user), user, command)
    if reason is not None:
        audit(state, user, "job", command.text, Answer(error=reason))
    return reason
