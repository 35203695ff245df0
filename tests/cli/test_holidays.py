"""`schedappliance holidays`: the stanza, its names and order, misspelt places, and a machine without the library."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from schedappliance.cli.errors import FAILED, OK, UNUSABLE, USAGE
from schedappliance.cli.holidays import stanza
from schedappliance.cli.main import main
from tests.support.documents import DOCS, blocks

# `lint` warns of dates that end soon.
NEXT_YEARS = f"{datetime.now(UTC).year}..{datetime.now(UTC).year + 2}"


def written(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["holidays", *arguments]) == OK
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_stanza_has_a_header_and_sorted_dates_with_names(capsys: pytest.CaptureFixture[str]) -> None:
    text = written(capsys, "DE-BE", "2026..2027")
    header, body = text.split("\ndays ", 1)
    assert f"{header}\n" == (
        f"# Written by the library holidays {version('holidays')}:\n#   schedappliance holidays DE-BE 2026..2027\n"
        "# Dates change between versions of the library, so compare before you replace the file.\n"
    )
    assert body.startswith('"holidays-DE-BE" {\n  dates = (\n    "2026-01-01"  # New Year\'s Day\n')
    dates = re.findall(r'^    "(.*?)"  # \S', body, re.MULTILINE)
    assert len(dates) == 20 and dates == sorted(dates)
    assert {"2026-03-08", "2027-03-26"} < set(dates)


def test_the_command_in_the_header_makes_the_same_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = written(capsys, "US-CA", "2027", "--name", "holidays of the west")
    assert 'days "holidays of the west" {\n' in text
    (command,) = re.findall(r"^#   (.*)$", text, re.MULTILINE)
    assert command == "schedappliance holidays US-CA 2027 --name 'holidays of the west'"
    assert written(capsys, "US-CA", "2027", "--name", "holidays of the west") == text


@pytest.mark.parametrize("language", ["de_DE.UTF-8", "uk"])
def test_the_language_of_the_user_changes_nothing(
    language: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE", language)
    assert "# Good Friday\n" in written(capsys, "DE", "2026")


@pytest.mark.parametrize("place", ["DE-BE", "US", "SA", "JP", "BR-SP", "IN"])
def test_lint_accepts_the_file(place: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "holidays.conf"
    path.write_text(written(capsys, place, NEXT_YEARS, "--name", 'a "quoted" name'))
    assert main(["lint", str(path)]) == OK
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_a_name_of_a_holiday_stays_in_its_comment() -> None:
    text = stanza("x", {date(2027, 2, 1): "second\nline", date(2027, 1, 1): "first"})
    assert text == 'days "x" {\n  dates = (\n    "2027-01-01"  # first\n    "2027-02-01"  # second\\u{a}line\n  )\n}\n'


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("Germany", "unknown country `Germany`; did you mean `DE`?"),
        ("germny", "unknown country `germny`; did you mean `DE`?"),
        ("UK", "unknown country `UK`; did you mean `GB`?"),
        ("DEU", "unknown country `DEU`; did you mean `DE`?"),
        ("de-be", "unknown country `de`; did you mean `DE-BE`?"),
        ("XX", "unknown country `XX`; give its two letters, such as `DE` for Germany"),
        ("", "unknown country ``; give its two letters, such as `DE` for Germany"),
        ("DE-Berlin", "`DE` has no part `Berlin`; did you mean `DE-BE`?"),
        ("DE-Bayrn", "`DE` has no part `Bayrn`; did you mean `DE-BY`?"),
        ("DE-be", "`DE` has no part `be`; did you mean `DE-BE`?"),
        ("GB-XX", "`GB` has no part `XX`; it has ENG, NIR, SCT, WLS"),
        ("SG-1", "`SG` has no part `1`; the library knows no parts of it; write `SG`"),
        ("DE\x1b", "unknown country `DE\\u{1b}`; did you mean `DE`?"),
    ],
)
def test_an_unknown_place_gets_a_suggestion(place: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["holidays", place, "2026"]) == FAILED
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {message}\n")


def test_a_year_without_data_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A stanza that ends early would let jobs run on holidays."""
    assert main(["holidays", "DE", "2099..2102"]) == FAILED
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"error: no holidays of `DE` in 2101; the library knows \d+ to 2100\n", err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DE", "26"], "invalid years `26`; write `2026` or `2026..2030`"),
        (["DE", "2026-2030"], "invalid years `2026-2030`; write `2026` or `2026..2030`"),
        (["DE", "2030..2026"], "the range `2030..2026` ends before it begins; write `2026..2030`"),
        (["DE", "1900..2100"], "the range `1900..2100` has more than 100 years; write several stanzas"),
        (["DE", "2026", "--name", ""], "invalid name; use 1 to 200 characters, no control characters"),
        (["DE", "2026", "--name", "a\nb"], "invalid name; use 1 to 200 characters, no control characters"),
        (["DE"], "the following arguments are required: YEARS"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["holidays", *arguments])
    assert end.value.code == USAGE
    assert capsys.readouterr().err.endswith(f"{message}\n")


def test_without_the_library_the_error_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    assert main(["holidays", "DE-BE", "2026"]) == UNUSABLE
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "error: the library holidays is not installed; install it: python -m pip install 'schedappliance[holidays]'\n",
    )


def test_no_other_subcommand_imports_the_library() -> None:
    script = (
        "import sys\nimport schedappliance.boot.appliance, schedappliance.lint.linter\nprint('holidays' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_document_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = [block for block in blocks((DOCS / "stanza-file.md").read_text(), "text") if "library holidays" in block]
    text = written(capsys, "DE-BE", "2027")
    text = re.sub(r"holidays \d+\.\d+\S*:", "holidays 0.109:", text)
    begin, _, end = shown.partition("    …\n")
    assert begin.count("\n") == 8 and text.startswith(begin) and text.endswith(end)
