"""Reports as tables, as data and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.measuring import SAMPLES, by_turns, percentile, shares, shown, spread
from benchmarks.picture import picture
from benchmarks.reporting import OURS, Check, Report, table


@pytest.fixture
def report() -> Report:
    report = Report("a <title>", "some work", drawn=(OURS, "a & b"))
    report.add({OURS: [30.0, 10.0, 20.0], "a & b": [4.0]}, "jobs/s", "small")
    return report


def test_a_ratio_is_that_of_medians(report: Report) -> None:
    report.check_ratio("beside it", OURS, "a & b", 5)
    report.check_ratio("beside it", OURS, "a & b", 5.1)
    report.check_ratio("beside it", OURS, "a & b", 4.9, at_least=False)
    assert [(check.measured, check.holds) for check in report.checks] == [(5, True), (5, False), (5, False)]


def test_a_missing_measurement_is_reported(report: Report) -> None:
    report.check_ratio("beside another", OURS, "another", 5)
    assert not report.checks
    assert report.absent == ["beside another: not compared, `another` was not measured"]
    assert "absent: beside another" in table("work", report, "a machine", [1.0])


def test_the_table_marks_missed_targets(report: Report) -> None:
    report.check_ratio("beside it", OURS, "a & b", 6)
    lines = table("work", report, "a machine", [100.0, 300.0]).splitlines()
    assert lines == [
        "== work: a <title>",
        "workload: some work",
        "machine:  a machine",
        "disk:     200 (100 to 300) fdatasync/s of one page",
        "  schedappliance  20.0 (10.0 to 30.0) jobs/s, median of 3; small",
        "  a & b           4.00 (4.00 to 4.00) jobs/s; small",
        "  beside it: 5.00 times, wanted at least 6.00: falls short",
    ]
    assert Check("it", 1.5, 2, "ms", at_least=False).shown == "it: 1.50 ms, wanted at most 2.00: holds"


def test_columns_make_a_grid() -> None:
    report = Report("growth", "some work", columns=("10 jobs", "20 jobs"))
    report.add({"add, 10 jobs": [1.0], "add, 20 jobs": [2.0], "list, 10 jobs": [30.0], "start": [4.0]}, "ms")
    assert table("growth", report, "a machine", [1.0]).splitlines()[4:] == [
        "  ms, medians           10 jobs           20 jobs",
        "  add               1.00              2.00",
        "  list              30.0                 -",
        "  start  4.00 (4.00 to 4.00) ms",
    ]


def test_the_data_hold_every_run(report: Report) -> None:
    data = report.as_data()
    assert data["rows"][0]["runs"] == [30.0, 10.0, 20.0]
    assert data["rows"][0]["median"] == 20.0


def test_the_picture_is_svg_with_a_bar_for_each_drawn_row(report: Report) -> None:
    report.add({"not drawn": [1.0]}, "jobs/s")
    root = ElementTree.fromstring(picture({"work": report}, "a machine"))
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert [bar.attrib["class"] for bar in bars] == ["ours", "other"]
    assert widths[0] == pytest.approx(5 * widths[1], rel=0.01)
    texts = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert "a <title>, jobs/s (more is better)" in texts


def test_rows_of_another_size_have_a_panel_of_their_own(report: Report) -> None:
    report.add({"memory": [500.0]}, "MB")
    report.apart = {"memory in use": ("memory",), "another": ("absent",)}
    root = ElementTree.fromstring(picture({"work": report}, "a machine"))
    texts = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert "a <title>: memory in use, MB (less is better)" in texts
    assert not any("another" in str(text) for text in texts)
    widths = [float(bar.attrib["width"]) for bar in root.findall("{http://www.w3.org/2000/svg}rect")]
    assert widths[2] == widths[0]


def test_a_p99_needs_its_samples() -> None:
    values = [float(number) for number in range(SAMPLES)]
    assert shares({"one": [values], "other": [values, values[1:]]}) == {
        "one, p50": [150.0],
        "other, p50": [150.0, 150.0],
        "one, p95": [285.0],
        "other, p95": [285.0, 285.0],
        "one, p99": [297.0],
    }


def test_a_round_measures_every_way_once() -> None:
    order: list[str] = []

    def way(name: str, value: float | None) -> float | None:
        order.append(name)
        return value

    values = by_turns({"a": lambda: way("a", 1.0), "b": lambda: way("b", None), "c": lambda: way("c", 2.0)}, 2)
    assert order == ["a", "b", "c"] * 2
    assert values == {"a": [1.0, 1.0], "c": [2.0, 2.0]}


def test_figures_are_short() -> None:
    assert [shown(value) for value in (0, 0.0123, 1.234, 12.34, 123456.7)] == ["0", "0.0123", "1.23", "12.3", "123,457"]
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"
    assert percentile([float(n) for n in range(100)], 0.99) == 99
