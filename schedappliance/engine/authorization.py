"""Which roles a user has, and whether they allow a command. Rule: callers ask only if there is an `Authorization`."""

from __future__ import annotations

from collections.abc import Iterable

from schedappliance.engine.reasons import NOT_AUTHORIZED, Reason, no_longer, not_looked_up
from schedappliance.engine.records import KnownUser, User, nameless
from schedappliance.model.commands import Command, required_lines
from schedappliance.model.configuration import Authorization, Role, is_number


def roles_of(authorization: Authorization, known: KnownUser) -> list[Role]:
    """The roles that a user has, in the order of the files."""
    return [role for role in authorization.roles.values() if _has(role, known)]


def _has(role: Role, known: KnownUser) -> bool:
    return _names(role.users, [known.name], [known.uid]) or _names(role.groups, known.groups, known.gids)


def _names(wanted: frozenset[str], names: Iterable[str], numbers: Iterable[int]) -> bool:
    """Whether one of these users or groups is wanted. A number means an id, never a name that looks like a number."""
    return any(str(number) in wanted for number in numbers) or any(
        name in wanted and not is_number(name) for name in names
    )


def is_delegate(authorization: Authorization, known: KnownUser) -> bool:
    """Whether a user may give commands on behalf of others."""
    return _names(authorization.delegates, [known.name], [known.uid])


def not_allowed(authorization: Authorization, known: KnownUser, command: Command) -> str | None:
    """The first canonical line of the command, or of a command inside it, that no role of the user allows; or None."""
    roles = roles_of(authorization, known)
    return next((line for line in required_lines(command) if not _is_allowed(roles, line)), None)


def _is_allowed(roles: Iterable[Role], line: str) -> bool:
    return any(role.allows(line) for role in roles)


def why_not_run(authorization: Authorization, known: KnownUser, user: User, command: Command) -> Reason | None:
    """Why a job may not run now, None if it may.

    The uid of the job may belong to another user now, or the roles of the user may no longer allow the command. A job that was
    given while the system did not name its user keeps the roles that name the number: nobody knows whose job it is.
    """
    if user.name == nameless(user.uid):
        known = KnownUser(*user)
    if known.user != user and known.problem:
        return not_looked_up(user.uid, known.problem)
    if known.user != user:
        return no_longer(user.uid, known.name, user.name)
    return NOT_AUTHORIZED if not_allowed(authorization, known, command) else None
