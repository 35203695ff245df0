"""Reads `Authorization`: its roles, and its delegates. Rule: a role without effect is reported."""

from __future__ import annotations

from dataclasses import replace

from schedappliance.diagnostics import shortened
from schedappliance.model.closure import Block
from schedappliance.model.commands import FORMS
from schedappliance.model.configuration import Account, Authorization, ReadOption, Role
from schedappliance.model.option_paths import absent
from schedappliance.model.options import STANZAS
from schedappliance.model.patterns import role_doubts
from schedappliance.model.stanza_options import StanzaReader, accounts_in

_VERBS = sorted({form.name for form in FORMS.values() if form.name != "json"})


def read_role(reader: StanzaReader, block: Block, name: str) -> Role:
    """The role that a stanza declares; reports a role without effect."""
    spec, head = STANZAS["authorization"].stanzas["role"], block.head
    options, names = reader.options(spec, f'Role "{name}"', block.body, head)
    if (allow := options.get("allow")) and allow.value:
        reader.diagnostics += role_doubts(allow.source, allow.node.items, allow.value, _VERBS)
    empty = {
        option for option in spec.options if option not in names or (option in options and not options[option].value)
    }
    if "allow" in empty:
        remedy = 'add `allow = ( "^sched list$" )`, or remove the role'
        reader.report("W408", f"role `{shortened(name)}` allows no command", remedy, *head)
    if {"users", "groups"} <= empty:
        remedy = 'add `users = ( "NAME" )` or `groups = ( "NAME" )`, or remove the role'
        reader.report("W408", f"role `{shortened(name)}` has no users and no groups", remedy, *head)
    allow, users, groups = (
        options[option].value if option in options else absent(spec.options[option]) for option in spec.options
    )
    return Role(name, allow, frozenset(users), frozenset(groups), tuple(accounts_in(options)), *head)


def with_delegates(authorization: Authorization, option: ReadOption) -> Authorization:
    """The same with the delegates of one more stanza."""
    accounts = [Account("user", item.value, option.source, item.span) for item in option.node.items]
    return replace(
        authorization,
        delegates=authorization.delegates.union(option.value),
        accounts=(*authorization.accounts, *accounts),
    )
