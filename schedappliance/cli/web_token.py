"""`schedappliance web token`: the API tokens of the page.

Rule: a token is printed once, before it is valid. The file holds its SHA-256.
"""

from __future__ import annotations

import argparse
import pwd
import sys
from typing import Any

from schedappliance.cli.appliance_file import add_config, appliance_file
from schedappliance.cli.errors import FAILED, OK, USAGE, Failure, print_note
from schedappliance.cli.streams import OutputFailed, discard_output, has_reader
from schedappliance.clock import SystemClock, time_data

ROOT = 0


def add_token(actions: Any) -> None:
    """Adds `token add|list|remove` to the actions of `schedappliance web`."""
    token = actions.add_parser("token", help="add, list or remove API tokens")
    doings = token.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = doings.add_parser("add", help="add a token, and print it; it is not shown again")
    add.add_argument("name", metavar="NAME", type=_name, help="a name for the token")
    add.add_argument("--user", metavar="USER", required=True, help="the user whose commands it gives")
    listing = doings.add_parser("list", help="list the tokens by their names")
    remove = doings.add_parser("remove", help="remove a token; requests with it are rejected at once")
    remove.add_argument("name", metavar="NAME", type=_name, help="the name of the token")
    for doing, act in ((add, _add), (listing, _list), (remove, _remove)):
        add_config(doing, argparse.SUPPRESS)
        doing.set_defaults(act=act)


def _name(text: str) -> str:
    from schedappliance.web.access.tokens import LONGEST_NAME, NAME

    if not NAME.fullmatch(text):
        remedy = f"use letters, digits, `.`, `_` and `-`, first a letter or digit, at most {LONGEST_NAME}"
        raise argparse.ArgumentTypeError(f"invalid name `{text}`; {remedy}")
    return text


def _check_user(name: str) -> None:
    """Raises Failure for a user who cannot have a token."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        raise Failure(f"no user `{name}`", USAGE) from None
    if uid == ROOT:
        raise Failure("the page gives no commands on behalf of root; name another user", USAGE)


def _add(options: argparse.Namespace) -> int:
    """Raises Failure and Unusable."""
    from schedappliance.model.token_file import Token
    from schedappliance.web.access.tokens import change_tokens, hash_of, new_token

    _check_user(options.user)
    text = new_token()
    added = time_data("added", SystemClock().moment().wall)["added"]
    new = Token(options.name, options.user, hash_of(text), str(added))

    def with_new(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        if any(token.name == new.name for token in tokens):
            raise Failure(f"there is a token `{new.name}` already", FAILED)
        return (*tokens, new)

    path = appliance_file(options).web.tokens
    change_tokens(path, with_new, before=lambda: _print(text))
    print_note(f"this token is not shown again; {path} holds its hash")
    return OK


def _print(token: str) -> None:
    """Raises Failure if nobody can have seen the token, which would be valid all the same."""
    try:
        print(token, flush=True)
        why = "" if has_reader(sys.stdout) else "nobody reads it"
    except OutputFailed as error:
        why = str(error.strerror)
        discard_output()
    if why:
        raise Failure(f"cannot print the token: {why}; it was not added", FAILED)


def _list(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    from schedappliance.cli.tables import show, table
    from schedappliance.model.token_file import read_tokens, users_of_directory

    path = appliance_file(options).web.tokens
    tokens = read_tokens(path, users_of_directory(path))
    show(table(("NAME", "USER", "ADDED"), [(one.name, one.user, one.added) for one in tokens]))
    return OK


def _remove(options: argparse.Namespace) -> int:
    """Raises Failure and Unusable."""
    from schedappliance.model.token_file import Token
    from schedappliance.web.access.tokens import change_tokens

    def without(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        rest = tuple(token for token in tokens if token.name != options.name)
        if len(rest) == len(tokens):
            raise Failure(f"no token `{options.name}`", FAILED)
        return rest

    change_tokens(appliance_file(options).web.tokens, without)
    return OK
