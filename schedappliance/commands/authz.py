"""`authz id` and `authz roles list`, with Momentum's texts."""

from __future__ import annotations

from collections.abc import Iterable

from schedappliance.commands.context import Context
from schedappliance.engine.authorization import roles_of
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import Command

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def identity(context: Context, _command: Command) -> Answer:
    """Who gives the command, and the roles that the system's users and groups give to that user now."""
    authorization = context.options.configuration.authorization
    known = context.known_user(context.user.uid) if context.origin != "stanza" else None
    names = [role.name for role in roles_of(authorization, known)] if authorization and known else []
    text = "".join(
        (
            f"<AuthzInformation username={_quoted(context.user.name)}>\n",
            _listed(names, "  "),
            "</AuthzInformation>\n",
        )
    )
    return context.answer(text, {"user": context.user.name, "uid": context.user.uid, "roles": names})


def roles(context: Context, _command: Command) -> Answer:
    """The roles of the files, in their order."""
    authorization = context.options.configuration.authorization
    names = list(authorization.roles) if authorization else []
    text = f"<Roles>\n{''.join(_role(name, ' ') for name in names)}</Roles>\n"
    return context.answer(text, {"authorization": authorization is not None, "roles": names})


def _listed(names: Iterable[str], indent: str) -> str:
    return f"{indent}<Roles>\n{''.join(_role(name, indent * 2) for name in names)}{indent}</Roles>\n"


def _role(name: str, indent: str) -> str:
    return f"{indent}<Role name={_quoted(name)}/>\n"


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPED.get(sign, sign) for sign in text) + '"'
