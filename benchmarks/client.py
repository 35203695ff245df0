"""How long one console command takes as its own process, compared with an empty Python process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.appliances import lay_out, serving
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report

TITLE = "one command of the console"
ONE_SHOT, PYTHON, SOCAT = f"{OURS} console version", "python -c pass", "socat"
BY_FILE = f"{OURS} console version, by --config"
MAX_TIMES = 5


def took(command: list[str], answer: str = "", sent: str | None = None) -> float:
    """Milliseconds from the start of a process to its end."""
    began = perf_counter()
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=True)
    milliseconds = (perf_counter() - began) * 1000
    assert answer in done.stdout, done
    return milliseconds


def run(scale: Scale, folder: Path) -> Report:
    rounds = scale.pick(50, 10, 2)
    report = Report(TITLE, "`console --endpoint SOCKET version`, from the start of its process to its end")
    place = lay_out(folder / "ours")
    console = [sys.executable, "-m", "schedappliance", "console"]
    ways: dict[str, Way] = {
        ONE_SHOT: partial(took, [*console, "--endpoint", str(place.socket), "version"], "schedappliance"),
        BY_FILE: partial(took, [*console, "--config", str(place.file), "version"], "schedappliance"),
        PYTHON: partial(took, [sys.executable, "-c", "pass"]),
    }
    if socat := shutil.which("socat"):
        ways[SOCAT] = partial(took, [socat, "-t5", "-", f"UNIX-CONNECT:{place.socket}"], "schedappliance", "version\n")
    else:
        report.absent.append(f"{SOCAT}: not installed")
    with serving(place):
        report.add(by_turns(ways, rounds), "ms")
    report.check_ratio(f"one shot, beside {PYTHON}", ONE_SHOT, PYTHON, MAX_TIMES, at_least=False)
    report.drawn = tuple(ways)
    return report
