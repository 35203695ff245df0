"""Runs the workloads: `python -m benchmarks`. `--help` shows the options."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from importlib import import_module
from pathlib import Path
from time import perf_counter

from benchmarks.measuring import Scale, machine, sync_rate
from benchmarks.picture import picture
from benchmarks.reporting import Report, table

WORKLOADS = (
    *("burn_down", "recurrent", "lateness", "starts", "first_instruction", "acceptance", "restart", "idle"),
    *("language", "client", "pauses", "growth", "calendars", "watching", "scraping", "drawing", "viewing"),
    *("first_views", "previewing"),
)
# These run only by name. Their figures are for those who change the code.
BY_NAME = ("pricing", "restart_calendars")
# These also measure an earlier checkout.
WITH_EARLIER = ("burn_down", "starts")


def before(text: str) -> tuple[str, Path]:
    """A workload and its earlier checkout."""
    name, _, checkout = text.partition("=")
    if name not in WITH_EARLIER or not Path(checkout, "benchmarks").is_dir():
        raise argparse.ArgumentTypeError(f"write a workload, `=` and a checkout, as in `{WITH_EARLIER[0]}=../earlier`")
    return name, Path(checkout).resolve()


def measured(name: str, scale: Scale, directory: Path, **options: Path) -> tuple[Report, list[float]]:
    """Runs one workload, with its own options, and measures the disk before and after it.

    What the last workload has left to write is written first: it would hold up the commits of this one.
    """
    os.sync()
    with tempfile.TemporaryDirectory(dir=directory, prefix="schedappliance-") as folder:
        syncs = [sync_rate(Path(folder))]
        report: Report = import_module(f"benchmarks.{name}").run(scale, Path(folder), **options)
        syncs += [sync_rate(Path(folder))]
    return report, syncs


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures speeds and compares them with peers and limits."
    )
    parser.add_argument("--quick", action="store_true", help="measures less, in under two minutes")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*WORKLOADS, *BY_NAME),
        default=WORKLOADS,
        metavar="NAME",
        help=", ".join((*WORKLOADS, *BY_NAME)),
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes all figures as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draws all figures")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="a directory on the disk to measure; %(default)s"
    )
    parser.add_argument(
        "--before",
        type=before,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help=f"a checkout of an earlier state, which the workload ({' or '.join(WITH_EARLIER)}) runs in turn with this one",
    )
    options = parser.parse_args()
    own = {name: {"checkout": checkout} for name, checkout in options.before}
    scale = Scale.QUICK if options.quick else Scale.FULL
    reports: dict[str, Report] = {}
    data = {}
    for name in options.only:
        began = perf_counter()
        reports[name], syncs = measured(name, scale, options.directory, **own.get(name, {}))
        took = round(perf_counter() - began)
        print(table(name, reports[name], machine(), syncs))
        print(f"  ({took} s)\n", flush=True)
        data[name] = reports[name].as_data() | {"fdatasync_per_second": syncs, "took_seconds": took}
        # Written after each workload, so that an interrupted run keeps its figures.
        if options.json:
            whole = {"machine": machine(), "scale": scale.value, "workloads": data}
            options.json.write_text(json.dumps(whole, indent=1) + "\n")
        if options.svg:
            options.svg.write_text(picture(reports, machine()))
    short = [check for report in reports.values() for check in report.checks if not check.holds]
    print(f"{sum(len(report.checks) for report in reports.values())} targets, {len(short)} missed")


if __name__ == "__main__":
    main()
