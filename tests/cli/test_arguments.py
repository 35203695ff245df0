"""Arguments among which options may stand, and words after `--`, which are never options."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("command", "arguments", "read"),
    [
        ("run", "-- nightly", {"name": "nightly", "words": [], "wait": False}),
        ("run", "--wait -- -x", {"name": "-x", "words": [], "wait": True}),
        ("run", "-- -x --wait", {"name": "-x", "words": ["--wait"], "wait": False}),
        ("run", "tidy --wait a -- -- --json", {"name": "tidy", "words": ["a", "--", "--json"], "json": False}),
        ("run", "-- tidy -- x", {"name": "tidy", "words": ["--", "x"]}),
        ("lint", "a --strict -- -x.conf --strict", {"paths": ["a", "-x.conf", "--strict"], "strict": True}),
        ("import", "crontab --zone UTC -- -x", {"kind": "crontab", "paths": ["-x"], "zone": "UTC"}),
        ("import", "-- crontab x", {"kind": "crontab", "paths": ["x"]}),
        ("holidays", "--name n -- DE 2026", {"place": "DE", "years": range(2026, 2027), "name": "n"}),
        ("when", "--next 3 -- @daily", {"words": ["@daily"], "next": 3}),
    ],
)
def test_after_two_hyphens_there_are_no_options(command: str, arguments: str, read: dict[str, Any]) -> None:
    options = vars(import_module(f"schedappliance.cli.{command}").parse(arguments.split()))
    assert {name: options[name] for name in read} == read


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("run", "", "the following arguments are required: JOB|PROGRAM\n"),
        ("run", "--wait --", "the following arguments are required: JOB|PROGRAM\n"),
        ("lint", "--", "the following arguments are required: PATH\n"),
        ("import", "-- -x y", "argument KIND: invalid choice: '-x'"),
    ],
)
def test_an_error_names_what_is_missing_or_wrong(
    command: str, arguments: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        import_module(f"schedappliance.cli.{command}").parse(arguments.split())
    assert f": error: {error}" in capsys.readouterr().err
