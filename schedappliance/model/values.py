"""The meaning of one value: durations, times, numbers, booleans and sizes.

Rule: durations and times are integer milliseconds, sizes are integer bytes; there are no floats.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from schedappliance.diagnostics import InvalidValue, did_you_mean, shortened

SECOND_MS = 1000
YEAR_MS = 365 * 86_400 * SECOND_MS
MAX_DURATION_MS = 100 * YEAR_MS
# The last second that ISO 8601 can write with a year of four digits.
MAX_TIME_MS = 253_402_300_799 * SECOND_MS

_DECIMAL = re.compile(r"(\d+)(?:\.(\d{1,3}))?", re.ASCII)
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_PARTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_WEEKS = re.compile(r"(\d{1,4})w", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"\d+", re.ASCII)
_EPOCH = datetime.fromtimestamp(0, UTC)
_DATE = re.compile(r"[0-9-]+(W[0-9-]+)?", re.ASCII)
_SIZE = re.compile(r"(\d+)([kKmMgG]?)", re.ASCII)

BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "enabled", "1"), True),
    **dict.fromkeys(("false", "no", "off", "disabled", "0"), False),
}


def duration(text: str) -> int:
    """Milliseconds of `90`, `1.5` (seconds), `15m`, `2h30m` or `1d`; raises InvalidValue."""
    milliseconds = _duration(text)
    if milliseconds is None:
        is_negative = text.startswith("-") and _duration(text[1:]) is not None
        kind, code = ("negative", "E204") if is_negative else ("invalid", "E203")
        remedy = "write seconds or units: `90`, `1.5`, `15m`, `2h30m`, `1d`"
        if weeks := _WEEKS.fullmatch(text):
            remedy = f"write days: `{int(weeks[1]) * 7}d`"
        raise InvalidValue(f"{kind} duration `{shortened(text)}`", remedy, code)
    if milliseconds > MAX_DURATION_MS:
        remedy = "give a shorter duration; a number without a unit counts seconds"
        raise InvalidValue(f"duration `{shortened(text)}` is longer than 100 years", remedy, "E204")
    return milliseconds


def _duration(text: str) -> int | None:
    if decimal := _DECIMAL.fullmatch(text):
        whole, fraction = decimal.groups()
        if len(whole) > 15:
            # Python refuses to convert thousands of digits.
            return MAX_DURATION_MS + 1
        return int(whole) * SECOND_MS + int((fraction or "").ljust(3, "0"))
    parts = _PARTS.fullmatch(text)
    if not parts or not text or len(text) > 60:
        return None
    return sum(int(count) * unit for count, unit in zip(parts.groups(), _UNITS_MS.values(), strict=True) if count)


def positive_duration(text: str) -> int:
    """Milliseconds, more than 0; raises InvalidValue."""
    milliseconds = duration(text)
    if milliseconds == 0:
        raise InvalidValue(f"duration `{text}` is zero", "give a duration such as `60` or `15m`", "E204")
    return milliseconds


def period(text: str) -> int:
    """The interval of something recurrent in milliseconds, at least one second; raises InvalidValue."""
    milliseconds = positive_duration(text)
    if milliseconds < SECOND_MS:
        raise InvalidValue(f"period `{text}` is shorter than one second", "give at least `1`", "E204")
    return milliseconds


def instant(text: str) -> int:
    """Milliseconds since the Unix epoch of a Unix timestamp or an ISO 8601 time with zone; raises InvalidValue."""
    if decimal := _DECIMAL.fullmatch(text):
        milliseconds = _duration(text) or 0
        if milliseconds > MAX_TIME_MS or len(decimal.group(1)) > 12:
            remedy = "a Unix timestamp counts seconds; this looks like milliseconds"
            raise InvalidValue(f"time `{shortened(text)}` is after the year 9999", remedy, "E204")
        return milliseconds
    remedy = "give a Unix timestamp such as `1795370460`, or ISO 8601 with zone: `2026-11-22T18:01:00Z`"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue(f"invalid time `{shortened(text)}`", remedy) from None
    if _DATE.fullmatch(text):
        raise InvalidValue(f"`{text}` has no time of day", f"write `{time.date()}T00:00:00Z`")
    if time.tzinfo is None:
        raise InvalidValue(f"`{text}` has no time zone", "append `Z` for UTC, or an offset such as `+01:00`")
    milliseconds = (time - _EPOCH) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise InvalidValue(f"time `{text}` is before 1970", remedy, "E204")
    if milliseconds > MAX_TIME_MS:
        raise InvalidValue(f"time `{text}` is after the year 9999", remedy, "E204")
    return milliseconds


def boolean(text: str) -> bool:
    """`true`, `false` and their synonyms in any case; raises InvalidValue."""
    value = BOOLEANS.get(text.lower())
    if value is None:
        remedy = did_you_mean(text, BOOLEANS, "write `true` or `false`")
        raise InvalidValue(f"`{shortened(text)}` is neither true nor false", remedy)
    return value


def size(text: str) -> int:
    """Bytes of `65536`, `64k`, `1m` or `2g` (k: 1024 bytes, m: 1024 k, g: 1024 m); raises InvalidValue."""
    match = _SIZE.fullmatch(text)
    if not match or len(text) > 12:
        remedy = "give bytes, or a number with `k`, `m` or `g`: `65536`, `64k`"
        raise InvalidValue(f"invalid size `{shortened(text)}`", remedy)
    return int(match.group(1)) << 10 * " kmg".index(match.group(2).lower() or " ")


def size_text(size: int) -> str:
    """Bytes in MiB, for people: `13.1 MiB`."""
    tenths = size * 10 // 1024**2
    return f"{tenths // 10}.{tenths % 10} MiB"


def integer(text: str, least: int, most: int) -> int:
    """A whole number in a range, both ends included; raises InvalidValue."""
    remedy = f"give a whole number from {least} to {most}"
    if not _INTEGER.fullmatch(text) or len(text) > 18:
        raise InvalidValue(f"invalid number `{shortened(text)}`", remedy)
    if not least <= int(text) <= most:
        raise InvalidValue(f"number `{text}` is out of range", remedy, "E204")
    return int(text)


def octal(text: str) -> int:
    """File permissions such as `0660`; raises InvalidValue."""
    return _octal(text, "file mode", "660")


def umask(text: str) -> int:
    """The permissions that new files do not get, such as `022`; raises InvalidValue."""
    return _octal(text, "umask", "022")


def _octal(text: str, what: str, example: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text, re.ASCII):
        raise InvalidValue(f"invalid {what} `{shortened(text)}`", f'give three octal digits, such as "{example}"')
    return int(text, 8)


def without_home(path: str) -> None:
    """Raises InvalidValue for a path in the home directory as only a shell writes it: it would name a directory `~`."""
    if path.startswith("~/"):
        raise InvalidValue("only a shell puts the home directory in place of `~`", "write the whole path")


def choice(text: str, choices: tuple[str, ...]) -> str:
    """One of the choices, which are in lower case; raises InvalidValue."""
    if text.lower() not in choices:
        listed = ", ".join(choices)
        remedy = did_you_mean(text, choices, f"write one of: {listed}")
        raise InvalidValue(f"invalid value `{shortened(text)}`", remedy)
    return text.lower()


def seconds_text(milliseconds: int) -> str:
    """A duration as a user types it: seconds, with a fraction only where there is one."""
    whole, rest = divmod(milliseconds, SECOND_MS)
    return str(whole) if not rest else f"{whole}.{rest:03d}".rstrip("0")


def duration_text(milliseconds: int) -> str:
    """A duration with its units, as a user types it: `1d`, `2h30m`, `1m30s`; with a fraction, it is seconds: `1.5`."""
    seconds, fraction = divmod(milliseconds, SECOND_MS)
    if fraction or not seconds:
        return seconds_text(milliseconds)
    parts = []
    for unit, size_ms in _UNITS_MS.items():
        count, seconds = divmod(seconds, size_ms // SECOND_MS)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def words_as_list(text: str) -> str:
    """How `argv` writes the words of a command line that needs no shell."""
    words = " ".join(f'"{word}"' for word in text.split())
    return f"( {words} )"
