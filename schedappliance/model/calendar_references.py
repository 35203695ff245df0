"""Checks the calendars of declared jobs: unknown time zones, undeclared `days`, and calendars that are never due.

Rule: each option that is wrong has one diagnostic, and a job with one is not judged further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schedappliance.diagnostics import Diagnostic, Span, did_you_mean, shortened
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.day_lists import DayLists
from schedappliance.model.calendars.doubts import never_due, unknown_zone
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.instants import zone_remedy
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import UnknownZone, Zones
from schedappliance.model.configuration import DeclaredJob, ReadOption
from schedappliance.model.option_paths import Scope
from schedappliance.model.time_options import items_of
from schedappliance.syntax.tree import Scalar

# The options in the order in which they take due times away, with what each of them is when it is absent.
_STEPS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("each",), {"each": None}),
    (("only", "except"), {"only": (), "excluded": (), "move": None}),
    (("nth",), {"nth": ()}),
    (("within",), {"within": ()}),
    (("until", "from"), {"from_ms": None, "until_ms": None, "from_day": None, "until_day": None}),
)


@dataclass(slots=True)
class CalendarChecks:
    """Checks the calendars of one configuration. Jobs with the same calendar are alike, so it is computed once.

    `zone`: that of `sched`.
    `is_whole` False: `sched` with a zone and `days` may stand elsewhere, so a job that lacks one is not judged.
    `is_faulty`: whether a `days` stanza has an error, which is reported already.
    """

    zones: Zones
    days: DayLists
    zone: str | None
    is_whole: bool = True
    is_faulty: Callable[[Scope], bool] = lambda _: False
    _due: dict[CalendarRule, bool] = field(default_factory=dict)

    def mistakes(self, job: DeclaredJob, suggest: bool = True) -> list[Diagnostic]:
        """The wrong references of a job's calendar, or else the reason why it is never due."""
        rule = job.schedule
        if not isinstance(rule, CalendarRule) and not job.local_times:
            return []
        diagnostics = [*self._unknown_days(job, suggest), *self._wrong_zones(job, rule)]
        if diagnostics:
            return [one for one in diagnostics if self.is_whole or one.code not in ("E205", "E311")]
        if not isinstance(rule, CalendarRule) or not {*rule.only, *rule.excluded} <= self.days.keys():
            return []
        return list(self._never(job, rule))

    def mistakes_of_expressions(self, read: ReadOption) -> Iterator[Diagnostic]:
        """The unknown zones of calendar expressions outside a job, and those that are never due."""
        for item in items_of(read.node):
            rule = CalendarRule(syntax="calendar", expressions=(item.value,), zone="UTC")
            (expression,) = rule.read_expressions()
            if expression.zone is not None and (error := self._error(expression.zone)):
                span = item.inner(zone_inside(item.value, expression.zone))
                yield unknown_zone(error, self.zones, span).diagnostic(read.source)
            elif not self.is_due(rule):
                yield never_due(expression, item.span).diagnostic(read.source)

    def _unknown_days(self, job: DeclaredJob, suggest: bool) -> Iterator[Diagnostic]:
        for option in ("only", "except"):
            for read, item in items_in(job.times, option):
                if item.value not in self.days and not self.is_faulty(Scope("days", item.value)):
                    declare = f'declare it: `days "{shortened(item.value)}" {{ dates = ( ... ) }}`'
                    remedy = did_you_mean(item.value, self.days if suggest else (), declare)
                    message = f"days `{shortened(item.value)}` are not declared"
                    yield Diagnostic("E311", message, remedy, read.source, item.span)

    def _wrong_zones(self, job: DeclaredJob, schedule: object) -> Iterator[Diagnostic]:
        """Unknown zones; or the first place that needs a zone, if the job and `sched` name none."""
        rule = schedule if isinstance(schedule, CalendarRule) else None
        inside = [
            (read, item, expression.zone) for read, item, expression in (expressions_in(job, rule) if rule else ())
        ]
        # A date alone is a day in the zone of each expression.
        has_days = bool(inside) and all(name is not None for _, _, name in inside)
        for option, when in job.local_times.items():
            if when.is_day and has_days:
                continue
            inside += [(read, item, when.zone) for read, item in items_in(job.times, option)]
        for read, item, name in inside:
            if name is not None and (error := self._error(name)):
                span = item.inner(zone_inside(item.value, name))
                yield unknown_zone(error, self.zones, span).diagnostic(read.source)
        own = job.times.get("zone")
        if own and (error := self._error(own.value)):
            yield unknown_zone(error, self.zones, own.node.span).diagnostic(own.source)
        if own or self.zone is not None:
            return
        needing = next(((read, item) for read, item, name in inside if name is None), None)
        if rule and rule.syntax == "every":
            needing = needing or next(items_in(job.times, "within"), None)
        if needing:
            read, item = needing
            remedy = f"{zone_remedy(self.zones)} here or once in `sched`"
            yield Diagnostic("E205", f'job "{job.name}" has no time zone', remedy, read.source, item.span)

    def _error(self, name: str) -> UnknownZone | None:
        try:
            self.zones.get(name)
        except UnknownZone as error:
            return error
        return None

    def _never(self, job: DeclaredJob, rule: CalendarRule) -> Iterator[Diagnostic]:
        alone = rule.undelayed()
        for _, absent in _STEPS:
            alone = replace(alone, **absent)
        inside = list(expressions_in(job, rule))
        if rule.undelayed() == alone and len(inside) < 2 and self.is_due(rule):
            return
        # By itself an expression is judged in microseconds. With rules for days, 8,000 years may have to be searched.
        never = [
            (read, item, expression)
            for read, item, expression in inside
            if not self.is_due(replace(alone, expressions=(item.value,)))
        ]
        for read, item, expression in never:
            yield never_due(expression, item.span).diagnostic(read.source)
        if not never and not self.is_due(rule):
            yield self._culprit(job, rule, alone)

    def _culprit(self, job: DeclaredJob, rule: CalendarRule, alone: CalendarRule) -> Diagnostic:
        """The first option that leaves no due time."""
        narrowed = alone
        for options, absent in _STEPS:
            narrowed = replace(narrowed, **{name: getattr(rule, name) for name in absent})
            read = next((job.times[option] for option in options if option in job.times), None)
            if read and not self.is_due(narrowed):
                option = next(option for option in options if option in job.times)
                message = f"never due: {_nothing_in(option, rule)}"
                remedy = f"change `{option}` or {_times_of(rule)}"
                return Diagnostic("E214", message, remedy, read.source, read.node.span)
        return Diagnostic("E214", "never due", "change the options that decide the due times", job.source, job.span)

    def is_due(self, rule: CalendarRule) -> bool:
        """Whether a calendar has any due time, in the past or in the future."""
        key = rule.undelayed()
        if key not in self._due:
            self._due[key] = calendar_of(key, self.zones, self.days).next_after(-1) is not None
        return self._due[key]


def _nothing_in(option: str, rule: CalendarRule) -> str:
    """What an option that leaves no due time does to those before it."""
    if option == "only":
        return "no day in `only` is a due day"
    if option == "except":
        return "every due day is a day in `except`"
    if option == "within":
        return "no due time is in `within`"
    if option == "nth":
        return "no month has as many due days as `nth` requires"
    if option == "each":
        return "no due day is in the days that `each` keeps"
    return (
        "no due time is between `from` and `until`"
        if rule.has_from and rule.has_until
        else f"no due time fits `{option}`"
    )


def _times_of(rule: CalendarRule) -> str:
    if rule.syntax == "every":
        return "the interval"
    return "the expression" if len(rule.expressions) == 1 else "the expressions"


def items_in(options: Mapping[str, ReadOption], name: str) -> Iterator[tuple[ReadOption, Scalar]]:
    """The values of an option that takes one or several, with their places."""
    if read := options.get(name):
        for item in items_of(read.node):
            yield read, item


def expressions_in(job: DeclaredJob, rule: CalendarRule) -> Iterator[tuple[ReadOption, Scalar, Expression]]:
    """The expressions of a job with their places."""
    for (read, item), expression in zip(items_in(job.times, rule.syntax), rule.read_expressions(), strict=False):
        yield read, item, expression


def zone_inside(text: str, zone: str) -> Span:
    """The place of the zone in an expression: it begins a cron expression, and ends a calendar expression."""
    start = text.find(zone) if "TZ=" in text else text.rfind(zone)
    return Span(start, start + len(zone))
