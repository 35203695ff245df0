"""The lines that the client makes: no argument of a caller becomes a part of another command."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.client import questions
from schedappliance.client.answers import NewJob, NewRun
from schedappliance.client.errors import Error, NotAuthorized, Rejected, TimedOut, Unavailable
from schedappliance.client.wire import joined_as_is
from schedappliance.diagnostics import Source, command_diagnostic
from schedappliance.edge.console.protocol import Request, response
from schedappliance.engine.effects import rejection
from schedappliance.model.command_file import command_lines, token_of
from schedappliance.model.listings import read_listing
from schedappliance.syntax.command import parse_command


def test_the_places_of_mistakes_in_files_stay() -> None:
    mistake = {"file": "sched.conf", "line": 1, "column": 9, "end_line": 1, "end_column": 12}
    assert questions.without_prefix({"ok": False, "diagnostics": [mistake]})["diagnostics"] == [mistake]
    of_command = {**mistake, "file": "<command>"}
    moved = {**of_command, "column": 4, "end_column": 7}
    assert questions.without_prefix({"ok": False, "diagnostics": [of_command]})["diagnostics"] == [moved]
    assert questions.without_prefix({"ok": True, "data": 1}) == {"ok": True, "data": 1}


# Control characters are no part of any command: the appliance rejects them.
hostile = st.sampled_from(
    [
        "",
        "--wait",
        "json",
        "run",
        '"',
        "'",
        "\\",
        '\\"',
        "a b",
        "#",
        "timeout",
        "--all",
        "; shutdown",
        "\u2026",
        "before",
    ]
)
words = st.one_of(
    hostile, st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), include_characters="\t"), max_size=8)
)


@given(words, st.lists(words, max_size=4))
def test_the_words_of_run_are_those_of_the_caller(program: str, arguments: list[str]) -> None:
    tree = parse_command(questions.run(program, arguments).line)
    assert (tree.form, [word.value for word in tree.words]) == ("run", [program, *arguments])


@given(words, st.lists(words, min_size=1, max_size=4), st.sampled_from(["every", "in", "cron", "calendar"]))
def test_a_command_within_a_command_keeps_its_words(when: str, arguments: list[str], form: str) -> None:
    tree = parse_command(questions.schedule(form, when, ["run", *arguments]).line)
    assert (tree.form, tree.words[0].value) == (f"sched_{form}", when)
    assert tree.inner is not None and [word.value for word in tree.inner.words] == arguments


@given(words)
def test_every_other_argument_is_one_word(text: str) -> None:
    for question in (questions.pause(text), questions.delete(text), questions.stop(text), questions.wait(text, None)):
        assert [word.value for word in parse_command(question.line).words] == [text]
    pages = questions.history(text, None, None, None, 5)
    assert pages.question is not None
    listing = read_listing("sched_history", parse_command(pages.question.line).words)
    assert (listing.key, listing.limit) == (text, 5)
    listed = questions.jobs(text, None)
    assert listed.question is not None
    assert read_listing("sched_list", parse_command(listed.question.line).words).find == text


def test_the_option_of_all_jobs_is_a_name() -> None:
    """`pause("--all")` paused all jobs, while the page and the API quoted the name."""
    lines = [question("--all").line for question in (questions.pause, questions.resume)]
    assert lines == ['sched pause "--all"', 'sched resume "--all"']


@given(st.lists(st.lists(words | st.text(max_size=5), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_drop_holds_as_many_commands_as_were_given(lines: list[list[str]]) -> None:
    commands = [["run", *arguments] for arguments in lines]
    try:
        text = questions.drop_text(commands, "a-token").decode()
    except ValueError:
        assert any(end in word for arguments in lines for word in arguments for end in "\n\r\0")
        return
    assert text.split("\n") == ["#id: a-token", *map(joined_as_is, commands), ""]
    assert token_of(Source("x", text)) == "a-token"
    assert len(list(command_lines(Source("x", text)))) == len(commands)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("E301", Rejected), ("E512", NotAuthorized), ("E514", TimedOut), ("E505", Unavailable)],
)
def test_the_code_of_a_diagnostic_decides_the_class_of_the_error(code: str, kind: type[Error]) -> None:
    rejected = rejection([command_diagnostic(code, "a reason", "a remedy", "run x")])
    (line,) = response(Request("run x", True, 1), rejected, False)
    error = questions.error_in(json.loads(line))
    assert type(error) is kind and str(error).startswith("a reason")
    if isinstance(error, Rejected):
        assert [diagnostic.help for diagnostic in error.diagnostics] == ["a remedy"]


def test_times() -> None:
    assert questions.span_text(timedelta(milliseconds=1500)) == questions.span_text(1.5) == "1.500"
    assert questions.span_text("15m") == "15m"
    assert questions.past_text(timedelta(minutes=1, milliseconds=1)) == "61s"
    assert questions.instant_text(datetime(2026, 11, 29, 8, tzinfo=UTC)) == "2026-11-29T08:00:00.000+00:00"
    for span in (-1, timedelta(seconds=-1), float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"invalid time span .* finite number of seconds, 0 or more"):
            questions.span_text(span)
    with pytest.raises(ValueError, match="has no time of day"):
        questions.instant_text(date(2026, 11, 29))  # type: ignore[arg-type]


def test_a_value_that_names_a_job_names_no_run() -> None:
    job, run = NewJob("n-000000001", 0), NewRun("n-000000001/1")
    assert (questions.job_word(job), questions.run_word(run)) == ("n-000000001", "n-000000001/1")
    with pytest.raises(ValueError, match=r"^NewJob\(.*\) is not a run; give an id, or a value with `run`$"):
        questions.wait(job, None)  # type: ignore[arg-type]
    wrong: Any = run
    for question in (questions.job, questions.why, questions.run_now, questions.pause, questions.delete):
        with pytest.raises(ValueError, match=r"^NewRun\(.*\) is not a job; give an id, or a value with `id`$"):
            question(wrong)
