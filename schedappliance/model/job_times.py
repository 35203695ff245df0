"""The schedule of a `job` stanza: reads its time options together, and reports those that do not fit each other.

Rule: an option that is wrong by itself has its own diagnostic, and causes no other one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from schedappliance.diagnostics import Source, Span, joined, nearest, shortened
from schedappliance.model.calendars.rule import CalendarRule, Syntax, every_text
from schedappliance.model.closure import Block, Setting
from schedappliance.model.configuration import ReadOptions
from schedappliance.model.moments import LocalTime
from schedappliance.model.options import BOOT, STANZAS, TIME_OPTIONS
from schedappliance.model.schedules import AtBoot, Every, Once
from schedappliance.model.stanza_options import StanzaReader
from schedappliance.syntax.tree import Scalar

TIMES = ("every", "at", "cron", "calendar")
RECURRENT_TIMES = {"every", "cron", "calendar"}
_EXPRESSIONS: tuple[Syntax, ...] = ("cron", "calendar")
# The words of an expression on one line. The second word is a number or a `*`, or a zone; an option would be a name.
_UNQUOTED = re.compile(
    r"[^\s{}\"'=]+[ \t]+(?:[0-9*][^\s{}\"'=]*|[A-Za-z_]+/[A-Za-z_/]+)(?:[ \t]+[^\s{}\"'=#]+(?![^\s{}\"'=]|[ \t]*=))*"
)
# With one of these, the due times of `every` are no longer those of an interval alone.
_NARROW = ("within", "from", "until", "spread", "jitter")
# The options of which one must stand beside each option.
_NEEDS: dict[str, tuple[str, ...]] = {
    "offset": ("every",),
    "move": ("only", "except"),
    "zone": (*_EXPRESSIONS, "within"),
    **dict.fromkeys(("dst_skipped", "dst_repeated", "only", "except", "nth", "each"), _EXPRESSIONS),
    **dict.fromkeys(_NARROW, ("every", *_EXPRESSIONS)),
}


def without_unquoted(reader: StanzaReader, body: Sequence[Setting | Block]) -> tuple[list[Setting | Block], set[str]]:
    """A stanza without its expressions that lack quotes, and the options that these belong to.

    Such an expression reads as a short one, followed by options with strange names. It is reported as one mistake.
    """
    rest, names = list(body), set[str]()
    for item in body:
        if isinstance(item, Setting) and (option := item.option.key.value.lower()) in _EXPRESSIONS:
            span = _unquoted(item)
            if span is not None:
                text = item.source.text[span.start : span.end]
                remedy = f'write `{option} = "{shortened(text)}"`'
                reader.report("E212", "an expression with blanks needs quotes", remedy, item.source, span)
                names.add(option)
                rest = [other for other in rest if other is not item and not _is_in(other, item.source, span)]
    return rest, names


def _unquoted(item: Setting) -> Span | None:
    """The place of an expression without quotes that has blanks: it goes on after the word that is the value."""
    value = item.option.value
    if not isinstance(value, Scalar) or value.quote:
        return None
    match = _UNQUOTED.match(item.source.text, value.span.start)
    return Span(*match.span()) if match else None


def _is_in(item: Setting | Block, source: Source, span: Span) -> bool:
    return isinstance(item, Setting) and item.source is source and span.start <= item.option.key.span.start < span.end


def check_times(reader: StanzaReader, options: ReadOptions, names: set[str], name: str, block: Block) -> None:
    """Reports a job that has not exactly one of `every`, `at`, `cron` and `calendar`, and options that need another one."""
    known = STANZAS["job"].options.keys()
    if names >= known:
        return
    # A misspelt name is reported already, even if it stands for another one of these.
    spelt = {item.option.key.value.lower() for item in block.body if isinstance(item, Setting)}
    times = [option for option in TIMES if option in spelt]
    if len(times) > 1:
        written = joined([f"`{option}`" for option in times])
        both = "both " if len(times) == 2 else ""
        reader.report(
            "E211", f'job "{name}" has {both}{written}', "keep one of them, or declare a job for each", *block.head
        )
    elif not names <= known:
        # An unknown name may stand for any option that is missing.
        return
    elif names.isdisjoint(TIMES):
        if any(nearest(other, known) in TIME_OPTIONS for other in spelt - known):
            # `crom` is as near to `from` as to `cron`.
            return
        remedy = 'add `cron = "30 2 * * *"`, `calendar = "Mon..Fri 07:00"`, `every = SECONDS` or `at = TIME`'
        reader.report("E205", f'job "{name}" has none of `every`, `at`, `cron` and `calendar`', remedy, *block.head)
    else:
        _check_delay(reader, options, names, name)
        _check_needs(reader, options, names, name)
        _check_fit(reader, options)


def _check_needs(reader: StanzaReader, options: ReadOptions, names: set[str], name: str) -> None:
    local = [option for option in ("at", "from", "until") if isinstance(_value(options, option), LocalTime)]
    for option, needed in _NEEDS.items():
        if option == "zone" and local:
            continue
        if option in options and not names.intersection(needed):
            others = joined([f"`{other}`" for other in needed], "or")
            read = options[option]
            reader.report("E211", f'job "{name}" has `{option}` without {others}', "remove it", read.source, read.span)


def _check_delay(reader: StanzaReader, options: ReadOptions, names: set[str], name: str) -> None:
    """Reports `delay` beside anything but `at = boot`. A wrong `at` is reported already."""
    at, delay = options.get("at"), options.get("delay")
    if delay and ("at" not in names or (at and at.value != BOOT)):
        reader.report("E211", f'job "{name}" has `delay` without `at = boot`', "remove it", delay.source, delay.span)


def _check_fit(reader: StanzaReader, options: ReadOptions) -> None:
    """Reports values that do not fit each other."""
    every, offset = options.get("every"), options.get("offset")
    if every and any(option in options for option in _NARROW):
        for read in (every, offset):
            if read and read.value % 1000:
                message = "due times are whole seconds beside options such as `within`"
                reader.report("E204", message, "give whole seconds", read.source, read.node.span)
    expressions = next((options[option] for option in _EXPRESSIONS if option in options), None)
    rule = schedule_of(options, "")
    if expressions and isinstance(rule, CalendarRule) and rule.mixes_clock_rules():
        texts = {
            expression.rolling: text for expression, text in zip(rule.read_expressions(), rule.expressions, strict=True)
        }
        message = (
            "the list mixes rolling and fixed expressions,"
            f" `{shortened(texts[True])}` and `{shortened(texts[False])}`, which differ at clock changes"
        )
        remedy = "say what holds for all of them: `dst_skipped` and `dst_repeated`; or declare two jobs"
        reader.report("E212", message, remedy, expressions.source, expressions.node.span)


def schedule_of(options: ReadOptions, name: str) -> Once | Every | AtBoot | CalendarRule | None:
    """The due times of a job.

    None for a job without a time. That is not a separate error if a part of the stanza could not be read. The zone of
    `sched` is not filled in yet, nor are local times.
    """
    if "at" in options:
        at = options["at"].value
        return AtBoot(_value(options, "delay", 0)) if at == BOOT else Once(_instant(options, "at") or 0)
    zone = _value(options, "zone")
    if "every" in options:
        every = Every(options["every"].value, _value(options, "offset", 0))
        if not any(option in options for option in _NARROW):
            return every
        return _rule(options, "every", (every_text(every),), zone if "within" in options else "UTC", name)
    for syntax in _EXPRESSIONS:
        if syntax in options:
            return _rule(options, syntax, options[syntax].value, zone, name)
    return None


def _rule(
    options: ReadOptions, syntax: Syntax, expressions: tuple[str, ...], zone: str | None, name: str
) -> CalendarRule:
    move = _value(options, "move")
    return CalendarRule(
        syntax=syntax,
        expressions=expressions,
        zone=zone,
        dst_skipped=_value(options, "dst_skipped"),
        dst_repeated=_value(options, "dst_repeated"),
        within=_value(options, "within", ()),
        only=_value(options, "only", ()),
        excluded=_value(options, "except", ()),
        move=None if move == "none" else move,
        nth=_value(options, "nth", ()),
        each=_value(options, "each"),
        from_ms=_instant(options, "from"),
        until_ms=_instant(options, "until"),
        spread=_value(options, "spread", 0),
        jitter=_value(options, "jitter", 0),
        seed=name,
    )


def _instant(options: ReadOptions, option: str) -> int | None:
    value = _value(options, option)
    return None if isinstance(value, LocalTime) else value


def _value(options: ReadOptions, option: str, default: Any = None) -> Any:
    return options[option].value if option in options else default


def time_options(options: ReadOptions) -> ReadOptions:
    """The options that decide the due times, with their places."""
    return {name: read for name, read in options.items() if name in TIME_OPTIONS}
