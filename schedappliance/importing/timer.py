"""Turns a systemd timer into stanzas: reads its schedules and delays, and lets service.py read its program.

Rule: the due times of OnCalendar are kept exactly; what a timer counts from the last start gets fixed times, and a note.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import InvalidValue, shortened
from schedappliance.importing import stanzas
from schedappliance.importing.expressions import Expressions
from schedappliance.importing.service import Program, import_service
from schedappliance.importing.stanzas import Entry, Imported, Job, NotPossible, Wishes
from schedappliance.importing.units import (
    SYSTEM,
    SYSTEM_DIRECTORIES,
    Owner,
    Unit,
    described,
    find_unit,
    time_span,
    with_specifiers,
)
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.files import ReadFile, ends_with, real_path
from schedappliance.model.time_options import MOST_EXPRESSIONS
from schedappliance.model.values import duration_text

DIFFERENCES = (
    "Output is kept with each run, and `sched show` prints it; the journal does not receive it.",
    "A program that does not end at SIGTERM gets SIGKILL after 10 s, or after `kill_after`; systemd waits for 90 s.",
    "Clock changes: a fixed time that the clock skips is due at the first instant after it; systemd leaves it out. A"
    " repeating time such as `*:0/15` goes on while the clock shows an hour again; systemd waits for the end of that hour."
    " `dst_skipped` and `dst_repeated` choose.",
)

_TRIGGERS = ("OnCalendar", "OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec")
_SINCE_START = ("OnBootSec", "OnStartupSec", "OnActiveSec")
_AFTER_RUN = ("OnUnitActiveSec", "OnUnitInactiveSec")
_SHORT_RANGE = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)([a-z]*)-(?=Mon|Tue|Wed|Thu|Fri|Sat|Sun)", re.I)
_CARRIED_OUT = frozenset(
    {*_TRIGGERS, "Persistent", "RandomizedDelaySec", "FixedRandomDelay", "RandomizedOffsetSec", "Unit"}
    | {"AccuracySec", "RemainAfterElapse"}
)


@dataclass(frozen=True, slots=True)
class _Trigger:
    key: str
    value: str


def import_timer(path: Path, wishes: Wishes, read_file: ReadFile, expressions: Expressions) -> Imported:
    """The jobs of one timer.

    A path such as `…/pg_dump@main.timer` needs no file of this name if there is a template `pg_dump@.timer`.
    """
    imported = Imported("", DIFFERENCES)
    entry = Entry(str(path))
    imported.entries.append(entry)
    try:
        place = _place(path.parent)
        directories = _directories(place)
        # A link to an enabled timer stands for the file that systemd reads.
        timer = _find(path.name, [place] if place == path.parent else directories, directories, read_file)
        entry.notes += _overridden(timer.path, directories)
        _fill(entry, timer, directories, wishes, read_file, expressions)
    except NotPossible as error:
        entry.failure = str(error)
        entry.jobs.clear()
    return imported


def _fill(
    entry: Entry,
    timer: Unit,
    directories: list[Path],
    wishes: Wishes,
    read_file: ReadFile,
    expressions: Expressions,
) -> None:
    if timer.instance == "":
        raise NotPossible("the timer is a template", f"name an instance, such as {timer.prefix}@NAME.timer")
    triggers = _triggers(timer)
    if timer.name.endswith(".conf") or not (triggers or timer.name.endswith(".timer")):
        remedy = "name the timer; its service and its drop-ins are imported with it"
        raise NotPossible("only a timer has times", remedy)
    if not triggers:
        raise NotPossible("the timer has no time", "add OnCalendar= or another one")
    name = timer.value("Timer", "Unit") or f"{timer.name.removesuffix('.timer')}.service"
    owner = _owner_of(timer, wishes)
    name = with_specifiers(name, timer, owner)
    if not name.endswith(".service"):
        raise NotPossible(f"the timer starts {name}, which is not a service", "name the program of its service")
    service = _find(name, directories, directories, read_file)
    if not owner.user:
        entry.notes.append("a unit of a user: the job runs as the user of the appliance; `--user NAME` names the owner")
    if description := service.value("Unit", "Description") or timer.value("Unit", "Description"):
        entry.comments.append(described(description, service, owner))
    schedules = _schedules(timer, triggers, owner, wishes, expressions, entry)
    program = import_service(service, wishes, owner)
    _add_jobs(entry, timer.name.removesuffix(".timer"), schedules, program)
    entry.notes += program.notes
    entry.notes += _other_directives(timer)


def _find(name: str, directories: list[Path], drop_ins: list[Path], read_file: ReadFile) -> Unit:
    unit = find_unit(name, directories, drop_ins, read_file)
    if unit.diagnostics:
        raise NotPossible(unit.diagnostics[0].brief())
    return unit


def _place(directory: Path) -> Path:
    """The directory of a unit, also for the directory of links to enabled units."""
    return real.parent if (real := real_path(directory)).name.endswith((".wants", ".requires")) else directory


def _directories(place: Path) -> list[Path]:
    """The directories that may hold a service and drop-ins. Those of the system are searched as systemd does it."""
    system = [Path(name) for name in SYSTEM_DIRECTORIES]
    is_of_system = place.resolve() in (directory.resolve() for directory in system)
    return system if is_of_system else [place]


def _overridden(path: Path, directories: list[Path]) -> list[str]:
    """A note if systemd reads another file of the same name instead."""
    for directory in directories:
        if directory.resolve() == path.parent.resolve():
            break
        if os.path.lexists(directory / path.name):
            return [f"systemd does not read this file: {directory / path.name} overrides it"]
    return []


def _owner_of(timer: Unit, wishes: Wishes) -> Owner:
    """A user if the units are in a directory of users, or if the user of `import` names one; else the system."""
    if wishes.user:
        return Owner(wishes.user, wishes.home_of(wishes.user))
    return Owner(None, None) if ends_with(timer.path.parent, "systemd", "user") else SYSTEM


def _triggers(timer: Unit) -> list[_Trigger]:
    """The times of a timer. An empty value of any of them removes all before it."""
    triggers: list[_Trigger] = []
    for directive in timer.directives:
        if directive.section != "Timer" or directive.key not in _TRIGGERS:
            continue
        if directive.value:
            triggers.append(_Trigger(directive.key, directive.value))
        else:
            triggers.clear()
    return triggers


def _schedules(
    timer: Unit, triggers: list[_Trigger], owner: Owner, wishes: Wishes, expressions: Expressions, entry: Entry
) -> list[dict[str, str]]:
    """The options of the schedule of each job that the timer needs."""
    delay = _delay(timer, entry)
    schedules = []
    values = list(dict.fromkeys(trigger.value for trigger in triggers if trigger.key == "OnCalendar"))
    if len(values) > MOST_EXPRESSIONS:
        raise NotPossible(f"a list has at most {MOST_EXPRESSIONS} expressions", "put the others into a second timer")
    calendar = dict(_expression(value, timer, owner, expressions) for value in values)
    if calendar:
        options = {"calendar": stanzas.one_or_list(list(calendar))}
        if not all(expression.zone for expression in calendar.values()):
            options["zone"] = stanzas.zone(wishes.zone)
        if len({expression.rolling for expression in calendar.values()}) > 1:
            # Such a list has no rule of its own for clock changes. This is that of systemd.
            options |= {"dst_skipped": "omit", "dst_repeated": "first"}
        options["catch_up"] = "once" if timer.is_on("Timer", "Persistent") else "none"
        schedules.append(options | delay)
    starts = [trigger for trigger in triggers if trigger.key in _SINCE_START]
    repeats = [trigger for trigger in triggers if trigger.key in _AFTER_RUN]
    for repeat in dict.fromkeys(repeats):
        if delay and _span(repeat) % 1000:
            message = f"{repeat.key}={repeat.value} has a fraction of a second beside a random delay"
            raise NotPossible(message, "give whole seconds")
        schedules.append(_repeated(repeat, starts, entry) | delay)
    for start in dict.fromkeys(starts) if not repeats else []:
        milliseconds = _span(start)
        options = {"at": "boot"}
        if milliseconds:
            options["delay"] = duration_text(milliseconds)
        if start.key == "OnActiveSec":
            entry.notes.append(f"OnActiveSec={start.value} counts from the start of the timer, here from the boot")
        if delay:
            entry.notes.append("the random delay is left out: a job `at = boot` has none")
        schedules.append(options)
    return schedules


def _repeated(repeat: _Trigger, starts: list[_Trigger], entry: Entry) -> dict[str, str]:
    milliseconds = _span(repeat)
    if milliseconds < 1000:
        raise NotPossible(f"{repeat.key}={repeat.value} is shorter than one second", "give a longer period")
    since = " and ".join(f"{trigger.key}={trigger.value}" for trigger in starts)
    origin = {"OnUnitActiveSec": "start", "OnUnitInactiveSec": "end"}[repeat.key]
    caught_up = (
        "when the appliance starts, `catch_up = once` starts a run if the job was due while the appliance was down"
    )
    first = f" {since} is left out; {caught_up}." if since else ""
    entry.notes.append(
        f"{repeat.key}={repeat.value} counts from the {origin} of the last run; `every` is due at multiples of the period"
        f" since 1970, and `offset` moves them.{first}"
    )
    return {"every": duration_text(milliseconds), "catch_up": "once" if since else "none"}


def _span(trigger: _Trigger) -> int:
    milliseconds = time_span(trigger.value)
    if milliseconds is None:
        raise NotPossible(f"{trigger.key}=infinity is never due", "remove it")
    return milliseconds


def _delay(timer: Unit, entry: Entry) -> dict[str, str]:
    options = {}
    random_delay = "spread" if timer.is_on("Timer", "FixedRandomDelay") else "jitter"
    for key, option in (("RandomizedOffsetSec", "spread"), ("RandomizedDelaySec", random_delay)):
        value = timer.value("Timer", key)
        if value and (milliseconds := time_span(value)):
            seconds = -(-milliseconds // 1000)
            if seconds * 1000 != milliseconds:
                entry.notes.append(f"{key}={value} is rounded up: `{option}` takes whole seconds")
            options[option] = duration_text(seconds * 1000)
    return options


def _expression(value: str, timer: Unit, owner: Owner, expressions: Expressions) -> tuple[str, Expression]:
    """An expression as the appliance takes it, and its meaning."""
    expression = _SHORT_RANGE.sub(r"\1\2..", with_specifiers(value, timer, owner))
    expression = " ".join(expression.split())
    if expression.startswith("@"):
        raise NotPossible(f"OnCalendar={shortened(value)} is one instant", "write it as `at = …`")
    try:
        return expression, expressions.calendar(expression)
    except InvalidValue as invalid:
        raise NotPossible(f"OnCalendar={shortened(value)}: {invalid.message}", invalid.help) from None


def _add_jobs(entry: Entry, name: str, schedules: list[dict[str, str]], program: Program) -> None:
    first, *others = schedules
    declared = Job(name, first | program.options, program.variables)
    entry.jobs.append(declared)
    # The first job declares the program, and the others run it.
    for options in others:
        suffix = "boot" if "at" in options else "every"
        entry.jobs.append(Job(f"{name}-{suffix}", options, runs=declared))


def _other_directives(timer: Unit) -> list[str]:
    notes = []
    for directive in timer.directives:
        if directive.section != "Timer" or directive.key in _CARRIED_OUT or not directive.value:
            continue
        if directive.key in ("WakeSystem", "OnClockChange", "OnTimezoneChange", "DeferReactivation"):
            if directive.value.lower() in ("1", "yes", "true", "on"):
                notes.append(f"{directive.key}={directive.value} is left out: the appliance has nothing like it")
        else:
            notes.append(f"{directive.key}={shortened(directive.value)} is left out: it is not known")
    return notes
