"""What a scrape of the metrics costs the deciding thread, with as many declared jobs as have metrics of their own.

Rule: only the processor time of that thread counts, so other load does not matter. The client renders the text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.appliances import Place, Session, lay_out, serving, until
from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Report
from schedappliance.commands.metrics import MOST_JOBS

TITLE = "scraping the metrics"
MOST_MS = 1.0
SCRAPE, OTHER = "json metrics", "json summary"
QUIET, BUSY, ALL = "nothing ended since the last scrape", "a quarter of the jobs ended", "all jobs ended"


def stanzas(jobs: int) -> str:
    lines = (
        f'job "job-{number}" {{ every = 1h command = "config set message_expiration 1" }}\n' for number in range(jobs)
    )
    return 'sched { backing_store = "../var/sched.db"  history = 1000000 }\n' + "".join(lines)


def spent_ms(pid: int) -> float:
    """The processor time of the deciding thread, which is the first thread of the daemon, once it sleeps.

    Its work goes on after the answer, and the kernel does not count the last milliseconds of a thread that runs.
    """
    thread = Path(f"/proc/{pid}/task/{pid}")
    until(lambda: (thread / "stat").read_text().rpartition(") ")[2].startswith("S"))
    return int((thread / "schedstat").read_text().split()[0]) / 1e6


def costs(
    session: Session, pid: int, line: str, rounds: int, between: Callable[[], None] = lambda: None
) -> list[float]:
    """The milliseconds of each of these commands. `between`: what happens before each of them."""
    values = []
    for _ in range(rounds):
        between()
        before = spent_ms(pid)
        session.ask(line)
        values.append(spent_ms(pid) - before)
    return values


def measured(place: Place, jobs: int, rounds: int) -> dict[str, list[float]]:
    """By way, the costs. The first scrape reads the history, and does not count."""
    with serving(place) as (_, pid), closing(Session(place)) as session:

        def end(number: int) -> None:
            for job in range(number):
                session.ask(f"sched run job-{job}")

        end(jobs)
        session.ask(SCRAPE)
        return {
            OTHER: costs(session, pid, OTHER, rounds),
            QUIET: costs(session, pid, SCRAPE, rounds),
            BUSY: costs(session, pid, SCRAPE, rounds, lambda: end(jobs // 4)),
            ALL: costs(session, pid, SCRAPE, rounds // 5 + 1, lambda: end(jobs)),
        }


def run(scale: Scale, folder: Path) -> Report:
    jobs, rounds = scale.pick((MOST_JOBS, 50), (MOST_JOBS, 15), (20, 2))
    report = Report(
        TITLE, f"{jobs:,} declared jobs with ended runs; processor time of the deciding thread for one answer"
    )
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "ours", stanzas(jobs))
    values = measured(place, jobs, rounds)
    report.add({f"{OURS}, {way}": numbers for way, numbers in values.items()}, "ms")
    for way in (QUIET, BUSY):
        cost = report.median(f"{OURS}, {way}")
        assert cost is not None
        report.check_most(f"a scrape, {way}", cost, MOST_MS, "ms")
    report.check_ratio(
        f"a scrape, {QUIET}, beside `{OTHER}`", f"{OURS}, {QUIET}", f"{OURS}, {OTHER}", 20, at_least=False
    )
    report.drawn = tuple(row.name for row in report.rows)
    return report
