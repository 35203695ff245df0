"""`authz id`, `authz roles list` and `authz may`. Rule: the texts are Momentum's where it has them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schedappliance.commands.outcome import Outcome, Rejected
from schedappliance.commands.view import View
from schedappliance.diagnostics import Source, shortened
from schedappliance.engine.authorization import not_allowed, roles_of
from schedappliance.engine.records import KnownUser
from schedappliance.model.commands import Command, read_command

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def identity(view: View, _command: Command) -> Outcome:
    """The user who gives the command, and the present roles of this user."""
    authorization = view.options.configuration.authorization
    user = view.ask.known_user(view.order.user.uid) if view.order.origin != "stanza" else None
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


def may(view: View, command: Command) -> Outcome:
    """Whether the roles of the user allow a command, which is not carried out.

    The data also hold all that decides: a client may keep the answer while these stay the same.
    """
    text = _AFTER_FORM.sub("", command.text, count=1)
    read = read_command(text)
    if read.command is None:
        whole = Source.of_command(view.order.text)
        before = len(whole.text) - len(text)
        raise Rejected([one.moved(whole, lambda span: span.shifted(before)) for one in read.diagnostics])
    authorization = view.options.configuration.authorization
    denied, shown, roles = None, "yes\n", list[list[str]]()
    # A delegate needs a role too.
    for user in filter(None, (view.order.user, view.order.by)):
        known = view.ask.known_user(user.uid) or KnownUser(user.uid, user.name)
        roles.append([role.name for role in roles_of(authorization, known)] if authorization else [])
        if authorization and denied is None and (denied := not_allowed(authorization, known, read.command)):
            shown = f"no: no role of user `{user.name}` allows `{shortened(denied)}`\n"
    data = {
        "allowed": denied is None,
        "denied": denied,
        "roles": roles[0],
        "delegate_roles": roles[1] if view.order.by else None,
        "digest": view.status.digest,
    }
    return Outcome(view.answer(shown, data)._replace(exit_status=0 if denied is None else 1))


# The words of the form, which may be followed by a command in any spelling.
_AFTER_FORM = re.compile(r"\S+[ \t]+\S+[ \t]+")


def _role_list(names: Iterable[str], indent: str) -> str:
    return f"{indent}<Roles>\n{''.join(_role(name, indent * 2) for name in names)}{indent}</Roles>\n"


def _role(name: str, indent: str) -> str:
    return f"{indent}<Role name={_quoted(name)}/>\n"


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPED.get(sign, sign) for sign in text) + '"'
