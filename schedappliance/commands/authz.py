"""`authz id` and `authz roles list`. Rule: the texts are Momentum's."""

from __future__ import annotations

from collections.abc import Iterable

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.view import View
from schedappliance.engine.authorization import roles_of
from schedappliance.model.commands import Command

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def identity(view: View, _command: Command) -> Outcome:
    """The user who gives the command, and the present roles of this user."""
    authorization = view.options.configuration.authorization
    user = view.known_user(view.order.user.uid) if view.order.origin != "stanza" else None
    names = [role.name for role in roles_of(authorization, user)] if authorization and user else []
    text = "".join(
        (
            f"<AuthzInformation username={_quoted(view.order.user.name)}>\n",
            _role_list(names, "  "),
            "</AuthzInformation>\n",
        )
    )
    return Outcome(view.answer(text, {"user": view.order.user.name, "uid": view.order.user.uid, "roles": names}))


def roles(view: View, _command: Command) -> Outcome:
    """The roles that the stanza files define, in their order."""
    authorization = view.options.configuration.authorization
    names = list(authorization.roles) if authorization else []
    text = f"<Roles>\n{''.join(_role(name, ' ') for name in names)}</Roles>\n"
    return Outcome(view.answer(text, {"authorization": authorization is not None, "roles": names}))


def _role_list(names: Iterable[str], indent: str) -> str:
    return f"{indent}<Roles>\n{''.join(_role(name, indent * 2) for name in names)}{indent}</Roles>\n"


def _role(name: str, indent: str) -> str:
    return f"{indent}<Role name={_quoted(name)}/>\n"


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPED.get(sign, sign) for sign in text) + '"'
