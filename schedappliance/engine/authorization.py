"""Which roles a user has, and whether they allow a command. Rule: callers ask only if there is an `Authorization`."""

from __future__ import annotations

from collections.abc import Iterable

from schedappliance.engine.reasons import NOT_AUTHORIZED, Reason, no_longer, not_looked_up
from schedappliance.engine.records import KnownUser, User
from schedappliance.model.commands import Command, required_lines
from schedappliance.model.configuration import Authorization, Role, is_number


def roles_of(authorization: Authorization, known: KnownUser) -> list[Role]:
    """The roles that a user has, in the order of the files."""
    return [role for role in authorization.roles.values() if _has(role, known)]


def _has(role: Role, known: KnownUser) -> bool:
    return any(_is(name, known.name, known.uid) for name in role.users) or any(
        int(name) in known.gids if is_number(name) else name in known.groups for name in role.groups
    )


def _is(wanted: str, name: str, number: int) -> bool:
    """Whether a name in a role means this user. A number means the uid, never a name that looks like a number."""
    return int(wanted) == number if is_number(wanted) else wanted == name


def is_delegate(authorization: Authorization, known: KnownUser) -> bool:
    """Whether a user may give commands on behalf of others."""
    return any(_is(name, known.name, known.uid) for name in authorization.delegates)


def not_allowed(authorization: Authorization, known: KnownUser, command: Command) -> str | None:
    """The first canonical line of the command, or of a command inside it, that no role of the user allows; or None."""
    roles = roles_of(authorization, known)
    return next((line for line in required_lines(command) if not _is_allowed(roles, line)), None)


def _is_allowed(roles: Iterable[Role], line: str) -> bool:
    return any(role.allows(line) for role in roles)


def why_not_run(authorization: Authorization, known: KnownUser, user: User, command: Command) -> Reason | None:
    """Why a job may not run now, None if it may.

    The uid of the job may belong to another user now, or the roles of the user may no longer allow the command.
    """
    if known.user != user and known.problem:
        return not_looked_up(user.uid, known.problem)
    if known.user != user:
        return no_longer(user.uid, known.name, user.name)
    return NOT_AUTHORIZED if not_allowed(authorization, known, command) else None
