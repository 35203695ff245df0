"""`schedappliance when`: the meaning of an expression, its due times, the view of a year, and the exit statuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedappliance.cli.errors import FAILED, OK, USAGE
from schedappliance.cli.main import main

BERLIN = ("--zone", "Europe/Berlin")


def test_the_table_has_normal_form_words_and_due_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "30 2 * * *", *BERLIN, "--from", "2027-03-27", "--next", "2"]) == OK
    out, err = capsys.readouterr()
    assert out == (
        "normal  30 2 * * *\n"
        "words   at 02:30, every day, Europe/Berlin\n"
        "clock   a time that the clock skips is due at the first instant after the gap; a repeated time counts the first time\n"
        "next    Sat 2027-03-27T02:30:00+01:00\n"
        "        Sun 2027-03-28T03:00:00+02:00  the clock skips 02:30\n"
    )
    assert err == ""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["when", *arguments, "--format", "json"]) == OK
    return dict(json.loads(capsys.readouterr().out))


def test_json_has_the_due_times_in_utc_and_in_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    content = shown(capsys, "*/30 * * * *", *BERLIN, "--from", "2027-10-31T00:45:00Z", "--next", "2")
    assert content == {
        "expression": "*/30 * * * *",
        "normal": "*/30 * * * *",
        "words": "every 30 minutes, Europe/Berlin",
        "zone": "Europe/Berlin",
        "next": [
            {"due": "2027-10-31T01:00:00Z", "due_ms": 1824944400000, "note": "the second 02:00 of this day"},
            {"due": "2027-10-31T01:30:00Z", "due_ms": 1824946200000, "note": "the second 02:30 of this day"},
        ],
    }


@pytest.mark.parametrize(
    ("expression", "normal"),
    [("Mon..Fri 07:00 Asia/Tokyo", "Mon..Fri *-*-* 07:00:00"), ("TZ=Asia/Tokyo @daily", "0 0 * * *")],
)
def test_a_zone_inside_the_expression_wins(expression: str, normal: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = shown(capsys, expression, *BERLIN, "--from", "2027-01-01", "--next", "1")
    assert (content["normal"], content["zone"]) == (normal, "Asia/Tokyo")
    assert content["next"][0]["due"].endswith(("T22:00:00Z", "T15:00:00Z"))


def test_the_zone_of_the_machine_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    content = shown(capsys, "12:00", "--from", "2027-01-01T00:00:00", "--next", "1")
    assert (content["zone"], content["next"][0]["due"]) == ("America/New_York", "2027-01-01T17:00:00Z")


def test_a_year_has_twelve_months_with_due_days_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "Fri *-*-8..14 10:00 UTC", "--year", "2027", "--next", "0"]) == OK
    out = capsys.readouterr().out
    assert "2027: due on 12 days\n" in out
    assert "11 12 13 14 15 16 17   15 16 17 18 19 20 21   15 16 17 18 19 20 21\n" in out
    assert " 4  5  6  7  8* 9 10    8  9 10 11 12*13 14    8  9 10 11 12*13 14\n" in out
    assert out.count("*") == 12 + len("*-*-") - 2
    assert max(map(len, out.splitlines())) < 80


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Pacific/Apia", "UTC"])
def test_a_year_counts_local_days(zone: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = shown(capsys, "*/10 * * * *", "--zone", zone, "--year", "2028", "--next", "0")
    assert len(content["days"]) == 366
    assert (content["days"][0], content["days"][-1]) == ("2028-01-01", "2028-12-31")
    assert shown(capsys, "0 0 1 1 *", "--zone", zone, "--year", "2028")["days"] == ["2028-01-01"]


def test_a_note_has_the_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "15 30 2 * * *", *BERLIN, "--from", "2027-03-28", "--next", "1"]) == OK
    assert "the clock skips 02:30:15\n" in capsys.readouterr().out


def test_nothing_is_due_on_the_last_day_of_9999(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "30 2 * * *", *BERLIN, "--from", "9999-12-31"]) == OK
    assert capsys.readouterr().out.endswith("next    never\nlast    Thu 9999-12-30T02:30:00+01:00\n")


def test_an_expression_of_the_past_is_shown_with_its_last_due_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "2020-01-01 UTC"]) == OK
    out, err = capsys.readouterr()
    assert out.endswith("next    never\nlast    Wed 2020-01-01T00:00:00+00:00\n")
    assert err.startswith("warning[W423]: it is not due any more: its last due time was 2020-01-01T00:00:00+00:00\n")
    content = shown(capsys, "2020-01-01 UTC")
    assert (content["next"], content["last"]["due"]) == ([], "2020-01-01T00:00:00Z")


def test_what_was_planned_may_be_over(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "2026..2027-01-01 UTC", "--from", "2026-06-01"]) == OK
    assert capsys.readouterr().out.endswith("next    Fri 2027-01-01T00:00:00+00:00\n        nothing more is planned\n")


def test_doubts_are_warnings_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "0 9 1 * MON", "--zone", "UTC"]) == OK
    assert capsys.readouterr().err.startswith("warning[W414]: one of the two day fields is enough: on the 1st and on")


def test_values_that_depend_on_the_job_are_said_to_be_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "~ 2 * * *", "--zone", "UTC"]) == OK
    assert capsys.readouterr().err == "note: `~` picks values that depend on the job; these are an example\n"


@settings(max_examples=60)
@given(
    st.one_of(
        st.text(), st.text().map("TZ={} 0 0 * * *".format), st.text("../aZ_+", min_size=1).map("12:00 a{}".format)
    )
)
def test_every_text_is_shown_or_is_an_error(text: str) -> None:
    assert main(["when", f" {text}", "--next", "1", "--zone", "UTC"]) in (OK, FAILED)


def test_an_invalid_expression_is_shown_with_its_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "0 24 * * *"]) == FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error[E212]: hour 24 is out of range\n   --> <expression>:1:3\n    |\n  1 | 0 24 * * *\n    |   ^^\n"
        "  help: give 0 to 23\n"
    )


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["12:00", "--zone", "Europe/Berln"], "error[E213]: unknown time zone `Europe/Berln`\n   --> --zone:1:1\n"),
        (["12:00 Mars/Base"], "error[E213]: unknown time zone `Mars/Base`\n   --> <expression>:1:7\n"),
        (["TZ=Mars/Base @daily"], "error[E213]: unknown time zone `Mars/Base`\n   --> <expression>:1:4\n"),
        (["0 0 30 2 *", "--zone", "UTC"], "error[E214]: never due: no February has such a day\n"),
    ],
)
def test_an_unknown_zone_and_what_is_never_due_are_errors(
    arguments: list[str], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["when", *arguments]) == FAILED
    assert capsys.readouterr().err.startswith(start)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["30", "2", "*", "*", "*"], "error: 5 arguments in place of one expression; put it in quotes\n"),
        (["12:00", "--from", "soon", "--zone", "UTC"], "error: --from: invalid time `soon`; "),
    ],
)
def test_wrong_usage_says_what_to_do(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", *arguments]) == USAGE
    assert capsys.readouterr().err.startswith(error)


@pytest.mark.parametrize(
    "arguments",
    [["12:00", "--year", "27"], ["12:00", "--next", "-1"], ["12:00", "--next", "1001"], []],
)
def test_wrong_arguments_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["when", *arguments])
    assert end.value.code == USAGE
    assert capsys.readouterr().err.startswith("usage: schedappliance when")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 * *", "a cron expression has 5, 6 or 7 fields, not 4"),
        ("30 2 MON-FRI", "a cron expression has 5, 6 or 7 fields, not 3"),
        ("2026-11-29 10:00:00Z", "help: write ` UTC` in place of `Z`"),
    ],
)
def test_a_near_miss_has_a_remedy(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", text]) == FAILED
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York", "Pacific/Kiritimati"])
def test_the_last_days_of_9999_are_shown(zone: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["when", "0 * * * *", "--zone", zone, "--from", "9999-12-29T00:00", "--next", "100"]) == OK
    assert capsys.readouterr().out.endswith("nothing more is planned\n")
