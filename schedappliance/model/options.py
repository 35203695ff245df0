"""The tables of all stanzas and options, with the values that each option takes. The grammar has none of these names.

Rule: an option is added only together with the code that enforces it. An option that is not listed is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from schedappliance.diagnostics import InvalidValue, shortened
from schedappliance.model import moments, resources, time_options, values
from schedappliance.model.items import read_all, read_each, read_text, read_texts
from schedappliance.model.moments import LocalTime
from schedappliance.model.patterns import Pattern, compile_pattern
from schedappliance.model.templates import references
from schedappliance.syntax.tree import Dictionary, Entry, ListValue, Scalar, Value

Read = Callable[[Value], Any]


@dataclass(frozen=True)
class OptionSpec:
    """One option. `read` converts its value for the configuration, and raises InvalidValue.

    `default` is the value, as a file would write it, that an absent option has; None: it has none.
    """

    read: Read
    help: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class StanzaSpec:
    """One stanza. `required`: the options that it must have. `stanzas`: the stanzas that it may contain.

    `elsewhere`: options that it could be expected to have, and why it does not. `in_files`: only the files can set it,
    as nothing else can change several programs, or roles.
    """

    help: str
    named: bool
    options: dict[str, OptionSpec]
    required: tuple[str, ...] = ()
    stanzas: dict[str, StanzaSpec] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    in_files: bool = False


def scalar(read: Callable[[str], Any]) -> Read:
    """A reader of options that hold one word or string."""

    def read_scalar(value: Value) -> Any:
        if not isinstance(value, Scalar):
            raise InvalidValue(f"expected one value, not {_kind(value)}", "give one word or one quoted string")
        return read(value.value)

    return read_scalar


def text(value: str) -> str:
    """Any text without NUL bytes, which no program could receive."""
    if "\0" in value:
        raise InvalidValue("the value contains a NUL byte", "remove it", "E106")
    return value


def path(value: str) -> str:
    if not text(value):
        raise InvalidValue("the path is empty", "give a path")
    return value


def store_path(value: str) -> str:
    """The path of the store. SQLite treats `:memory:` and similar names as databases without a file."""
    values.without_home(value)
    if value.startswith(":"):
        raise InvalidValue(f"`{shortened(value)}` is not a file", "leave out `backing_store` to keep jobs in memory")
    return path(value)


def absolute_path(value: str) -> str:
    if not path(value).startswith("/"):
        raise InvalidValue(f"`{shortened(value)}` is not an absolute path", "begin it with `/`")
    return value


# The kernel reads an id of all ones as "do not change".
MAX_ID = 2**32 - 2
_ACCOUNT = re.compile(r"[^\x00-\x1f\x7f:/]+")


def account(value: str) -> str:
    """A user or a group, by name or number. references.py checks whether this machine knows it."""
    if not _ACCOUNT.fullmatch(text(value)):
        raise InvalidValue(f"invalid user or group `{shortened(value)}`", "give a name such as `backup`, or a number")
    if value.isascii() and value.isdigit():
        return str(values.integer(value, 0, MAX_ID))
    return value


def accounts(value: Value) -> tuple[str, ...]:
    """Users or groups, each by name or number."""
    return tuple(read_texts(items_of(value), account))


def items_of(value: Value) -> tuple[Scalar, ...]:
    """The items of a list."""
    if not isinstance(value, ListValue):
        raise InvalidValue(f"expected a list, not {_kind(value)}", 'write it as `( "a" "b" )`')
    return value.items


def argv(value: Value) -> tuple[str, ...]:
    """The executable and its arguments, each a template."""
    if isinstance(value, Scalar) and value.value.strip():
        raise InvalidValue("expected a list, not one value", f"write it as `{values.words_as_list(value.value)}`")
    items = items_of(value)
    if not items:
        raise InvalidValue("the list is empty", 'name the executable: `argv = ( "/bin/echo" "hello" )`')
    read_all(partial(_check_executable, items[0]), partial(read_each, items, template))
    return tuple(item.value for item in items)


def _check_executable(item: Scalar) -> None:
    if not item.value.startswith("/"):
        remedy = "give the absolute path of the executable; no shell searches for it"
        raise InvalidValue(f"`{shortened(item.value)}` is not an absolute path", remedy, span=item.span)


def patterns(value: Value) -> tuple[Pattern, ...] | None:
    """One pattern for each argument; None: any arguments."""
    if isinstance(value, Scalar) and value.value.lower() not in ("none", "any"):
        remedy = f'write a list with one regex for each argument: `( "{value.value}" )`; or write `none` or `any`'
        raise InvalidValue(f"`{shortened(value.value)}` is neither `none` nor `any`", remedy)
    if isinstance(value, Scalar):
        return () if value.value.lower() == "none" else None
    return _patterns(value, "it must match the whole argument")


def searched_patterns(value: Value) -> tuple[Pattern, ...]:
    """Patterns that are searched in the canonical line of a command."""
    return _patterns(value, "it is searched in the canonical line of the command")


def name_patterns(value: Value) -> tuple[Pattern, ...]:
    """Patterns, one of which must match a whole name."""
    return tuple(read_texts(_one_or_several(value), partial(_pattern, use="it must match the whole name")))


def some_of(*choices: str) -> Read:
    """A reader of one or several of these words."""

    def read_words(value: Value) -> tuple[str, ...]:
        words = read_texts(_one_or_several(value), partial(values.choice, choices=choices))
        return tuple(dict.fromkeys(words))

    return read_words


def _one_or_several(value: Value) -> tuple[Scalar, ...]:
    items = (value,) if isinstance(value, Scalar) else items_of(value)
    if not items:
        raise InvalidValue("the list is empty", "give at least one item, or leave the option out")
    return items


def _patterns(value: Value, use: str) -> tuple[Pattern, ...]:
    return tuple(read_texts(items_of(value), partial(_pattern, use=use)))


def _pattern(value: str, use: str) -> Pattern:
    try:
        return compile_pattern(value)
    except ValueError as error:
        message = f"invalid regular expression `{shortened(value)}`: {error}"
        raise InvalidValue(message, f"correct the pattern, in the syntax of RE2; {use}") from None


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def is_variable(name: str) -> bool:
    """Whether a program may get a variable of this name from its options. The appliance sets `SCHED_…` itself."""
    return bool(_VARIABLE.fullmatch(name)) and not name.startswith("SCHED_")


def passed_variables(value: Value) -> tuple[str, ...]:
    """Names of variables of the daemon."""
    return tuple(read_texts(items_of(value), _passed_variable))


def _passed_variable(name: str) -> str:
    if not is_variable(name):
        message = f"invalid variable name `{shortened(name)}`"
        raise InvalidValue(message, "use letters, digits and `_`, and no name that begins with `SCHED_`", "E208")
    return name


MAX_STDIN = 1024 * 1024


def standard_input(value: Value) -> str:
    """A template whose text a program reads from its standard input."""
    if not isinstance(value, Scalar):
        raise InvalidValue(f"expected one text, not {_kind(value)}", "quote the text")
    template(value)
    if len(value.value.encode(errors="surrogateescape")) > MAX_STDIN:
        raise InvalidValue("the text is larger than 1 MiB", "let the program read a file", "E204")
    return value.value


def environment(value: Value) -> tuple[tuple[str, str], ...]:
    """Names and templates of environment variables."""
    if not isinstance(value, Dictionary):
        raise InvalidValue(f"expected a dictionary, not {_kind(value)}", 'write it as `[ NAME = "value" ]`')
    entries = [entry for entry in value.entries if not entry.key.missing]
    return tuple(dict(read_each(entries, _variable)).items())


def _variable(entry: Entry) -> tuple[str, str]:
    name, value = read_all(lambda: read_text(entry.key, _own_variable), lambda: _variable_value(entry.value))
    return name, value


def _variable_value(value: Scalar | ListValue) -> str:
    if not isinstance(value, Scalar):
        raise InvalidValue("expected one value, not a list", "quote the value", span=value.span)
    return template(value)


def _own_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise InvalidValue(f"invalid variable name `{shortened(name)}`", "use letters, digits and `_`", "E208")
    if name.startswith("SCHED_"):
        raise InvalidValue(f"the appliance sets `{shortened(name)}` itself", "choose another name", "E208")
    return name


def template(item: Scalar) -> str:
    """A text with options. Raises InvalidValue at its place in the file for one that `templates.expand` could not expand."""
    if "\0" in item.value:
        raise InvalidValue("the value contains a NUL byte", "remove it", "E106", item.span)
    if "%" in item.value:
        read_text(item, lambda text: list(references(text)))
    return item.value


def _kind(value: Value) -> str:
    return {Scalar: "one value", ListValue: "a list", Dictionary: "a dictionary"}[type(value)]


def whole(least: int, most: int) -> Read:
    """A reader of whole numbers in a range, both ends included."""
    return scalar(lambda text: values.integer(text, least, most))


def one_of(*choices: str) -> Read:
    """A reader of one word out of several."""
    return scalar(lambda text: values.choice(text, choices))


def or_none(read: Read) -> Read:
    """A reader that also takes `none`, for an option whose absence would mean the value of `defaults`."""

    def read_or_none(value: Value) -> Any:
        is_none = isinstance(value, Scalar) and value.value.lower() == "none"
        return None if is_none else read(value)

    return read_or_none


BOOT = "boot"


def boot_or_instant(value: str) -> int | LocalTime | str:
    """An instant, a local time, or BOOT."""
    if value.lower() in ("reboot", "@reboot"):
        raise InvalidValue(f"invalid time `{value}`", f"write `at = {BOOT}`")
    return BOOT if value.lower() == BOOT else moments.at_option(value)


def statuses(value: Value) -> tuple[int, ...]:
    """Exit statuses."""
    return tuple(dict.fromkeys(read_texts(items_of(value), partial(values.integer, least=0, most=255))))


# These options decide which programs run, as which user and with which limits. Only the files can set them, not the console.
FILES_ONLY = frozenset(
    {
        *("argv", "args", "stdin", "user", "group", "env", "env_file", "pass_env", "cwd", "umask"),
        *("nice", "ionice", "limits", "memory_max", "cpu_weight", "on_failure", "backing_store"),
    }
)

PROGRAM: dict[str, OptionSpec] = {
    "argv": OptionSpec(
        argv,
        "absolute path of the executable, and its arguments, which may contain `%{option}`; no shell is used",
    ),
    "args": OptionSpec(patterns, "arguments that `run` may add: `none`, `any`, or one regex for each", default="none"),
    "timeout": OptionSpec(or_none(scalar(values.positive_duration)), "maximum time of one attempt; default: no limit"),
    "kill_after": OptionSpec(scalar(values.duration), "time between SIGTERM and SIGKILL", default="10"),
    "tree": OptionSpec(
        one_of("all", "group"), "whether a timeout or a stop ends all descendants, or the process group", default="all"
    ),
    "user": OptionSpec(
        scalar(account),
        "user that the program runs as, by name or number, with the user's primary and supplementary groups",
    ),
    "group": OptionSpec(
        scalar(account),
        "group that the program runs as, by name or number; without `user`, it has no supplementary groups",
    ),
    "env": OptionSpec(environment, "additional environment variables; values may contain `%{option}`", default="[]"),
    "env_file": OptionSpec(
        or_none(scalar(absolute_path)), "file of more environment variables, `NAME=VALUE` lines, read at each start"
    ),
    "pass_env": OptionSpec(
        passed_variables, "variables that the program gets from the environment of the appliance", default="()"
    ),
    "stdin": OptionSpec(
        standard_input, "text that the program reads from its standard input; it may contain `%{option}`"
    ),
    "cwd": OptionSpec(scalar(absolute_path), "working directory", default="/"),
    "umask": OptionSpec(scalar(values.umask), "file mode creation mask", default="022"),
    "nice": OptionSpec(or_none(scalar(resources.nice)), "nice value, from -20 to 19; default: that of the appliance"),
    "ionice": OptionSpec(
        or_none(scalar(resources.ionice)),
        "priority for the disk: `idle`, or from 0 to 7; default: that of the appliance",
    ),
    "memory_max": OptionSpec(
        or_none(scalar(resources.memory)), "memory of all processes of the program together; default: no limit"
    ),
    "cpu_weight": OptionSpec(
        or_none(whole(1, 10_000)), "share of the processors, beside the 100 of other cgroups; default: none of its own"
    ),
    "limits": OptionSpec(resources.limits, "limits of each process, such as `nofile` and `memory`", default="[]"),
    "overlap": OptionSpec(
        one_of("skip", "queue", "parallel", "replace"),
        "what to do when an earlier run of the job has not ended: skip the new run, let it wait, start it too, or"
        " stop the earlier run and start the new one",
        default="skip",
    ),
    "max_running": OptionSpec(or_none(whole(1, 10_000)), "maximum number of runs at once; default: no limit"),
    "retries": OptionSpec(whole(0, 1000), "number of attempts that may follow a failed one", default="0"),
    "retry_delay": OptionSpec(
        scalar(values.duration),
        "wait before the first retry; each further wait is twice as long, up to an hour",
        default="10",
    ),
    "on_interrupt": OptionSpec(
        one_of("report", "rerun"),
        "treatment of a run that was interrupted by the end of the appliance: report it, or run it again",
        default="report",
    ),
    "on_failure": OptionSpec(or_none(scalar(text)), "console command to carry out when a run has failed for good"),
    "success": OptionSpec(statuses, "exit statuses that mean success", default="( 0 )"),
    "output_limit": OptionSpec(
        scalar(resources.output_limit), "bytes of output that are kept, such as `64k`", default="65536"
    ),
}

# What a job may say about the program that it declares. The job starts it without more arguments.
OF_ITS_PROGRAM = {name: option for name, option in PROGRAM.items() if name != "args"}

# What `defaults` may say for all programs.
OF_ALL_PROGRAMS = {name: option for name, option in OF_ITS_PROGRAM.items() if name not in ("argv", "stdin")}

# What a job may say instead of `sched`, beside `zone`.
OF_SCHED = ("catch_up", "catch_up_within")

# What decides the due times of a job.
TIME_OPTIONS: dict[str, OptionSpec] = {
    "every": OptionSpec(scalar(values.period), "period; the job is due at multiples of it since 1970"),
    "offset": OptionSpec(scalar(values.duration), "delay of the due times of `every`", default="0"),
    "at": OptionSpec(
        scalar(boot_or_instant),
        'one due time: a Unix timestamp, an ISO 8601 time with zone, or a local time such as `"2026-12-24 08:00"`; or'
        " `boot`: once in each boot of the machine",
    ),
    "delay": OptionSpec(scalar(values.duration), "delay of the due time of `at = boot`", default="0"),
    "cron": OptionSpec(
        time_options.cron,
        'cron expression or a list of them, such as `"30 2 * * MON-FRI"`; due when one of them matches',
    ),
    "calendar": OptionSpec(
        time_options.calendar,
        'calendar expression as `OnCalendar` of systemd, or a list, such as `"Mon..Fri 02:30 Europe/Berlin"`',
    ),
    "zone": OptionSpec(
        scalar(time_options.zone_name),
        "time zone of expressions and local times that name none, and of `within`: an IANA name, `UTC` or `local`; default: that of"
        " `sched`",
    ),
    "dst_skipped": OptionSpec(
        one_of("run", "shift", "omit"),
        "local times that the clock skips: due once at the first instant after them, later by the length of the gap, or"
        " not; default: `omit` for a rolling expression, else `run`",
    ),
    "dst_repeated": OptionSpec(
        one_of("first", "last", "both"),
        "local times that the clock shows twice: when they are due; default: `both` for a rolling expression, else"
        " `first`",
    ),
    "within": OptionSpec(
        time_options.windows, 'weekdays and times of day at which it may be due, such as `"Mon..Fri 08:00..18:00"`'
    ),
    "only": OptionSpec(time_options.names, "names of `days`: due only on these days"),
    "except": OptionSpec(time_options.names, "names of `days`: not due on these days"),
    "move": OptionSpec(
        one_of("none", "next", "previous", "nearest"),
        "treatment of a due day that `only` or `except` takes out: drop it, or take another day that is left in its place",
        default="none",
    ),
    "nth": OptionSpec(
        time_options.positions, "which of the due days of each month count: 1 is the first one, -1 the last one"
    ),
    "each": OptionSpec(
        scalar(time_options.each),
        "only every nth day, week, month or year since `from`: `3d`, `2w`, `6mo`, `1y`",
    ),
    "from": OptionSpec(scalar(moments.from_option), "first instant at which it may be due, as for `at`, or a date"),
    "until": OptionSpec(scalar(moments.until_option), "last instant at which it may be due, as for `at`, or a date"),
    "spread": OptionSpec(
        scalar(time_options.delay), "limit of a delay that this job always has on this node", default="0"
    ),
    "jitter": OptionSpec(
        scalar(time_options.delay), "limit of a delay that differs for each due time, but never changes", default="0"
    ),
}

# What a `notify` stanza can tell.
EVENTS = (
    *("failed", "timed_out", "interrupted", "missed", "skipped", "late", "recovered"),
    *("started", "succeeded", "output", "degraded", "reload_refused"),
)

NOTIFY: dict[str, OptionSpec] = {
    "jobs": OptionSpec(
        name_patterns,
        "regexes, one of which must match the whole name of the job or of its program; default: all declared jobs",
    ),
    "when": OptionSpec(
        some_of(*EVENTS),
        f"the events that are told: {', '.join(EVENTS)}",
        default="( failed timed_out interrupted missed late recovered )",
    ),
    "after": OptionSpec(whole(1, 1000), "number of such events in a row before the first alert", default="1"),
    "again": OptionSpec(
        scalar(values.duration), "interval of reminders while the job has not recovered; 0: none", default="1d"
    ),
    "longer_than": OptionSpec(whole(2, 1000), "factor of the usual duration after which a run is late", default="3"),
    "incidents": OptionSpec(
        scalar(values.boolean), "`false`: each event is told, even if the job already failed before", default="true"
    ),
    "collect": OptionSpec(
        scalar(values.duration), "how long an alert waits for more events, which it tells too", default="0"
    ),
    "at": OptionSpec(
        time_options.calendar,
        "calendar expression: until this time, an alert waits for more events, as in a daily digest",
    ),
    "command": OptionSpec(scalar(text), "the program that delivers the alerts: `run NAME`"),
}

STANZAS: dict[str, StanzaSpec] = {
    "sched": StanzaSpec(
        "settings of the scheduler",
        named=False,
        options={
            "backing_store": OptionSpec(
                scalar(store_path),
                "SQLite file that keeps jobs and runs; without it, a restart loses them",
            ),
            "zone": OptionSpec(
                scalar(time_options.time_zone),
                "time zone of calendars and of `sched at` where they name none: an IANA name, `UTC`, or `local` for the"
                " machine's",
            ),
            "catch_up": OptionSpec(
                one_of("once", "none", "all"),
                "due times to run after a downtime: the latest one that passed, none, or up to 100",
                default="once",
            ),
            "catch_up_within": OptionSpec(
                scalar(values.positive_duration), "maximum age of a due time that is caught up; default: any age"
            ),
            "on_stop": OptionSpec(
                one_of("end", "keep"), "whether SIGTERM ends programs, or keeps them for the next daemon", default="end"
            ),
            "max_running": OptionSpec(
                whole(1, 10_000), "maximum number of programs that run at once; default: 8 for each core"
            ),
            "max_jobs": OptionSpec(whole(1, 1_000_000_000), "maximum number of jobs", default="2000000"),
            "history": OptionSpec(whole(0, 1_000_000_000), "number of past runs that are kept", default="100000"),
        },
    ),
    "program": StanzaSpec("a program that `run NAME` starts", named=True, options=PROGRAM, required=("argv",)),
    "job": StanzaSpec(
        "a job that the files declare",
        named=True,
        options={
            **TIME_OPTIONS,
            "catch_up": OptionSpec(
                one_of("once", "none", "all"), "as `catch_up` of `sched`, for this job; default: that of `sched`"
            ),
            "catch_up_within": OptionSpec(
                scalar(values.positive_duration),
                "as `catch_up_within` of `sched`, for this job; default: that of `sched`",
            ),
            "command": OptionSpec(scalar(text), "console command to carry out"),
            "enabled": OptionSpec(scalar(values.boolean), "whether the job runs", default="true"),
            **OF_ITS_PROGRAM,
        },
        elsewhere={"args": "`run NAME` adds arguments to a program; a job gives all of them in `argv`"},
    ),
    "days": StanzaSpec(
        "dates that `only` and `except` of jobs name",
        named=True,
        options={
            "dates": OptionSpec(
                time_options.dates,
                'dates as in calendar expressions, such as `( "Sat..Sun" "*-12-25..26" "2027-03-26" )`',
            )
        },
        required=("dates",),
    ),
    "notify": StanzaSpec(
        "events that a program tells to people", named=True, options=NOTIFY, required=("command",), in_files=True
    ),
    "defaults": StanzaSpec(
        "options of all programs that do not set them themselves",
        named=False,
        options=OF_ALL_PROGRAMS,
        elsewhere=dict.fromkeys(("argv", "args", "stdin"), "each program and each job has its own"),
        in_files=True,
    ),
    "authorization": StanzaSpec(
        "roles and their users; without it, everyone who can open the socket may give every command",
        named=False,
        options={
            "delegates": OptionSpec(
                accounts, "users that may give commands on behalf of other users, by name or number", default="()"
            )
        },
        elsewhere=dict.fromkeys(("allow", "users", "groups"), 'write it in `Role "NAME" { ... }`'),
        in_files=True,
        stanzas={
            "role": StanzaSpec(
                "commands, and the users and groups that may give them",
                named=True,
                elsewhere={"delegates": "write it in `Authorization { ... }`, beside the roles"},
                options={
                    "allow": OptionSpec(
                        searched_patterns,
                        "regexes, one of which must match somewhere in the canonical line of a command",
                        default="()",
                    ),
                    "users": OptionSpec(accounts, "users that have the role, by name or number", default="()"),
                    "groups": OptionSpec(
                        accounts, "groups whose members have the role, by name or number", default="()"
                    ),
                },
            )
        },
    ),
}


def _stanza_of() -> dict[str, str]:
    """The stanza of each option, as it is written: `job "NAME"`. `offset` and others stand in one stanza only."""
    owners: dict[str, str] = {}
    for name, spec in STANZAS.items():
        for title, inner in ((name, spec), *(("Role", role) for role in spec.stanzas.values())):
            for option in inner.options:
                owners.setdefault(option, f'{title} "NAME"' if inner.named else title)
    return owners


def stanzas_with(option: str) -> str:
    """The stanzas that take an option of STANZA_OF, as a remedy names them."""
    stanza = f"`{STANZA_OF[option]} {{ ... }}`"
    is_common = stanza.startswith("`program") and option in OF_ALL_PROGRAMS
    return f"`defaults {{ ... }}` or {stanza}" if is_common else stanza


# A global option of such a name would have no effect, though it looks as if it had one for all stanzas.
STANZA_OF = _stanza_of()
