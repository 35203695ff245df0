"""How long a preview of a day takes, with 1,000 jobs that run a program every minute.

Rule: every row is printed and counted. A shorter preview is scaled to a day, since the time grows with the rows.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.appliances import Place, lay_out
from benchmarks.burn_down import IN_PROCESS, turned
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report

TITLE = "preview"
JOBS, MINUTES_OF_A_DAY = 1000, 24 * 60
MOST_SECONDS = 90.0
PREVIEW = f"{OURS} preview"
CHUNK = 1 << 20


def stanzas(jobs: int) -> str:
    lines = (f'job "job {number}" {{ every = 1m  command = "run true" }}\n' for number in range(jobs))
    return 'sched { backing_store = "../var/sched.db" }\nprogram "true" { argv = ( "/bin/true" ) }\n' + "".join(lines)


def runs_a_second(place: Place, jobs: int, minutes: int) -> float:
    command = [sys.executable, "-m", "schedappliance", "preview", "--config", str(place.file)]
    began, rows = perf_counter(), 0
    with subprocess.Popen([*command, "--for", f"{minutes}m", "--limit", "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        while chunk := process.stdout.read(CHUNK):
            rows += chunk.count(b"\n")
    assert process.returncode == 0 and rows >= jobs * minutes, f"{rows} rows"
    return jobs * minutes / (perf_counter() - began)


def run(scale: Scale, folder: Path) -> Report:
    jobs, minutes = scale.pick((JOBS, MINUTES_OF_A_DAY), (JOBS, 60), (10, 2))
    report = Report(TITLE, f"{jobs:,} jobs every minute, previewed for {minutes} minutes", drawn=(PREVIEW, IN_PROCESS))
    place = lay_out(folder / "ours", stanzas(jobs))
    ways: dict[str, Way] = {
        PREVIEW: partial(runs_a_second, place, jobs, minutes),
        IN_PROCESS: partial(turned, folder, max(100, jobs * minutes // 100)),
    }
    report.add(by_turns(ways, 1), "runs/s")
    rate = report.median(PREVIEW)
    assert rate is not None
    day = JOBS * MINUTES_OF_A_DAY
    how = "" if jobs * minutes == day else ", scaled"
    report.check_most(f"a day with {day:,} runs{how}", day / rate, MOST_SECONDS, "s")
    return report
