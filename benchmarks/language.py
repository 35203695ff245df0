"""How fast both languages are read: `lint` and the parsers, compared with Lark alone with an embedded transformer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from lark import Lark, Token, Transformer, Tree

from benchmarks.lint_speed import lint, parser_alone, write_commands
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report
from schedappliance.cli.main import main as schedappliance
from schedappliance.diagnostics import Source
from schedappliance.model.commands import read_command
from schedappliance.syntax.grammars import grammar_directory
from schedappliance.syntax.stanza import parse_stanzas

TITLE = "lint and parse"
LINT, READ, LARK = f"{OURS}, lint of commands", f"{OURS}, one command after the other", "Lark alone, commands"
LINT_STANZAS, READ_STANZAS, LARK_STANZAS = (
    f"{OURS}, lint of stanzas",
    f"{OURS}, parse of stanzas",
    "Lark alone, stanzas",
)
SHARE_OF_LARK = 0.67
WRONG = f"{OURS}, lint of wrong lines"
# A growth by the square would be sixteen times.
TIMES_MORE, MOST_TIMES = 4, 4.4
STANZA = """\
program "site {0}" {{
    argv = ( "/bin/true" "--site" "{0}" )
    timeout = {1}
    env = [ SITE = "{0}" ]
}}
job "site {0}" {{ every = {1}  command = "run 'site {0}'" }}
"""
LINES_OF_STANZA = 6


def wrong_line(number: int) -> str:
    """Different lines, each of which lint rejects."""
    forms = (
        f"run 'bakcup {number}'",
        f"sched evry {number + 1} run backup full",
        f"sched in {number}x run backup full",
        f'run backup "site {number}',
        f"config set message_expiration {number} {number}",
    )
    return forms[number % len(forms)]


class Values(Transformer[Token, object]):
    """What any program would embed: it makes a list of every rule. Lark's own rules for repetitions stay trees."""

    def __default__(self, data: str, children: list[Any], _meta: object) -> object:
        return Tree(data, children) if data.startswith("_") else children


def first_of(path: Path) -> Path:
    """A file of the first lines."""
    first = path.with_name(f"first{path.suffix}")
    first.write_text("".join(path.read_text().splitlines(keepends=True)[:LINES_OF_STANZA]))
    return first


def lint_again(path: Path) -> float:
    """Lints a file in a process that has linted before, since loading the languages does not depend on the file."""
    lint(first_of(path))
    return lint(path)


def lint_wrong(path: Path) -> float:
    """CPU seconds for a file in which every line is wrong."""
    schedappliance(["lint", "--format", "concise", str(first_of(path))])
    began = process_time()
    assert schedappliance(["lint", "--format", "concise", str(path)]) != 0
    return process_time() - began


def read(path: Path) -> float:
    """Reads commands with their meaning, as a console line is read."""
    lines = path.read_text().splitlines()
    read_command(lines[0])
    began = perf_counter()
    for line in lines:
        assert read_command(line).command is not None
    return perf_counter() - began


def read_stanzas(path: Path) -> float:
    source = Source(str(path), path.read_text())
    # The measurement does not include building the parser.
    parse_stanzas(Source("", "a = 1\n"))
    began = perf_counter()
    statements, mistakes = parse_stanzas(source)
    assert statements and not mistakes
    return perf_counter() - began


def lark_stanzas(path: Path) -> float:
    """Reads the same text by the same grammar with Lark and its transformer."""
    parser = Lark.open(str(grammar_directory() / "stanza.lark"), parser="lalr", transformer=Values())
    text = path.read_text()
    began = perf_counter()
    parser.parse(text)
    return perf_counter() - began


COMPARED: dict[str, Callable[[Path], float]] = {
    LINT: lint_again,
    READ: read,
    LARK: parser_alone,
    LINT_STANZAS: lint_again,
    READ_STANZAS: read_stanzas,
    LARK_STANZAS: lark_stanzas,
}
WORK = {**COMPARED, WRONG: lint_wrong}


def seconds(work: str, path: Path) -> float:
    """How long the work takes in its own process."""
    command = [sys.executable, "-m", "benchmarks.language", work, str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(out.splitlines()[-1])


def rate(work: str, path: Path, lines: int) -> float:
    return lines / seconds(work, path)


def write_stanzas(folder: Path, count: int) -> Path:
    path = folder / "stanzas.conf"
    path.write_text("".join(STANZA.format(number, 60 + number % 86_400) for number in range(count)))
    return path


def run(scale: Scale, folder: Path) -> Report:
    lines, stanzas = scale.pick(20_000, 5000, 100), scale.pick(8000, 800, 20)
    report = Report(
        TITLE, f"{lines:,} different commands; {stanzas * 2:,} stanzas, {stanzas * LINES_OF_STANZA:,} lines"
    )
    paths = dict.fromkeys((LINT, READ, LARK), (write_commands(folder, lines), lines))
    own = folder / "own"
    own.mkdir()
    of_stanzas = (write_stanzas(own, stanzas), stanzas * LINES_OF_STANZA)
    paths |= dict.fromkeys((LINT_STANZAS, READ_STANZAS, LARK_STANZAS), of_stanzas)
    ways: dict[str, Way] = {work: partial(rate, work, *paths[work]) for work in COMPARED}
    report.add(by_turns(ways, scale.pick(3, 2, 1)), "lines/s")
    report.check_ratio("lint of commands, beside Lark alone", LINT, LARK, SHARE_OF_LARK)
    report.check_ratio("lint of stanzas, beside Lark alone", LINT_STANZAS, LARK_STANZAS, SHARE_OF_LARK)
    report.drawn = tuple(COMPARED)
    wrong(scale, folder, report)
    return report


def wrong(scale: Scale, folder: Path, report: Report) -> None:
    """Lints some wrong lines, and several times as many."""
    few = scale.pick(10_000, 1000, 10)
    paths = {f"{WRONG}, {count:,}": folder / f"wrong-{count}.cmd" for count in (few, few * TIMES_MORE)}
    for path, count in zip(paths.values(), (few, few * TIMES_MORE), strict=True):
        path.write_text("".join(f"{wrong_line(number)}\n" for number in range(count)))
    ways: dict[str, Way] = {name: partial(seconds, WRONG, path) for name, path in paths.items()}
    report.add(by_turns(ways, scale.pick(3, 2, 1)), "CPU s")
    small, large = paths
    report.check_ratio(f"{large} beside {few:,}", large, small, MOST_TIMES, at_least=False)
    report.apart["wrong lines"] = (small, large)


if __name__ == "__main__":
    print(WORK[sys.argv[1]](Path(sys.argv[2])))
