"""How fast `lint` reads a command file compared with the parser alone, its memory per line, and the largest stanza file.

`python -m benchmarks.lint_speed [--quick]`; every figure is the median of several runs, each in its own process.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.measuring import machine
from schedappliance.cli.main import main as schedappliance
from schedappliance.diagnostics import Source
from schedappliance.model.command_file import command_lines
from schedappliance.syntax.command import _parser
from schedappliance.syntax.stanza import MAX_TOKENS, parse_stanzas

# A command file has at most 20,000 lines.
LINES, QUICK_LINES = 20_000, 10_000
RUNS, QUICK_RUNS = 5, 3
WANTED_RATIO = 1.5
MAX_STANZA_MB = 1024

STANZAS = """\
Message_Expiration = 86400
program "backup" { argv = ( "/bin/true" ) args = any }
"""


def line(number: int) -> str:
    """Different lines of the forms that are most common in drops."""
    forms = (
        f"sched in {number + 1} run backup full --number {number}",
        f"sched every {number % 86_400 + 1} run backup 'job {number}'",
        f"sched at {1_795_370_460 + number} config set Message_Expiration = {number}",
        f'run backup "site {number}" --quiet',
        f"sched delete example.com-{number:09d}",
    )
    return forms[number % len(forms)]


def write_commands(folder: Path, count: int) -> Path:
    (folder / "appliance.yaml").write_text("config: sched.conf\n")
    (folder / "sched.conf").write_text(STANZAS)
    path = folder / f"{count}.cmd"
    path.write_text("".join(f"{line(number)}\n" for number in range(count)))
    return path


def write_stanzas(folder: Path) -> Path:
    """Writes the maximum number of tokens of a stanza file: options of three tokens, each with its own name."""
    path = folder / "limit.conf"
    path.write_text("".join(f"Option_{number} = {number}\n" for number in range(MAX_TOKENS // 3)))
    return path


def lint(path: Path) -> float:
    began = perf_counter()
    status = schedappliance(["lint", "--format", "concise", str(path)])
    assert status == 0, f"lint found a mistake in {path}"
    return perf_counter() - began


def parser_alone(path: Path) -> float:
    """Parses every line, and every command that it schedules, and does nothing else."""
    parser = _parser()
    texts = [text for _, text in command_lines(Source(str(path), path.read_text()))]
    began = perf_counter()
    for text in texts:
        rest: str | None = text
        while rest is not None:
            tokens = parser.parse(rest).children
            rest = next((str(token) for token in tokens if token.type == "REST"), None)  # type: ignore[union-attr]
    return perf_counter() - began


def stanzas(path: Path) -> float:
    source = Source(str(path), path.read_text())
    began = perf_counter()
    statements, mistakes = parse_stanzas(source)
    assert len(statements) == MAX_TOKENS // 3 and not mistakes
    return perf_counter() - began


WORK: dict[str, Callable[[Path], float]] = {"lint": lint, "parser": parser_alone, "stanzas": stanzas}


def measured(work: str, path: Path, runs: int) -> tuple[float, float]:
    """Seconds and peak memory in MB, as medians over separate processes."""
    command = [sys.executable, "-m", "benchmarks.lint_speed", "--work", work, str(path)]
    figures = []
    for _ in range(runs):
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        seconds, megabytes = map(float, out.split())
        figures.append((seconds, megabytes))
    return median(s for s, _ in figures), median(m for _, m in figures)


def compare(lines: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = write_commands(folder, lines // 10), write_commands(folder, lines)
        print(f"machine:  {machine()}\nworkload: {lines:,} different command lines; medians of {runs} runs")
        parsed, _ = measured("parser", large, runs)
        _, small_mb = measured("lint", small, runs)
        linted, large_mb = measured("lint", large, runs)
        per_line = (large_mb - small_mb) * 1024 * 1024 / (lines - lines // 10)
        size = large.stat().st_size / lines
        print(f"parser alone: {parsed:.2f} s ({parsed / lines * 1e6:.0f} us a line)")
        print(f"lint:         {linted:.2f} s ({linted / lines * 1e6:.0f} us a line)")
        print(f"ratio:        {linted / parsed:.2f} (wanted: at most {WANTED_RATIO})")
        print(
            f"peak memory:  {large_mb:.0f} MB, {small_mb:.0f} MB for a tenth of the lines: {per_line:.0f} bytes a line"
        )
        print(f"              (a line has {size:.0f} bytes itself)")
        limit = write_stanzas(folder)
        took, megabytes = measured("stanzas", limit, runs)
        print(f"workload: a stanza file of {MAX_TOKENS:,} words and symbols, {limit.stat().st_size / 1e6:.1f} MB")
        print(f"parsed in {took:.1f} s, peak memory {megabytes:.0f} MB (wanted: under {MAX_STANZA_MB})")
        took, megabytes = measured("lint", limit, runs)
        print(f"linted in {took:.1f} s, peak memory {megabytes:.0f} MB (wanted: under {MAX_STANZA_MB})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures lint.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the lines, fewer runs")
    parser.add_argument("--work", nargs=2, metavar=("WORK", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work, path = options.work
        seconds = WORK[work](Path(path))
        # Linux counts in kB.
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        compare(*((QUICK_LINES, QUICK_RUNS) if options.quick else (LINES, RUNS)))


if __name__ == "__main__":
    main()
