"""The rule of a calendar: everything that decides its due times, and the text that the store keeps of it.

Rule: two calendar rules with the same meaning have the same text, so another spelling of an expression changes no job.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.clock_changes import FIXED, ROLLING, ClockRule, Repeated, Skipped
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.day_lists import DayLists
from schedappliance.model.calendars.day_sets import Unit
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.moves import Direction
from schedappliance.model.calendars.oncalendar import read_calendar, read_window
from schedappliance.model.schedules import Every

# `every` with a window, a bound or a delay is a calendar too. `every_text` makes its one expression.
Syntax = Literal["cron", "calendar", "every"]
SYNTAXES: tuple[Syntax, ...] = ("cron", "calendar", "every")
# A day ends 12 hours later in the last zone than in UTC.
_LAST_ZONE_S = 12 * 3600
# Errors of a text in the store that this version has not written, or whose `days` are gone.
UNREADABLE = (InvalidValue, ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarRule:
    """The options of a job that decide its due times.

    `zone`: for expressions without a zone inside. `excluded`: the option `except`. `each`: a number and a unit, counted
    from `from_ms`. `from_ms`, `until_ms`: the first and the last instant at which it may be due, before any delay.
    `from_day`, `until_day`: a day since 1970 in their place, in the zone of each expression.
    `spread`, `jitter`: seconds. `seed`: the text from which the delays and the values of `~` of a job are computed.
    """

    syntax: Syntax
    expressions: tuple[str, ...]
    zone: str | None = None
    dst_skipped: Skipped | None = None
    dst_repeated: Repeated | None = None
    within: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    move: Direction | None = None
    nth: tuple[int, ...] = ()
    each: tuple[int, Unit] | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    from_day: int | None = None
    until_day: int | None = None
    spread: int = 0
    jitter: int = 0
    seed: str = ""

    def read_expressions(self) -> tuple[Expression, ...]:
        """The meaning of each expression; `every` has none. Raises InvalidValue."""
        if self.syntax == "every":
            return ()
        if self.syntax == "cron":
            # Without `~` the seed decides nothing. All others who read the text pass none, and share what was read.
            return tuple(read_cron(text, self.seed) if "~" in text else read_cron(text) for text in self.expressions)
        return tuple(read_calendar(text) for text in self.expressions)

    @property
    def every(self) -> Every | None:
        """The interval; None for expressions."""
        if self.syntax != "every":
            return None
        _, interval, *offset = self.expressions[0].split()
        return Every(int(interval) * 1000, int(offset[-1]) * 1000 if offset else 0)

    def clock_rule(self, expression: Expression) -> ClockRule:
        """The rule at clock changes: the options, or else the default for the expression."""
        default = ROLLING if expression.rolling else FIXED
        return ClockRule(self.dst_skipped or default.skipped, self.dst_repeated or default.repeated)

    def mixes_clock_rules(self) -> bool:
        """Whether the defaults for its expressions differ, so that the options must be written."""
        return len({self.clock_rule(expression) for expression in self.read_expressions()}) > 1

    def text(self, days: DayLists) -> str:
        """The canonical text, as JSON. It contains digests of the lists of days that are used."""
        expressions = self.read_expressions()
        rules = {self.clock_rule(expression) for expression in expressions}
        rule = rules.pop() if len(rules) == 1 else None
        normal = sorted({_with_zone(self.syntax, expression) for expression in expressions} or self.expressions)
        needs_zone = any(expression.zone is None for expression in expressions) or (self.syntax == "every")
        content = {
            self.syntax: normal,
            "zone": self.zone if needs_zone else None,
            "dst_skipped": rule.skipped if rule else self.dst_skipped,
            "dst_repeated": rule.repeated if rule else self.dst_repeated,
            "within": sorted({read_window(text).normal for text in self.within}),
            "only": _digests(self.only, days),
            "except": _digests(self.excluded, days),
            "move": self.move if self.only or self.excluded else None,
            "nth": sorted(set(self.nth)),
            "each": list(self.each) if self.each else None,
            "from": self.from_ms,
            "until": self.until_ms,
            "from_day": self.from_day,
            "until_day": self.until_day,
            "spread": self.spread or None,
            "jitter": self.jitter or None,
            "seed": self.seed if self.uses_seed else None,
        }
        return json.dumps(
            {key: value for key, value in content.items() if value not in (None, [], {})},
            sort_keys=True,
            separators=(",", ":"),
        )

    @property
    def needs_zone(self) -> bool:
        """Whether a zone decides its due times: none does for an interval at all times of day."""
        return self.syntax != "every" or bool(self.within)

    @property
    def zone_to_show(self) -> str | None:
        """The zone in which its times are shown, that of the first expression if they differ. None: that of `sched`."""
        return (self.zone or self.read_expressions()[0].zone) if self.needs_zone else None

    @property
    def has_from(self) -> bool:
        return self.from_ms is not None or self.from_day is not None

    @property
    def has_until(self) -> bool:
        return self.until_ms is not None or self.until_day is not None

    def is_over(self, instant_ms: int) -> bool:
        """Whether `until` has passed, a day in all zones."""
        if self.until_day is not None:
            return (self.until_day + 1) * DAY_S + _LAST_ZONE_S <= instant_ms // 1000
        return self.until_ms is not None and self.until_ms <= instant_ms

    def undelayed(self) -> CalendarRule:
        """The rule without its delays: the same one for all jobs with these options, except with `~`."""
        return replace(self, spread=0, jitter=0, seed=self.seed if self.picks_values else "")

    @property
    def picks_values(self) -> bool:
        """Whether a field has `~`, whose values the seed decides."""
        return self.syntax == "cron" and any("~" in text for text in self.expressions)

    @property
    def uses_seed(self) -> bool:
        return self.spread > 0 or self.jitter > 0 or self.picks_values


def read_rule(text: str) -> CalendarRule:
    """The rule with this text. Raises an error of UNREADABLE."""
    content: dict[str, Any] = json.loads(text)
    (syntax,) = (syntax for syntax in SYNTAXES if syntax in content)
    each = content.get("each")
    return CalendarRule(
        syntax=syntax,
        expressions=tuple(content[syntax]),
        zone=content.get("zone"),
        dst_skipped=content.get("dst_skipped"),
        dst_repeated=content.get("dst_repeated"),
        within=tuple(content.get("within", ())),
        only=tuple(content.get("only", ())),
        excluded=tuple(content.get("except", ())),
        move=content.get("move"),
        nth=tuple(content.get("nth", ())),
        each=(each[0], each[1]) if each else None,
        from_ms=content.get("from"),
        until_ms=content.get("until"),
        from_day=content.get("from_day"),
        until_day=content.get("until_day"),
        spread=content.get("spread", 0),
        jitter=content.get("jitter", 0),
        seed=content.get("seed", ""),
    )


def every_text(every: Every) -> str:
    """The text of an interval in whole seconds, in place of an expression."""
    offset = f" offset {every.offset_ms // 1000}" if every.offset_ms else ""
    return f"every {every.interval_ms // 1000}{offset}"


def _with_zone(syntax: Syntax, expression: Expression) -> str:
    if expression.zone is None:
        return expression.normal
    if syntax == "cron":
        return f"TZ={expression.zone} {expression.normal}"
    return f"{expression.normal} {expression.zone}"


def _digests(names: Sequence[str], days: DayLists) -> dict[str, str]:
    return {name: days[name].digest for name in names}
