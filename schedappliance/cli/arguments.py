"""Shared parts of the subcommands' arguments: the layout of the help, and values written as in a stanza file.

Rule: a module that only some arguments need is imported when such an argument is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

_Value = TypeVar("_Value")
# No command line can hold this word.
_PARSER_WANTED = "\0"
# Marks a word that is no option, whatever it begins with. No command line can hold it either.
_NO_OPTION = "\0:"


class _Parser(argparse.ArgumentParser):
    """A parser that `parser_of` can get hold of."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if args is not None and _PARSER_WANTED in args:
            raise _Wanted(self)
        return super().parse_known_args(args, namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options may stand between the other arguments, but not after `--`, which argparse forgets here."""
        end = args.index("--") if "--" in args else len(args)
        words = [f"{_NO_OPTION}{word}" if word.startswith("-") else word for word in args[end + 1 :]]
        return super().parse_intermixed_args([*args[:end], *words], namespace)

    def _get_value(self, action: Any, arg_string: str) -> Any:
        return super()._get_value(action, arg_string.removeprefix(_NO_OPTION))


class _Wanted(Exception):
    def __init__(self, wanted: argparse.ArgumentParser) -> None:
        self.parser = wanted


def parser_of(parse: Callable[[Sequence[str]], object]) -> argparse.ArgumentParser:
    """The parser of a subcommand, from its function `parse`."""
    try:
        parse([_PARSER_WANTED])
    except _Wanted as wanted:
        return wanted.parser
    raise AssertionError("`parse` uses no parser of this module")


def parser(name: str, description: str, statuses: dict[int, str], usage: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help ends with the exit statuses and their meaning. `usage`: in place of argparse's own."""
    lines = [f"  {status:<4} {meaning}" for status, meaning in statuses.items()]
    program = f"schedappliance {name}"
    return _Parser(
        prog=program,
        usage=usage and f"{program} {usage}",
        description=description,
        epilog="\n".join(["exit status:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_format(target: argparse.ArgumentParser, **formats: str) -> None:
    """`--format`: the formats with their meaning; the first is the default."""
    meanings = ", ".join(f"{name} ({meaning})" for name, meaning in formats.items())
    default = next(iter(formats))
    help_text = f"{meanings}; default: {default}"
    target.add_argument("--format", metavar="FORMAT", choices=tuple(formats), default=default, help=help_text)


def path_text(text: str) -> str:
    """A path as it was typed. An empty one is often a variable that is not set: no command takes it for a directory."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return text


def file_path(text: str) -> Path:
    return Path(path_text(text))


def duration(text: str) -> int:
    """Milliseconds, from 0."""
    from schedappliance.model import values

    return _converted(values.duration, text)


def positive_duration(text: str) -> int:
    """Milliseconds, from 1."""
    from schedappliance.model import values

    return _converted(values.positive_duration, text)


def job_or_pattern(text: str) -> str:
    from schedappliance.model import listings

    return _converted(listings.job_or_pattern, text)


def count(text: str) -> int:
    return whole_number(text, 0, 10**12)


def whole_number(text: str, least: int, most: int) -> int:
    """A whole number in a range, both ends included."""
    from schedappliance.model import values

    return _converted(lambda word: values.integer(word, least, most), text)


def drop_name(text: str) -> str:
    """The beginning of the name of a drop."""
    from schedappliance.client.drop import LONGEST_BASE, base_of

    if base_of(text) != text.removesuffix(".cmd"):
        remedy = f"use letters, digits, `.`, `_` and `-`, first a letter or digit, at most {LONGEST_BASE}"
        raise argparse.ArgumentTypeError(f"invalid name `{text}`; {remedy}")
    return text


def _converted(read: Callable[[str], _Value], text: str) -> _Value:
    """Reads a value. On an error, argparse prints the message with the name of the argument."""
    from schedappliance.diagnostics import InvalidValue

    try:
        return read(text)
    except InvalidValue as invalid:
        raise argparse.ArgumentTypeError(str(invalid)) from None
