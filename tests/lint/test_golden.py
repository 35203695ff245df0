"""Every code of the linter has a text that triggers it, and the output for that text does not change."""

from __future__ import annotations

import re

import pytest

from schedappliance.diagnostics import CODES
from tests.support.golden_files import FOLDER, JUDGED, RUNTIME_ONLY, expected, inputs, printed


@pytest.mark.parametrize("code", JUDGED)
def test_the_output_for_a_mistake_is_that_of_the_golden_file(code: str) -> None:
    assert len(inputs(code)) == 1, f"give exactly one of {code}.conf, {code}.cmd, {code}.yaml and {code}/"
    assert expected(code).is_file(), "write it with `python -m tests.support.golden_files`"
    assert printed(code) == expected(code).read_text(encoding="utf-8")


@pytest.mark.parametrize("code", JUDGED)
def test_the_text_of_a_code_triggers_that_code(code: str) -> None:
    severity = "error" if code.startswith("E") else "warning"
    assert f"{severity}[{code}]: " in printed(code)


@pytest.mark.parametrize("code", [code for code in JUDGED if code not in ("E117", "E307")])
def test_a_mistake_is_shown_with_its_line_and_a_remedy(code: str) -> None:
    about = next(part for part in printed(code).split("\n\n") if f"[{code}]" in part)
    assert re.search(r"^ +--> .*:\d+:\d+$", about, re.MULTILINE) and "  help: " in about


def test_every_golden_file_belongs_to_a_code() -> None:
    assert {path.name.split(".")[0] for path in FOLDER.iterdir()} == set(JUDGED)
    assert set(CODES) > RUNTIME_ONLY
