"""Random and mutated inputs for every reader of user input. No input may raise, hang or flood the output.

`python -m tests.fuzz --seconds N | --count N [--seed S]` prints the seed and the figures; status 1 after a failure.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from schedappliance.diagnostics import CODES, Diagnostic, in_order
from schedappliance.lint import report
from schedappliance.lint.linter import Linter, lint_line
from schedappliance.model.appliance_file import KEYS
from schedappliance.model.closure import read_closure
from schedappliance.model.command_file import read_drop_line
from schedappliance.model.loading import load
from schedappliance.model.options import STANZAS
from schedappliance.model.stanzas import read_configuration
from schedappliance.syntax.command import keywords
from schedappliance.syntax.text import MAX_FAULTS
from tests.faults import FILES
from tests.faults import FOLDER as EXAMPLES
from tests.support.memory_files import FOLDER, ROOT, held

MAX_SECONDS = 2.0
KINDS = ("stanza file", "command line", "command file", "appliance file")

ETC = Path(__file__).parent.parent / "etc"
SEEDS = {
    "stanza file": [path.read_bytes() for path in FILES],
    "command line": [line for path in EXAMPLES.glob("*.cmd") for line in path.read_bytes().splitlines() if line],
    "command file": [path.read_bytes() for path in EXAMPLES.glob("*.cmd")],
    "appliance file": [path.read_bytes() for path in ETC.glob("*.yaml")],
}
WORDS = [
    *sorted({name for spec in STANZAS.values() for name in spec.options} | set(STANZAS) | keywords()),
    *(
        "include",
        "x.conf",
        "sched.conf",
        "60",
        "1d",
        "-5",
        "0.5",
        "1795370460",
        "2026-11-22T18:01:00Z",
        "9" * 30,
        "%{x}",
    ),
    *(
        "a.b",
        "/re/",
        "/bin/true",
        "https://x",
        "ü",
        "“x”",
        "日本",
        "\u0301",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x1b[2J",
        "\x85",
    ),
    *("# lint: ignore[W402]", "# c", "/* c */", "/*", "*/", "\\", '\\"', '"a b"', "'c d'", '"', "'", "“", "”"),
    *KEYS,
    *("console:", "config: sched.conf", "- ", ": ", "&a", "*a", "!!int", "|", ">", "---", "? ", "\t"),
]
SIGNS = "{}<>()[]=,;\n\r \t"


@dataclass(slots=True)
class Tally:
    """The figures of a fuzz run. `failures`: kind, input and what went wrong."""

    seed: int
    inputs: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    slowest: float = 0.0
    slowest_input: tuple[str, bytes] = ("", b"")
    failures: list[tuple[str, bytes, str]] = field(default_factory=list)


def make(source: random.Random, kind: str) -> bytes:
    """One input: noise, a mix of words and signs, that mix repeated many times, or a valid text with a few changes."""
    way = source.random()
    if way < 0.1:
        return source.randbytes(source.randrange(120))
    if way < 0.4:
        return _soup(source, source.randrange(1, 60)).encode("utf-8", "surrogatepass")
    if way < 0.42:
        return _soup(source, source.randrange(1, 4)).encode("utf-8", "surrogatepass") * source.randrange(100, 2000)
    data = source.choice(SEEDS[kind])
    for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
        data = _changed(source, data, kind)
    return data


def _soup(source: random.Random, length: int) -> str:
    pieces = (source.choice(WORDS) if source.random() < 0.5 else source.choice(SIGNS) for _ in range(length))
    return source.choice(("", " ")).join(pieces)


def _changed(source: random.Random, data: bytes, kind: str) -> bytes:
    start = source.randrange(len(data) + 1)
    end = min(len(data), start + source.choice((0, 1, 1, 2, 5, 20, 200)))
    new = source.choice((b"", data[start:end] * 2, _soup(source, 1).encode(), source.randbytes(1)))
    if source.random() < 0.05:
        other = source.choice(SEEDS[kind])
        new = other[source.randrange(len(other)) :]
    return data[:start] + new + data[end:]


def check(kind: str, data: bytes) -> list[Diagnostic]:
    """Reads an input as its kind requires, and checks the diagnostics."""
    if kind == "command line":
        line = data.decode("utf-8", "replace")
        diagnostics = list(
            lint_line(
                read_drop_line(line),
                line,
                load(ROOT, held({"sched.conf": SEEDS["stanza file"][0]})).configuration,
                True,
            )
        )
    else:
        name = {"stanza file": "sched.conf", "command file": "x.cmd", "appliance file": "appliance.yaml"}[kind]
        good = {"sched.conf": b"x = 1\n", "appliance.yaml": b"config: sched.conf\n"}
        read = held({**good, name: data})
        diagnostics = Linter(FOLDER / "appliance.yaml", read).lint(FOLDER / name)
        if kind == "stanza file":
            closure = read_closure(ROOT, read)
            read_configuration(closure)
            own = [d for d in closure.diagnostics if d.source.name == str(ROOT)]
            assert len(own) <= 2 * MAX_FAULTS, f"{len(own)} diagnostics of one file"
    _check_forms(diagnostics)
    return diagnostics


def _check_forms(diagnostics: list[Diagnostic]) -> None:
    """Every diagnostic can be shown in every format, and no control character of the input reaches a terminal."""
    diagnostics = in_order(diagnostics)
    for diagnostic in diagnostics:
        assert diagnostic.code in CODES and diagnostic.message and diagnostic.help, diagnostic
        line, column, end_line, end_column = diagnostic.place()
        assert (1, 1) <= (line, column) <= (end_line, end_column), diagnostic
    for text in (report.full(diagnostics), report.concise(diagnostics)):
        assert all(character == "\n" or character.isprintable() for character in text), "raw control character"
        text.encode()
    report.full(diagnostics, report.COLOUR).encode()
    report.github(diagnostics).encode()
    assert report.concise(diagnostics).count("\n") == report.github(diagnostics).count("\n") == len(diagnostics)
    assert len(json.loads(report.as_json(diagnostics).encode())) == len(diagnostics)


def run(seed: int, count: int | None, seconds: float | None, max_seconds: float | None = MAX_SECONDS) -> Tally:
    """Tries `count` inputs, or as many as fit into `seconds`. Each depends on seed and number alone."""
    tally = Tally(seed)
    began = monotonic()
    number = 0
    while (count is None or number < count) and (seconds is None or monotonic() - began < seconds):
        source = random.Random(f"{seed} {number}")
        kind = KINDS[number % len(KINDS)]
        _try(tally, kind, make(source, kind), max_seconds)
        number += 1
    return tally


def _try(tally: Tally, kind: str, data: bytes, max_seconds: float | None) -> None:
    began = monotonic()
    try:
        diagnostics = check(kind, data)
    except Exception:
        tally.failures.append((kind, data, traceback.format_exc(limit=-4)))
        diagnostics = []
    took = monotonic() - began
    tally.inputs[kind] += 1
    tally.codes.update(diagnostic.code for diagnostic in diagnostics)
    tally.clean += not diagnostics
    if took > tally.slowest:
        tally.slowest, tally.slowest_input = took, (kind, data)
    if max_seconds is not None and took > max_seconds:
        tally.failures.append((kind, data, f"took {took:.1f} s"))


def figures(tally: Tally) -> str:
    inputs = ", ".join(f"{count:,} {kind}s" for kind, count in sorted(tally.inputs.items()))
    codes = ", ".join(f"{code} {count:,}" for code, count in sorted(tally.codes.items()))
    kind, data = tally.slowest_input
    return (
        f"seed {tally.seed}: {tally.inputs.total():,} inputs ({inputs}); {tally.clean:,} without a diagnostic\n"
        f"diagnostics: {codes}\n"
        f"slowest: {tally.slowest:.3f} s, a {kind} of {len(data):,} bytes\n"
        f"failures: {len(tally.failures)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Tries random and mutated inputs.")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float)
    length.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options = parser.parse_args()
    tally = run(options.seed, options.count, options.seconds)
    for kind, data, what in tally.failures[:20]:
        print(f"{kind} {data[:2000]!r}\n{what}\n")
    print(figures(tally))
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
