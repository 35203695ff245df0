"""Mistakes on the page: as the linter prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.diagnostics import as_data, with_lines
from schedappliance.lint.report import full
from schedappliance.model.loading import load
from schedappliance.web.rendering.carets import as_linted

FAULTY = """\
# One.
sched { backing_stor = "/var/lib/sched.db" }
program "b" {
\targv = ( "/bin/true" )  timeout = "2 hours"  # \u202e
}
job "j" { every = 1d  command = "rnu
b" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sched.conf"
    file.write_text(FAULTY)
    return file


def test_a_mistake_is_shown_as_the_linter_prints_it(path: Path) -> None:
    diagnostics = load(path).diagnostics
    assert len(diagnostics) >= 3
    for diagnostic, row in zip(diagnostics, with_lines(diagnostics), strict=True):
        assert as_linted(row) == full([diagnostic]).rstrip("\n")
    assert "^" in as_linted(with_lines(diagnostics)[0])


def test_without_its_line_a_mistake_has_its_place(path: Path) -> None:
    row = next(row for row in as_data(load(path).diagnostics) if row["code"] == "E202")
    text = as_linted(row)
    assert text.startswith("error[E202]: unknown option") and f"--> {path}:2:9\n" in text
    assert text.endswith(f"help: {row['help']}") and "^" not in text


def test_a_code_of_a_later_version_has_its_place(path: Path) -> None:
    row = with_lines(load(path).diagnostics)[0] | {"code": "E299"}
    assert as_linted(row).startswith("error[E299]: ") and f"--> {path}:" in as_linted(row)


def test_a_very_long_line_is_left_out(path: Path) -> None:
    path.write_text(f'sched {{ backing_stor = "/{"x" * 2000}" }}\n')
    assert with_lines(load(path).diagnostics)[0]["line_text"] is None
