"""The doubts about the calendars of declared jobs: valid, but probably not what their author means.

Rule: only the linter looks for them. A reload does not wait for the due times of the next years.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from schedappliance.diagnostics import Diagnostic, Span
from schedappliance.model.calendar_references import expressions_in
from schedappliance.model.calendars.clock_changes import ClockRule
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.doubts import (
    Doubt,
    anchor_doubts,
    calendar_doubts,
    clock_doubts,
    cron_doubts,
    dates_doubts,
    delay_doubts,
    past_doubts,
    shortest_distance,
)
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.rule import CalendarRule, Syntax
from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones
from schedappliance.model.configuration import Configuration, DeclaredJob, ReadOption
from schedappliance.model.option_paths import Scope
from schedappliance.model.references import timed_program, timeout_doubts

# Times of day that are compared with each other; more of them are surely close together.
MOST_COMPARED = 200
# No clock change of the next years moves due times closer together than by this, in milliseconds.
CLOCK_CHANGE_MS = 3 * 3_600_000


@dataclass(slots=True)
class CalendarDoubts:
    """Judges the calendars of one configuration at one time. Equal expressions and calendars are judged once."""

    configuration: Configuration
    zones: Zones
    now_ms: int
    _texts: dict[tuple[str, str], list[Doubt]] = field(default_factory=dict)
    _clocks: dict[tuple[Syntax, str, ClockRule, str], list[Doubt]] = field(default_factory=dict)
    _distances: dict[CalendarRule, int | None] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Diagnostic]:
        for name, days in self.configuration.days.items():
            block = self.configuration.blocks[Scope("days", name)]
            for doubt in dates_doubts(name, days.entries, self.now_ms // 1000, block.stanza.head):
                yield doubt.diagnostic(block.source)
        for job in self.configuration.jobs.values():
            if isinstance(job.schedule, CalendarRule) and self.is_complete(job.schedule):
                yield from self._of_expressions(job, job.schedule)
                yield from self._of_distances(job, job.schedule)
                yield from self._of_end(job, job.schedule)
                yield from self._of_anchor(job, job.schedule)
        for notify in self.configuration.notify.values():
            if notify.at is not None:
                yield from self._of_digest(notify.at)

    def _of_digest(self, at: ReadOption) -> Iterator[Diagnostic]:
        rule = CalendarRule(syntax="calendar", expressions=at.value, zone=self.configuration.zone or LOCAL)
        if not self.is_complete(rule) or any(one.years is None for one in rule.read_expressions()):
            return
        calendar = calendar_of(rule, self.zones, self.configuration.days, self.configuration.zone)
        for doubt in past_doubts(calendar, self.now_ms, at.node.span):
            yield doubt._replace(remedy="give later times, or remove `at`").diagnostic(at.source)

    def is_complete(self, rule: CalendarRule) -> bool:
        """Whether its zones and its days are known; else its mistakes are reported already."""
        names = {expression.zone or rule.zone for expression in rule.read_expressions()} or {rule.zone}
        try:
            for name in names:
                self.zones.get(name or "")
        except UnknownZone:
            return False
        return {*rule.only, *rule.excluded} <= self.configuration.days.keys()

    def _of_expressions(self, job: DeclaredJob, rule: CalendarRule) -> Iterator[Diagnostic]:
        for read, item, expression in expressions_in(job, rule):
            for doubt in (*self._of_text(rule, item.value), *self._of_clock(rule, expression, len(item.value))):
                yield doubt._replace(span=item.inner(doubt.span)).diagnostic(read.source)

    def _of_text(self, rule: CalendarRule, text: str) -> list[Doubt]:
        key = (rule.syntax, text)
        if key not in self._texts:
            self._texts[key] = cron_doubts(text) if rule.syntax == "cron" else calendar_doubts(text)
        return self._texts[key]

    def _of_clock(self, rule: CalendarRule, expression: Expression, length: int) -> list[Doubt]:
        zone, clock = expression.zone or rule.zone or "", rule.clock_rule(expression)
        if rule.dst_skipped == "omit":
            # The author has decided that nothing makes up for the lost due times.
            clock = replace(clock, skipped="run")
        key = (rule.syntax, expression.normal, clock, zone)
        if key not in self._clocks:
            now_s = self.now_ms // 1000
            self._clocks[key] = clock_doubts(expression, clock, self.zones.get(zone), self.zones, now_s, Span(0, 0))
        return [doubt._replace(span=Span(0, length)) for doubt in self._clocks[key]]

    def _of_distances(self, job: DeclaredJob, rule: CalendarRule) -> Iterator[Diagnostic]:
        """A delay that is not shorter than the distance between two due times, and a timeout that is longer."""
        for option, delay in (("spread", rule.spread), ("jitter", rule.jitter)):
            if delay and delay * 1000 >= _surely_apart(rule):
                read = job.times[option]
                calendar = calendar_of(rule.undelayed(), self.zones, self.configuration.days)
                for doubt in delay_doubts(option, delay * 1000, calendar, self.now_ms, read.node.span):
                    yield doubt.diagnostic(read.source)
        program = timed_program(job, self.configuration)
        if program is None or program.timeout_ms is None or program.timeout_ms <= _surely_apart(rule):
            return
        distance = self._distance(rule)
        if distance is not None:
            yield from timeout_doubts(job, self.configuration, distance, "distance between two due times")

    def _of_end(self, job: DeclaredJob, rule: CalendarRule) -> Iterator[Diagnostic]:
        expressions = rule.read_expressions()
        has_end = bool(expressions) and all(one.years is not None for one in expressions)
        if not has_end and not rule.has_until and not rule.only:
            return
        read = job.times["until" if rule.is_over(self.now_ms) else rule.syntax]
        calendar = calendar_of(rule, self.zones, self.configuration.days, self.configuration.zone)
        for doubt in past_doubts(calendar, self.now_ms, read.node.span):
            yield doubt.diagnostic(read.source)

    def _of_anchor(self, job: DeclaredJob, rule: CalendarRule) -> Iterator[Diagnostic]:
        if rule.each is None or rule.has_from:
            return
        read = job.times["each"]
        calendar = calendar_of(rule.undelayed(), self.zones, self.configuration.days)
        for doubt in anchor_doubts(rule.each, calendar, self.now_ms, read.node.span):
            yield doubt.diagnostic(read.source)

    def _distance(self, rule: CalendarRule) -> int | None:
        key = rule if rule.jitter else rule.undelayed()
        if key not in self._distances:
            calendar = calendar_of(key, self.zones, self.configuration.days)
            self._distances[key] = shortest_distance(calendar, self.now_ms)
        return self._distances[key]


def _surely_apart(rule: CalendarRule) -> int:
    """Milliseconds by which due times certainly differ, from the times of day alone; 0: it is not known."""
    if every := rule.every:
        return max(0, every.interval_ms - rule.jitter * 1000)
    times: set[int] = set()
    expressions = rule.read_expressions()
    for one in expressions:
        if len(one.hours) * len(one.minutes) * len(one.seconds) > MOST_COMPARED:
            return 0
        times |= {h * 3600 + m * 60 + s for h in one.hours for m in one.minutes for s in one.seconds}
    if len({one.zone for one in expressions}) > 1:
        return 0
    ordered = sorted(times)
    shortest = min(after - before for before, after in zip(ordered, [*ordered[1:], ordered[0] + DAY_S], strict=True))
    return max(0, (shortest - rule.jitter) * 1000 - CLOCK_CHANGE_MS)
