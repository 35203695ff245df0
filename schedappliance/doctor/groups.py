"""Groups as the system knows them: their names, numbers and members. Rule: no judgement."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable
from contextlib import suppress


def unknown_group(name: str | None) -> str | None:
    """The name of a group that the system does not know; None for a known one."""
    return name if name and gid_of(name) is None else None


def gid_of(name: str | None) -> int | None:
    """The number of a group; None without a name, or if the system does not know it."""
    with suppress(KeyError):
        return grp.getgrnam(name).gr_gid if name else None
    return None


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid-{gid}"


def members_of(gids: Iterable[int]) -> dict[int, frozenset[int]]:
    """The users of each group, by its entry and by the primary groups of users."""
    users = pwd.getpwall() if gids else []
    numbers = {user.pw_name: user.pw_uid for user in users}
    members: dict[int, frozenset[int]] = {}
    for gid in gids:
        try:
            named = grp.getgrgid(gid).gr_mem
        except KeyError:
            named = []
        primary = {user.pw_uid for user in users if user.pw_gid == gid}
        members[gid] = frozenset(primary | {numbers[name] for name in named if name in numbers})
    return members
