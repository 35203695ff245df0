"""One SVG picture of all figures: a panel for each workload, a bar for each way. Readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from benchmarks.measuring import shown
from benchmarks.reporting import OURS, Report, Row

TITLE = "schedappliance beside its peers and the limits of the machine"
WIDTH, NAME_WIDTH, VALUE_WIDTH = 950, 420, 90
BAR, STEP, HEAD, GAP = 13, 19, 26, 14
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .small { font-size: 11px; fill: #59636e }
.ours { fill: #0969da } .other { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .ours { fill: #4493f8 } .other { fill: #656c76 }
}"""


def picture(reports: Mapping[str, Report], machine: str) -> str:
    """Draws the selected rows of all reports. The bars of a panel share one linear scale."""
    body, y = [f"<title>{TITLE}</title>", _text(0, 16, "title", TITLE)], 34
    body.append(_text(0, y, "small", f"medians; {machine}"))
    y += GAP
    for heading, rows in _panels(reports.values()):
        panel, height = _panel(heading, rows, y)
        body += panel
        y += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *body, "</svg>", ""])


def _panels(reports: Iterable[Report]) -> Iterator[tuple[str, list[Row]]]:
    """The panels of all reports, each with its heading and its rows."""
    for report in reports:
        for what, names in {"": report.drawn, **report.apart}.items():
            if rows := [row for name in names for row in report.rows if row.name == name]:
                yield f"{report.title}: {what}" if what else report.title, rows


def _panel(heading: str, rows: list[Row], top: int) -> tuple[list[str], int]:
    most = max(row.median for row in rows) or 1
    better = "more is better" if rows[0].unit.endswith("/s") else "less is better"
    parts = [_text(0, top + 16, "title", f"{heading}, {rows[0].unit} ({better})")]
    # The rows of some workloads all are ours, and do not say so.
    peers = [row for row in rows if not row.name.startswith(OURS)]
    for number, row in enumerate(rows):
        y = top + HEAD + number * STEP
        width = max(1.0, row.median / most * (WIDTH - NAME_WIDTH - VALUE_WIDTH))
        kind = "other" if row in peers and len(peers) < len(rows) else "ours"
        parts.append(_text(0, y + BAR - 2, "name", row.name))
        parts.append(f'<rect class="{kind}" x="{NAME_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
        parts.append(_text(int(NAME_WIDTH + width) + 6, y + BAR - 2, "name", shown(row.median)))
    return parts, HEAD + len(rows) * STEP + GAP


def _text(x: int, y: int, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
