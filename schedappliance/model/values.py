"""What one value means: durations, times, numbers, booleans, sizes. Integer milliseconds and bytes, never floats."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from schedappliance.diagnostics import Span, did_you_mean, shortened

SECOND_MS = 1000
YEAR_MS = 365 * 86_400 * SECOND_MS
MAX_DURATION_MS = 100 * YEAR_MS
# The last second that ISO 8601 can write with four digits of year.
MAX_TIME_MS = 253_402_300_799 * SECOND_MS

_DECIMAL = re.compile(r"(\d+)(?:\.(\d{1,3}))?", re.ASCII)
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_PARTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_INTEGER = re.compile(r"\d+", re.ASCII)
_EPOCH = datetime.fromtimestamp(0, UTC)
_DATE = re.compile(r"[0-9-]+(W[0-9-]+)?", re.ASCII)
_SIZE = re.compile(r"(\d+)([kKmM]?)", re.ASCII)

BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "enabled", "1"), True),
    **dict.fromkeys(("false", "no", "off", "disabled", "0"), False),
}


class Unfit(Exception):
    """A text that does not mean what is wanted there. `span`, if given, is narrower than the whole value."""

    def __init__(self, message: str, help: str, code: str = "E203", span: Span | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.code = code
        self.span = span


def duration(text: str) -> int:
    """Milliseconds of `90`, `1.5` (seconds), `15m`, `2h30m` or `1d`; raises Unfit."""
    milliseconds = _duration(text)
    if milliseconds is None:
        negative = text.startswith("-") and _duration(text[1:]) is not None
        what, code = ("a negative duration", "E204") if negative else ("no duration", "E203")
        raise Unfit(f"`{shortened(text)}` is {what}", "write seconds or units: `90`, `1.5`, `15m`, `2h30m`, `1d`", code)
    if milliseconds > MAX_DURATION_MS:
        raise Unfit(f"`{shortened(text)}` is longer than 100 years", "give a shorter time, in seconds", "E204")
    return milliseconds


def _duration(text: str) -> int | None:
    if decimal := _DECIMAL.fullmatch(text):
        whole, fraction = decimal.groups()
        if len(whole) > 15:
            return MAX_DURATION_MS + 1
        return int(whole) * SECOND_MS + int((fraction or "").ljust(3, "0"))
    parts = _PARTS.fullmatch(text)
    if not parts or not text or len(text) > 60:
        return None
    return sum(int(count) * unit for count, unit in zip(parts.groups(), _UNITS_MS.values(), strict=True) if count)


def positive_duration(text: str) -> int:
    milliseconds = duration(text)
    if milliseconds == 0:
        raise Unfit(f"`{text}` must be more than zero", "give a duration such as `60` or `15m`", "E204")
    return milliseconds


def period(text: str) -> int:
    """The interval of something recurrent: at least one second."""
    milliseconds = positive_duration(text)
    if milliseconds < SECOND_MS:
        raise Unfit(f"`{text}` is shorter than one second", "a period is at least 1 second", "E204")
    return milliseconds


def instant(text: str) -> int:
    """Milliseconds since the Unix epoch of a Unix timestamp or an ISO 8601 time with zone; raises Unfit."""
    if decimal := _DECIMAL.fullmatch(text):
        milliseconds = _duration(text) or 0
        if milliseconds > MAX_TIME_MS or len(decimal.group(1)) > 12:
            help = "a Unix timestamp counts seconds; this looks like milliseconds"
            raise Unfit(f"`{shortened(text)}` is beyond the year 9999", help, "E204")
        return milliseconds
    help = "give a Unix timestamp such as `1795370460`, or ISO 8601 with zone: `2026-11-22T18:01:00Z`"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Unfit(f"`{shortened(text)}` is no time", help) from None
    if _DATE.fullmatch(text):
        raise Unfit(f"`{text}` names no time of day", f"write `{time.date()}T00:00:00Z`")
    if time.tzinfo is None:
        raise Unfit(f"`{text}` names no time zone", "append `Z` for UTC, or an offset such as `+01:00`")
    milliseconds = (time - _EPOCH) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise Unfit(f"`{text}` is before 1970", help, "E204")
    if milliseconds > MAX_TIME_MS:
        raise Unfit(f"`{text}` is beyond the year 9999", help, "E204")
    return milliseconds


def boolean(text: str) -> bool:
    value = BOOLEANS.get(text.lower())
    if value is None:
        raise Unfit(
            f"`{shortened(text)}` is neither true nor false", did_you_mean(text, BOOLEANS, "write `true` or `false`")
        )
    return value


def size(text: str) -> int:
    """Bytes of `65536`, `64k` or `1m` (1024 and 1024 * 1024 bytes)."""
    match = _SIZE.fullmatch(text)
    if not match or len(text) > 12:
        raise Unfit(f"`{shortened(text)}` is no size", "give bytes, or a number with `k` or `m`: `65536`, `64k`")
    return int(match.group(1)) * {"": 1, "k": 1024, "m": 1024 * 1024}[match.group(2).lower()]


def integer(text: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > 18:
        raise Unfit(f"`{shortened(text)}` is no whole number", f"give a whole number from {least} to {most}")
    if not least <= int(text) <= most:
        raise Unfit(f"`{text}` is out of range", f"give a whole number from {least} to {most}", "E204")
    return int(text)


def octal(text: str) -> int:
    """File permissions: `0660`."""
    if not re.fullmatch(r"0?[0-7]{3}", text, re.ASCII):
        raise Unfit(f"`{shortened(text)}` is no file mode", 'give three octal digits, such as "0660"')
    return int(text, 8)


def choice(text: str, choices: tuple[str, ...]) -> str:
    if text.lower() not in choices:
        listed = ", ".join(choices)
        raise Unfit(
            f"`{shortened(text)}` is not one of: {listed}", did_you_mean(text, choices, f"write one of: {listed}")
        )
    return text.lower()


def seconds_text(milliseconds: int) -> str:
    """A duration as a user types it: whole seconds, or with the fraction it has."""
    whole, rest = divmod(milliseconds, SECOND_MS)
    return str(whole) if not rest else f"{whole}.{rest:03d}".rstrip("0")
