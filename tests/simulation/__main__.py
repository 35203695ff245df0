"""Simulates histories by hand, one for each seed. Exits with 1 if an invariant is broken.

`python -m tests.simulation --seed N --days D [--seeds COUNT] [--log]` prints the seed first, then the figures.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import traceback
from time import monotonic

from tests.simulation.checker import Broken
from tests.simulation.history import Figures, live
from tests.simulation.report import summary

PROGRESS = 100


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    seeds = range(options.seed, options.seed + options.seeds)
    print(f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}", flush=True)
    began, lived, broken = monotonic(), list[Figures](), 0
    for seed in seeds:
        try:
            lived.append(live(seed, options.days, _say) if options.log else live(seed, options.days))
        except Broken as found:
            broken += 1
            print(f"seed {seed} breaks {found}", flush=True)
        except Exception:
            # A mistake of the simulation itself. The other seeds remain valid.
            broken += 1
            print(f"seed {seed} cannot be lived: {traceback.format_exc()}", flush=True)
        if (done := seed - options.seed + 1) % PROGRESS == 0 and done < options.seeds:
            print(f"{done:,} of {options.seeds:,} seeds, {monotonic() - began:.0f} seconds", flush=True)
    if lived:
        print(summary(lived, monotonic() - began))
    if len(lived) == 1:
        print(f"digest: {lived[0].digest}")
    print(f"broken: {broken}")
    return 1 if broken else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Lives simulated histories.")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="the first seed; default: any")
    parser.add_argument("--seeds", type=int, default=1, metavar="COUNT", help="how many seeds; default: 1")
    parser.add_argument("--days", type=float, default=30, help="simulated days of each; default: 30")
    parser.add_argument("--log", action="store_true", help="print everything that happens")
    return parser.parse_args(arguments)


def _say(*what: object) -> None:
    print(*what)


if __name__ == "__main__":
    sys.exit(main())
