"""The screen Month: on which days which results were, and how many due times are to come. Also the month of one job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from schedappliance.web.appliance.columns import RunColumns
from schedappliance.web.appliance.feed import Row
from schedappliance.web.pictures.calendar import calendar, month_days, month_name, month_span
from schedappliance.web.rendering.addresses import address
from schedappliance.web.screens.look import Look

# Jobs that are due more often would fill each day with the same large number.
LEAST_INTERVAL_MS = 3_600_000
MOST_CALENDARS = 100


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    if not await look.may_see_runs():
        return {"may_see_runs": False}
    jobs = [job for job in await look.jobs() if not job["paused"]]
    end_ms = month_span(*chosen_month(look), look.times)[1]
    planned = [at for job in jobs if job["interval_ms"] for at in _at_intervals(job, end_ms)]
    calendars = [job for job in jobs if job["calendar"]][:MOST_CALENDARS]
    planned += [at for due in (await look.due_times(calendars, end_ms)).values() for at in due]
    planned += [job["next_run_ms"] for job in jobs if not job["interval_ms"] and not job["calendar"]]
    return {"may_see_runs": True, **month_of(look, "/month", await look.runs(), planned)}


def _at_intervals(job: Row, end_ms: int) -> Iterable[int]:
    step = job["interval_ms"]
    return range(job["next_run_ms"], end_ms, step) if step >= LEAST_INTERVAL_MS else ()


def month_of(look: Look, path: str, runs: RunColumns, due_ms: Iterable[int], job: Row | None = None) -> dict[str, Any]:
    """The table of the chosen month, of a job or of all, and the addresses of its neighbours."""
    year, month = chosen_month(look)
    days = month_days(runs, due_ms, year, month, look.times, job["id"] if job else None)
    of_job = (job["name"] or job["id"]) if job else ""

    def day_href(date: str) -> str:
        return address("/runs", job=of_job, since=date, until=f"{date} 23:59:59")

    before, after = (address(path, month=text) for text in _neighbours(year, month))
    return {
        "calendar": calendar(year, month, days, look.times, day_href),
        "month": month_name(year, month),
        "month_before": before,
        "month_after": after,
    }


def _neighbours(year: int, month: int) -> Iterator[str]:
    for by in (-1, 1):
        number = year * 12 + month - 1 + by
        yield f"{number // 12:04}-{number % 12 + 1:02}"


def chosen_month(look: Look) -> tuple[int, int]:
    """The year and the month of the query, or the present ones."""
    year, _, month = look.query("month").partition("-")
    is_date = year.isdecimal() and month.isdecimal() and len(year) == 4 and len(month) == 2
    if is_date and 1970 < int(year) < 9999 and 1 <= int(month) <= 12:
        return int(year), int(month)
    today = look.times.day(look.now_ms)
    return int(today[:4]), int(today[5:7])
