"""The tables of stanzas and options: which exist, what they hold, what they mean. The grammar knows none of these words.

Law: an option is listed here with the work that enforces it; until then it is refused as unknown.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schedappliance.diagnostics import shortened
from schedappliance.model import values
from schedappliance.model.templates import references
from schedappliance.model.values import Unfit
from schedappliance.syntax.printer import quoted
from schedappliance.syntax.tree import Dictionary, ListValue, Scalar, Value


class Scope(NamedTuple):
    """Where an option stands: a stanza in lower case with its name; both empty for the global scope."""

    stanza: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """The head of the stanza, as a file writes it."""
        return f"{self.stanza} {quoted(self.name)}" if self.name else self.stanza


GLOBAL, SCHED, AUTHORIZATION = Scope(), Scope("sched"), Scope("authorization")

Read = Callable[[Value], Any]


@dataclass(frozen=True)
class OptionSpec:
    """One option: how its value is read, what it does, what a file need not say, and since which version."""

    read: Read
    help: str
    default: str | None = None
    required: bool = False
    since: str = "0.1.0"


@dataclass(frozen=True, slots=True)
class StanzaSpec:
    """`stanzas` are those that stand inside it; what holds some is set by the files only."""

    help: str
    named: bool
    options: dict[str, OptionSpec]
    stanzas: dict[str, StanzaSpec] = field(default_factory=dict)


def scalar(read: Callable[[str], Any]) -> Read:
    """A reader of options that hold one word or string."""

    def read_scalar(value: Value) -> Any:
        if not isinstance(value, Scalar):
            raise Unfit(f"{_kind(value)} stands where one value is wanted", "give one word or one quoted string")
        return read(value.value)

    return read_scalar


def text(value: str) -> str:
    if "\0" in value:
        raise Unfit("the value holds a NUL byte", "remove it", "E106")
    return value


def path(value: str) -> str:
    if not text(value):
        raise Unfit("the path is empty", "give a path")
    return value


def store_path(value: str) -> str:
    if value.startswith(":"):
        raise Unfit(f"`{value}` is no file", "leave `backing_store` out to keep the jobs in memory")
    return path(value)


def absolute_path(value: str) -> str:
    if not path(value).startswith("/"):
        raise Unfit(f"`{value}` is no absolute path", "begin it with `/`")
    return value


# An id of all ones means "leave it as it is" to the kernel.
MAX_ID = 2**32 - 2
_ACCOUNT = re.compile(r"[^\x00-\x1f\x7f:/]+")


def account(value: str) -> str:
    """A user or a group, by name or number; whether the machine knows it is not judged here."""
    if not _ACCOUNT.fullmatch(text(value)):
        raise Unfit(f"`{shortened(value)}` is no name and no number", "give a name such as `backup`, or a number")
    if value.isascii() and value.isdigit():
        return str(values.integer(value, 0, MAX_ID))
    return value


def accounts(value: Value) -> tuple[str, ...]:
    """Users or groups, each by name or number."""
    strings(value)
    assert isinstance(value, ListValue)
    return tuple(_account(item) for item in value.items)


def _account(item: Scalar) -> str:
    try:
        return account(item.value)
    except Unfit as unfit:
        raise Unfit(unfit.message, unfit.help, unfit.code, item.span) from None


def strings(value: Value) -> tuple[str, ...]:
    if not isinstance(value, ListValue):
        raise Unfit(f"{_kind(value)} stands where a list is wanted", 'write it as `( "a" "b" )`')
    return tuple(item.value for item in value.items)


def argv(value: Value) -> tuple[str, ...]:
    items = strings(value)
    if not items:
        raise Unfit("the list is empty", 'name the executable: `argv = ( "/bin/echo" "hello" )`')
    assert isinstance(value, ListValue)
    for item in value.items:
        _template(item)
    if not items[0].startswith("/"):
        help = "give the absolute path of the executable; no shell looks it up"
        raise Unfit(f"`{items[0]}` is no absolute path", help, span=value.items[0].span)
    return items


def patterns(value: Value) -> tuple[re.Pattern[str], ...] | None:
    if isinstance(value, Scalar) and value.value.lower() not in ("none", "any"):
        help = f'one regex for each argument stands in a list: `( "{value.value}" )`; or write `none` or `any`'
        raise Unfit(f"`{shortened(value.value)}` is neither `none` nor `any`", help)
    if isinstance(value, Scalar):
        return () if values.choice(value.value, ("none", "any")) == "none" else None
    return _patterns(value, "it must match the whole argument")


def searched_patterns(value: Value) -> tuple[re.Pattern[str], ...]:
    return _patterns(value, "it is searched in the canonical line of the command")


def _patterns(value: Value, how: str) -> tuple[re.Pattern[str], ...]:
    strings(value)
    assert isinstance(value, ListValue)
    return tuple(_pattern(item, how) for item in value.items)


def _pattern(item: Scalar, how: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            # What a later Python may read otherwise is for the operator to decide, not to be printed here.
            warnings.simplefilter("ignore")
            return re.compile(item.value)
    except (re.error, OverflowError, RecursionError) as error:
        message = f"`{item.value}` is no regular expression: {error}"
        raise Unfit(message, f"correct the pattern; {how}", span=item.span) from None


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def environment(value: Value) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Dictionary):
        raise Unfit(f"{_kind(value)} stands where a dictionary is wanted", 'write it as `[ NAME = "value" ]`')
    pairs: dict[str, str] = {}
    for entry in value.entries:
        name = entry.key.value
        if entry.key.missing:
            continue
        if not _VARIABLE.fullmatch(name):
            help = "use letters, digits and `_`"
            raise Unfit(f"`{name}` is no name for a variable", help, "E208", entry.key.span)
        if name.startswith("SCHED_"):
            raise Unfit(f"`{name}` is set by the appliance", "choose another name", "E208", entry.key.span)
        if not isinstance(entry.value, Scalar):
            raise Unfit("a list stands where one value is wanted", "quote the value", span=entry.value.span)
        _template(entry.value)
        pairs[name] = entry.value.value
    return tuple(pairs.items())


def _template(item: Scalar) -> None:
    if "\0" in item.value:
        raise Unfit("the value holds a NUL byte", "remove it", "E106", item.span)
    try:
        list(references(item.value))
    except Unfit as unfit:
        span = item.inner(unfit.span) if unfit.span else item.span
        raise Unfit(unfit.message, unfit.help, unfit.code, span) from None


def _kind(value: Value) -> str:
    return {Scalar: "one value", ListValue: "a list", Dictionary: "a dictionary"}[type(value)]


def whole(least: int, most: int) -> Read:
    """A reader of whole numbers."""
    return scalar(lambda text: values.integer(text, least, most))


def one_of(*choices: str) -> Read:
    """A reader of words from a list; the first is the default."""
    return scalar(lambda text: values.choice(text, choices))


def statuses(value: Value) -> tuple[int, ...]:
    items = strings(value)
    if not items:
        raise Unfit("the list is empty", "name the exit statuses that mean success: `( 0 )`")
    return tuple(values.integer(item, 0, 255) for item in items)


MAX_OUTPUT_LIMIT = 16 * 1024 * 1024


def _output_limit(value: str) -> int:
    size = values.size(value)
    if size > MAX_OUTPUT_LIMIT:
        raise Unfit(f"`{value}` is more than {MAX_OUTPUT_LIMIT // 1024 // 1024}m", "keep less output", "E204")
    return size


# What an operator trusts only to files cannot be set from the console: what is executed, as whom, and where.
FILES_ONLY = frozenset(
    {"argv", "args", "user", "group", "env", "cwd", "umask", "on_failure", "backing_store"},
)

STANZAS: dict[str, StanzaSpec] = {
    "sched": StanzaSpec(
        "the scheduler itself",
        named=False,
        options={
            "backing_store": OptionSpec(
                scalar(store_path),
                "the SQLite file that keeps the jobs; without it they are forgotten at a restart",
            ),
            "catch_up": OptionSpec(
                one_of("once", "none", "all"),
                "of due times that have passed: run the latest, none, or up to 100",
                default="once",
            ),
            "catch_up_within": OptionSpec(scalar(values.positive_duration), "older due times are not made up for"),
            "max_running": OptionSpec(whole(1, 10_000), "programs that run at once; default 8 for each core"),
            "max_jobs": OptionSpec(whole(1, 1_000_000_000), "jobs that are accepted", default="2000000"),
            "history": OptionSpec(whole(0, 1_000_000_000), "runs that are kept", default="100000"),
        },
    ),
    "program": StanzaSpec(
        "an external program that `run NAME` starts",
        named=True,
        options={
            "argv": OptionSpec(argv, "executable (absolute path) and arguments; no shell, `%{option}`", required=True),
            "args": OptionSpec(patterns, "arguments of `run`: none, any, or one regex for each", default="none"),
            "timeout": OptionSpec(scalar(values.positive_duration), "the program is ended after this time"),
            "kill_after": OptionSpec(scalar(values.duration), "time from TERM to KILL", default="10"),
            "user": OptionSpec(
                scalar(account), "who it runs as, by name or number, with the primary and supplementary groups"
            ),
            "group": OptionSpec(
                scalar(account), "the group it runs as, by name or number; without `user` it has no other groups"
            ),
            "env": OptionSpec(environment, "more environment variables; `%{option}`", default="[]"),
            "cwd": OptionSpec(scalar(absolute_path), "the directory it starts in", default="/"),
            "umask": OptionSpec(scalar(values.octal), "the file mode mask it starts with", default="022"),
            "overlap": OptionSpec(
                one_of("skip", "queue", "parallel", "replace"),
                "when a run of the same job has not ended: skip this one, let it wait, start it, or end the other",
                default="skip",
            ),
            "max_running": OptionSpec(whole(1, 10_000), "runs of this program at once; default: no limit"),
            "retries": OptionSpec(whole(0, 1000), "more attempts after one that failed", default="0"),
            "retry_delay": OptionSpec(
                scalar(values.duration),
                "wait before the next attempt; doubled each time, up to an hour",
                default="10",
            ),
            "on_interrupt": OptionSpec(
                one_of("report", "rerun"), "what follows when the appliance ended while it ran", default="report"
            ),
            "on_failure": OptionSpec(scalar(text), "the console command that follows when a run has failed for good"),
            "success": OptionSpec(statuses, "the exit statuses that mean success", default="( 0 )"),
            "output_limit": OptionSpec(scalar(_output_limit), "bytes of output that are kept", default="65536"),
        },
    ),
    "job": StanzaSpec(
        "a job that the files declare",
        named=True,
        options={
            "every": OptionSpec(scalar(values.period), "the period; due at its multiples since 1970"),
            "offset": OptionSpec(scalar(values.duration), "moves the due times of `every`", default="0"),
            "at": OptionSpec(scalar(values.instant), "one due time: Unix timestamp or ISO 8601 with zone"),
            "command": OptionSpec(scalar(text), "the console command to run", required=True),
            "enabled": OptionSpec(scalar(values.boolean), "whether it runs", default="true"),
        },
    ),
    "authorization": StanzaSpec(
        "who may do what; without it, whoever may open the socket may do everything",
        named=False,
        options={},
        stanzas={
            "role": StanzaSpec(
                "commands, and who may give them",
                named=True,
                options={
                    "allow": OptionSpec(
                        searched_patterns, "regexes that are searched in the canonical line of a command", default="()"
                    ),
                    "users": OptionSpec(accounts, "users that the role is given to, by name or number", default="()"),
                    "groups": OptionSpec(accounts, "groups whose members it is given to", default="()"),
                },
            )
        },
    ),
}
