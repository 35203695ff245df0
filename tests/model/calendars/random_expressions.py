"""Random cron and calendar expressions, equal for equal seeds."""

from __future__ import annotations

from random import Random

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def random_cron(random: Random, plain: bool = False) -> str:
    """Five fields, seldom six. `plain`: only what Vixie cron knows."""
    fields = [
        _cron_field(random, 0, 59),
        _cron_field(random, 0, 23),
        _day_field(random, plain),
        _cron_field(random, 1, 12, _MONTHS),
        _weekday_field(random, plain),
    ]
    if not plain and random.random() < 0.1:
        fields.insert(0, _cron_field(random, 0, 59))
    return " ".join(fields)


def _cron_field(random: Random, low: int, high: int, names: list[str] | None = None) -> str:
    if random.random() < 0.35:
        return random.choice(("*", "*", f"*/{random.randint(1, high)}"))
    return ",".join(_cron_item(random, low, high, names) for _ in range(random.choice((1, 1, 1, 2, 3))))


def _cron_item(random: Random, low: int, high: int, names: list[str] | None) -> str:
    first = random.randint(low, high)
    last = random.randint(first, high)

    def shown(number: int) -> str:
        name = names[number - low] if names and random.random() < 0.4 else str(number)
        return random.choice((name, name.upper(), name.capitalize()))

    if random.random() < 0.5:
        return shown(first)
    if first == last:
        return shown(first)
    step = f"/{random.randint(1, high)}" if random.random() < 0.4 else ""
    return f"{shown(first)}-{shown(last)}{step}"


def _day_field(random: Random, plain: bool) -> str:
    if random.random() < 0.5:
        return "*"
    if not plain and random.random() < 0.3:
        return random.choice(("L", "LW", f"{random.randint(1, 31)}W", f"L-{random.randint(1, 30)}", "L,15", "1,LW"))
    return _cron_field(random, 1, 31)


def _weekday_field(random: Random, plain: bool) -> str:
    if random.random() < 0.5:
        return "*"
    if not plain and random.random() < 0.3:
        return random.choice(("FRIL", "5L", f"MON#{random.randint(1, 5)}", "+TUE", "+1-5", "7#1,WEDL"))
    return _cron_field(random, 0, 6, _DAYS)


def random_calendar(random: Random) -> str:
    """Weekdays, date and time; each may be missing, but not all."""
    weekdays = _calendar_weekdays(random) if random.random() < 0.35 else ""
    date = _calendar_date(random) if random.random() < 0.6 else ""
    time = _calendar_time(random) if random.random() < 0.8 or not (weekdays or date) else ""
    return " ".join(part for part in (weekdays, date, time) if part)


def _calendar_weekdays(random: Random) -> str:
    ranges = []
    for _ in range(random.choice((1, 1, 2))):
        first = random.randint(0, 6)
        last = random.randint(first, 6)
        name = _WEEKDAYS[first].lower() if random.random() < 0.2 else _WEEKDAYS[first]
        ranges.append(name if first == last else f"{name}..{_WEEKDAYS[last]}")
    return ",".join(ranges)


def _calendar_date(random: Random) -> str:
    """What systemd gets wrong is left out.

    A step of days that leads from December past the end of the year costs it the first days of January: in `*-*-07/16`,
    day 39 of December is 8 January, from which it goes on. So these steps have an end. It rejects `~26,27`, the normal form
    of `~26..27`, so no range has two days from the end of the month.
    """
    month = _chain(random, 1, 12, star=0.6)
    if random.random() < 0.2:
        first = random.randint(1, 28)
        start = random.randint(1, max(first - 2, 1))
        day = f"~{first}" if random.random() < 0.6 or first - start == 1 else f"~{start}..{first}"
    else:
        day = f"-{_chain(random, 1, 31, star=0.3, is_open=False)}"
    year = random.choice(("*-", "*-", "", f"{random.randint(2026, 2040)}-", f"{random.randint(2026, 2030)}/3-"))
    return f"{year}{month}{day}"


def _calendar_time(random: Random) -> str:
    seconds = f":{_chain(random, 0, 59, star=0.05)}" if random.random() < 0.2 else ""
    return f"{_chain(random, 0, 23, star=0.4)}:{_chain(random, 0, 59, star=0.15)}{seconds}"


def _chain(random: Random, low: int, high: int, star: float, is_open: bool = True) -> str:
    if random.random() < star:
        return "*"
    count = random.choice((1, 1, 1, 2, 3))
    return ",".join(_part(random, low, high, is_open and count == 1) for _ in range(count))


def _part(random: Random, low: int, high: int, is_open: bool) -> str:
    """Steps stay inside their range: systemd rejects the others. `is_open`: a step may have no end."""
    first = random.randint(low, high)
    shown = f"{first:02}" if random.random() < 0.5 else str(first)
    if random.random() < 0.5 or first >= high - 1:
        return shown
    if is_open and random.random() < 0.5:
        return f"{shown}/{random.randint(1, high - first)}"
    last = random.randint(first + 1, high)
    return f"{shown}..{last}" + (f"/{random.randint(1, last - first)}" if random.random() < 0.5 else "")
