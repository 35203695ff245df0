"""The report of a workload: rows of figures, and the targets. Shown as a table, as data, and in the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.measuring import shown, spread

OURS = "schedappliance"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to do the work, and the figure of each of its runs."""

    name: str
    values: list[float]
    unit: str
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Check:
    """One figure and its target."""

    what: str
    measured: float
    wanted: float
    unit: str = "times"
    at_least: bool = True

    @property
    def holds(self) -> bool:
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    @property
    def shown(self) -> str:
        bound = "at least" if self.at_least else "at most"
        verdict = "holds" if self.holds else "falls short"
        return f"{self.what}: {shown(self.measured)} {self.unit}, wanted {bound} {shown(self.wanted)}: {verdict}"


@dataclass(slots=True)
class Report:
    """`absent`: what could not be measured, and why; `drawn`: the names of the rows in the picture.

    `apart`: the rows of further panels, by what they show. Such rows have another unit or another size.
    With `columns`, the medians of the rows that are named `WHAT, COLUMN` are shown as a grid. Any other row follows it.
    """

    title: str
    workload: str
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    drawn: tuple[str, ...] = ()
    apart: dict[str, tuple[str, ...]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def add(self, names: dict[str, list[float]], unit: str, note: str = "") -> None:
        self.rows += [Row(name, values, unit, note) for name, values in names.items()]

    def median(self, name: str) -> float | None:
        """The median of a row; None if it was not measured."""
        return next((row.median for row in self.rows if row.name == name), None)

    def check_ratio(self, what: str, one: str, other: str, wanted: float, at_least: bool = True) -> None:
        """Checks the ratio of two rows. Reports it as absent if one was not measured."""
        numerator, denominator = self.median(one), self.median(other)
        if numerator is None or not denominator:
            self.absent.append(f"{what}: not compared, `{one if numerator is None else other}` was not measured")
        else:
            self.checks.append(Check(what, numerator / denominator, wanted, "times", at_least))

    def check_most(self, what: str, measured: float, wanted: float, unit: str) -> None:
        self.checks.append(Check(what, measured, wanted, unit, at_least=False))

    def as_data(self) -> dict[str, Any]:
        rows = [
            {"name": row.name, "unit": row.unit, "median": row.median, "runs": row.values, "note": row.note}
            for row in self.rows
        ]
        checks = [
            {"what": c.what, "measured": c.measured, "wanted": c.wanted, "unit": c.unit}
            | {"at_least": c.at_least, "holds": c.holds}
            for c in self.checks
        ]
        data = {"title": self.title, "workload": self.workload, "rows": rows, "checks": checks}
        return data | {"absent": self.absent}


def table(name: str, report: Report, machine: str, syncs: Sequence[float]) -> str:
    """As people read it."""
    lines = [f"== {name}: {report.title}", f"workload: {report.workload}", f"machine:  {machine}"]
    lines.append(f"disk:     {spread(list(syncs))} fdatasync/s of one page")
    lines += _grid(report) if report.columns else _rows(report.rows)
    lines += [f"  {check.shown}" for check in report.checks]
    lines += [f"  absent: {what}" for what in report.absent]
    return "\n".join(lines)


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        note = f"; {row.note}" if row.note else ""
        times = f", median of {len(row.values)}" if len(row.values) > 1 else ""
        yield f"  {row.name:{width}}  {spread(row.values)} {row.unit}{times}{note}"


def _grid(report: Report) -> Iterator[str]:
    whats = list(dict.fromkeys(row.name.removesuffix(f", {c}") for c in report.columns for row in report.rows))
    whats = [what for what in whats if report.median(f"{what}, {report.columns[0]}") is not None]
    unit, width = report.rows[0].unit, max(map(len, whats))
    yield f"  {f'{unit}, medians':{width}}" + "".join(f"{column:>18}" for column in report.columns)
    for what in whats:
        cells = (report.median(f"{what}, {column}") for column in report.columns)
        yield f"  {what:{width}}" + "".join(f"{'-' if cell is None else shown(cell):>18}" for cell in cells)
    yield from _rows([row for row in report.rows if not row.name.endswith(report.columns)])
