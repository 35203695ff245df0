"""What the `Authorization` stanza declares: roles, each with the commands that it allows and the users that it is given to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schedappliance.diagnostics import Source, Span
from schedappliance.model.programs import Account


@dataclass(frozen=True, slots=True)
class Role:
    """`users` and `groups` hold names and numbers; `accounts` are the same with their places."""

    name: str
    allow: tuple[re.Pattern[str], ...]
    users: tuple[str, ...]
    groups: tuple[str, ...]
    accounts: tuple[Account, ...]
    source: Source
    span: Span

    def allows(self, line: str) -> bool:
        """Whether a canonical line is allowed: a pattern is found anywhere in it, unless `^` or `$` bind it."""
        return any(pattern.search(line) for pattern in self.allow)


@dataclass(frozen=True, slots=True)
class Authorization:
    """All roles, by name, of every `Authorization` stanza; `source` and `span` are the place of the first."""

    roles: dict[str, Role]
    source: Source
    span: Span
