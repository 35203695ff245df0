"""Authorization: the active roles decide when a command is accepted, and again when its run starts.

Rule: a decision needs a user who was looked up a moment ago; core/users.py handles look-ups that fail or take long.
Commands of the stanza files need no role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.core.audit import audit
from schedappliance.core.users import Input, Users
from schedappliance.diagnostics import command_diagnostic, shortened
from schedappliance.engine.authorization import is_delegate, not_allowed, roles_of, why_not_run
from schedappliance.engine.effects import Answer, rejection
from schedappliance.engine.events import LineTyped
from schedappliance.engine.reasons import Reason
from schedappliance.engine.records import NO_UID, Job, KnownUser, User
from schedappliance.model.commands import Command

if TYPE_CHECKING:
    from schedappliance.commands.view import Order
    from schedappliance.core.state import State

# Momentum's text.
NOT_AUTHORIZED_TEXT = "Not Authorized for this command"
# A typed `sched run` runs a job, whose `sched run` may run another one, which must not contain `sched run`.
MOST_CHAINED = 2
# What a client asks although nobody typed it: a greeting, the names that complete a word, and what a screen leaves out for
# a user who may not see it. Nothing else can be tried without a line in the log.
QUIET = {
    "version": "`version`",
    "sched_list": "`sched list`",
    "sched_incidents": "`sched incidents`",
    "config_show": "`config show`",
}


def defer_for_users(state: State, event: Input, *commands: Command) -> bool:
    """Defers a line or a drop until its users have been looked up. Returns False if it can be decided now."""
    if state.configuration.authorization is None:
        return False
    users: Users = (event.user.uid, *(uid for command in commands for uid in _owners(state, command)))
    needed = state.users.awaited_by_last(event) or _to_look_up(state, tuple(dict.fromkeys(users)))
    # The name is looked up only for a delegate. Otherwise anybody could make the system look up names.
    if (
        not needed
        and isinstance(event, LineTyped)
        and event.on_behalf_of is not None
        and _is_delegate(state, event.user)
    ):
        needed = _to_look_up(state, tuple(dict.fromkeys((event.on_behalf_of, *users))))
    if needed:
        state.users.put_off(needed, event, state.moment.boot)
    return bool(needed)


def defer_job_for_users(state: State, job: Job) -> bool:
    """Defers a due job until its users have been looked up; it stays due. Returns False if it can be decided now."""
    if state.configuration.authorization is None or job.command is None:
        return False
    own = () if job.origin == "stanza" else (job.user.uid,)
    needed = _to_look_up(state, tuple(dict.fromkeys((*own, *_owners(state, job.command)))))
    if needed:
        state.users.put_job_off(needed, job, state.moment.boot)
    return bool(needed)


def ask_for_user_of_run(state: State, user: User, origin: str) -> bool:
    """Asks for the user of a queued run. Returns False if the run can be decided now."""
    if state.configuration.authorization is None or origin == "stanza":
        return False
    needed = _to_look_up(state, (user.uid,))
    if needed:
        state.users.ask(needed, state.moment.boot)
    return bool(needed)


def _to_look_up(state: State, users: Users) -> Users:
    """The users to look up: all of them, or none if they can be judged now."""
    return () if state.users.are_usable(users, state.moment.boot) else users


def _owners(state: State, command: Command) -> list[int]:
    """The users whose jobs a command runs: `sched run` may run a job whose command is `sched run` again.

    No more jobs count: `run_now` rejects a longer chain, which would take 0.2 s for 20,000 jobs.
    """
    owners: list[int] = []
    for _ in range(MOST_CHAINED):
        if command.bare.form != "sched_run":
            break
        number = state.store.jobs.meant_by(state.store.node, command.bare.words[0])
        job = state.store.jobs.get(number) if number is not None else None
        if job is None or job.command is None:
            break
        owners += [] if job.origin == "stanza" else [job.user.uid]
        command = job.command
    return owners


def user_now(state: State, user: User) -> User:
    """The user who gives a command. With roles, the name is the one that the system has now."""
    known = state.users.last_answer(user.uid) if state.configuration.authorization else None
    return known.user if known else user


def _is_delegate(state: State, user: User) -> bool:
    authorization = state.configuration.authorization
    return authorization is not None and is_delegate(authorization, _known_user(state, user))


def represented_user(state: State, by: User, name: str, line: str) -> User | Answer:
    """The user on whose behalf another user gives a line. An answer rejects the line.

    Nobody gives commands on behalf of root, who often may do everything: a delegate can be tricked.
    """
    known = state.users.last_answer(name)
    remedy = "`delegates` of the `Authorization` stanza names the users who may give commands on behalf of others"
    if not _is_delegate(state, by) or known is None:
        message = f"user `{by.name}` may not give commands on behalf of `{shortened(name)}`"
    elif known.problem:
        message, remedy = f"user `{shortened(name)}` cannot be looked up: {known.problem}", "try again later"
    elif known.uid == NO_UID:
        message, remedy = f"there is no user `{shortened(name)}`", "give the name of a user of this machine"
    elif known.uid == 0:
        message, remedy = f"nobody may give commands on behalf of user `{known.name}`", "give the command as this user"
    else:
        return known.user
    return rejection([command_diagnostic("E512", message, remedy, line)])


def mistake_of_quiet(order: Order) -> Answer | None:
    """The rejection of a quiet line that must be logged if no role allows it; None if the line may be quiet."""
    if order.command.bare.form in QUIET:
        return None
    message, remedy = f"`quiet` is allowed only for {', '.join(QUIET.values())}", "send the request without it"
    return rejection([command_diagnostic("E507", message, remedy, order.text)])


def denial(state: State, user: User, command: Command, line: str) -> Answer | None:
    """The rejection of a command; None if the roles of the user allow it and every command inside it."""
    authorization = state.configuration.authorization
    if authorization is None:
        return None
    denied = not_allowed(authorization, _known_user(state, user), command)
    if denied is None:
        return None
    return _unauthorized(state, user, f"no role of user `{user.name}` allows `{shortened(denied)}`", line)


def denial_of_order(state: State, order: Order) -> Answer | None:
    """The rejection of an order; None if roles allow it: those of its user, and those of the delegate who gave it."""
    denied = denial(state, order.user, order.command, order.text)
    if denied is None and order.by is not None:
        denied = denial(state, order.by, order.command, order.text)
    return denied or _transaction_of_another(state, order)


def _transaction_of_another(state: State, order: Order) -> Answer | None:
    """The rejection of a command while a transaction of another user is open on its connection; else None."""
    transaction = state.transactions.get(order.connection) if order.connection is not None else None
    if transaction is None or transaction.user.uid == order.user.uid:
        return None
    message = f"a transaction of user `{transaction.user.name}` is open on this connection"
    return rejection(
        [command_diagnostic("E510", message, "use another connection, or end the transaction first", order.text)]
    )


def rejection_of_stranger(state: State, user: User, line: str) -> Answer | None:
    """The rejection of a user without any role. Its text is the same for every line, even for an invalid one."""
    authorization = state.configuration.authorization
    if authorization is None or roles_of(authorization, _known_user(state, user)):
        return None
    return _unauthorized(state, user, f"user `{user.name}` has no role", line)


def _unauthorized(state: State, user: User, message: str, line: str) -> Answer:
    if problem := _known_user(state, user).problem:
        message = f"user {user.uid} cannot be looked up, so its roles are not known: {problem}"
    remedy = "`authz id` shows the roles that you have; a role of the stanza files must allow it"
    return rejection([command_diagnostic("E512", message, remedy, line)], NOT_AUTHORIZED_TEXT)


def _known_user(state: State, user: User) -> KnownUser:
    """The user as looked up. A user who was never looked up has no groups, so no role applies by group."""
    return state.users.last_answer(user.uid) or KnownUser(user.uid, user.name)


def why_forbidden(state: State, user: User, origin: str, command: Command) -> Reason | None:
    """Why the roles do not allow a run now; None if they do. Writes a denial to the audit log."""
    authorization = state.configuration.authorization
    if authorization is None or origin == "stanza":
        return None
    reason = why_not_run(authorization, _known_user(state, user), user, command)
    if reason is not None:
        audit(state, user, "job", command.text, Answer(error=reason))
    return reason
