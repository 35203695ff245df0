"""The syntax of unit files: time spans and words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.importing.stanzas import NotPossible
from schedappliance.importing.units import commands, time_span

SPANS = [
    *("5", "90s", "1h 30min", "2h30m", "1 day", "3days 4hours", "1w", "1M", "1month", "2y", "1.5h", "100ms", "0"),
    *("5 min 20", "1500 us", "1min1s"),
]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("text", SPANS)
def test_a_time_span_is_as_long_as_systemd_says(text: str) -> None:
    command = ["systemd-analyze", "timespan", text]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (microseconds,) = re.findall(r"^\W*μs: (\d+)$", output, re.MULTILINE)
    assert time_span(text) == int(microseconds) // 1000


def test_infinity_has_no_end() -> None:
    assert time_span("infinity") is None


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "-5", "1..5", "5min x"])
def test_another_text_is_no_time_span(text: str) -> None:
    with pytest.raises(NotPossible):
        time_span(text)


@given(st.text(st.sampled_from("ab \t;\\\"'x20ns"), max_size=40))
def test_every_command_line_has_words_or_a_reason(line: str) -> None:
    try:
        words = commands(line)
    except NotPossible as error:
        assert str(error)
    else:
        assert all(words)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_drop_ins_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """They were left out in silence."""
    (tmp_path / "x.timer").write_text("[Timer]\nOnCalendar=daily\n")
    (tmp_path / "x.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "x.timer.d").mkdir(mode=0)
    privileges = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    words = ("-m", "schedappliance", "import", "timer", "x.timer")
    done = subprocess.run(
        [*privileges, sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "cannot read x.timer.d: Permission denied" in done.stdout + done.stderr
