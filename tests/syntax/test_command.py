"""Console lines: what each form of command takes, how words are quoted, and which diagnostic an invalid line gets."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.client.wire import quoted as quote
from schedappliance.syntax.command import MAX_NESTING, CommandError, CommandTree, first_words, keywords, parse_command
from tests.support.diagnostics import pointed


def parsed(line: str) -> CommandTree:
    return parse_command(line)


@pytest.mark.parametrize(
    ("line", "form", "words"),
    [
        ("sched list", "sched_list", []),
        ("sched delete example.com-000000001", "sched_delete", ["example.com-000000001"]),
        ("sched history", "sched_history", []),
        ("sched history x-1", "sched_history", ["x-1"]),
        ("run backup", "run", ["backup"]),
        ("run backup a 'b c' d", "run", ["backup", "a", "b c", "d"]),
        ("run --wait backup", "run_wait", ["backup"]),
        ("run\t--wait backup a --wait", "run_wait", ["backup", "a", "--wait"]),
        ("run --wait --wait", "run_wait", ["--wait"]),
        ("run '--wait' a", "run", ["--wait", "a"]),
        ('run --wa"it"', "run", ["--wait"]),
        ("run backup --wait", "run", ["backup", "--wait"]),
        ("run --waiting", "run", ["--waiting"]),
        ("run --WAIT backup", "run", ["--WAIT", "backup"]),
        ("config get message_expiration", "config_get", ["message_expiration"]),
        ("config set a = 5", "config_set", ["a", "=", "5"]),
        ("config reload", "config_reload", []),
        ("help", "help", []),
        ("help sched at", "help", ["sched", "at"]),
        ("version", "version", []),
        ("pid", "pid", []),
        ("summary", "summary", []),
        ("summary reset", "summary_reset", []),
        ("shutdown", "shutdown", []),
        ("shutdown --keep", "shutdown", ["--keep"]),
        ("quit", "quit", []),
        ("  SCHED\t LiSt \t", "sched_list", []),
    ],
)
def test_each_form_is_recognized_in_any_case_and_spacing(line: str, form: str, words: list[str]) -> None:
    tree = parsed(line)
    assert (tree.form, [word.value for word in tree.words], tree.inner) == (form, words, None)
    assert tree.text == line.strip()


@pytest.mark.parametrize(
    "opening",
    [
        "sched at 1795370460",
        "sched in 5",
        "sched every 15m",
        'sched cron "30 2 * * *"',
        "sched at tomorrow 08:00",
        "sched at 0800 tomorrow",
        "sched at 8:30 pm Europe/Berlin",
        "sched at noon 2026-12-24",
        "sched at tomorrow utc",
        "json",
    ],
)
def test_a_command_holds_the_rest_of_the_line_as_a_command(opening: str) -> None:
    tree = parsed(f"{opening}   run  'a  b'  c ")
    assert tree.inner is not None
    assert (tree.inner.form, tree.inner.text) == ("run", "run  'a  b'  c")
    assert tree.text == f"{opening}   run  'a  b'  c"


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("plain", "plain"),
        ('"two words"', "two words"),
        ("'two words'", "two words"),
        (r'"a \" b \\ c"', 'a " b \\ c'),
        (r"'a \" b \\ c'", r"a \" b \\ c"),
        (r'"\n \t"', r"\n \t"),
        (r"a\b", r"a\b"),
        ("""a"b c"'d e'f""", "ab cd ef"),
        ('""', ""),
        ("''", ""),
        ("$HOME;`x`|*>y", "$HOME;`x`|*>y"),
        ("a\u00a0b", "a\u00a0b"),
        ("#no-comment", "#no-comment"),
        ("ünï✓", "ünï✓"),
    ],
)
def test_words_are_quoted_as_in_a_shell_and_nothing_is_expanded(typed: str, word: str) -> None:
    tree = parsed(f"run p {typed} end")
    assert [w.value for w in tree.words] == ["p", word, "end"]
    span = tree.words[1].span
    assert f"run p {typed} end"[span.start : span.end] == typed


lines = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]))


@given(lines)
def test_a_quoted_word_means_itself(word: str) -> None:
    assert [w.value for w in parsed(f"run p {quote(word)}").words] == ["p", word]


@given(
    st.sampled_from(["sched in 5", "sched at 7", "sched every 1d", "json", "sched in 1 json sched at 5"]),
    st.lists(lines.map(quote), max_size=4),
    st.sampled_from([" ", "  ", "\t", " \t "]),
)
def test_the_text_of_the_scheduled_command_is_unchanged(opening: str, words: list[str], blank: str) -> None:
    command = blank.join(["run", "p", *words])
    *_, innermost = parsed(f"{blank}{opening}{blank}{command}{blank}").nest()
    assert innermost.text == command


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        ("", "E109", ""),
        (" \t ", "E109", ""),
        ("sched", "E109", ""),
        ("sched in", "E109", ""),
        ("sched in 5", "E109", ""),
        ("sched in 5 sched", "E109", ""),
        ("run", "E109", ""),
        ("run --wait", "E109", ""),
        ("json", "E109", ""),
        ("config set", "E109", ""),
        ("frobnicate", "E110", "frobnicate"),
        ("/usr/bin/true", "E110", "/usr/bin/true"),
        ("sched lst", "E110", "lst"),
        ("sched in 5 frobnicate x", "E110", "frobnicate"),
        ("ſched list", "E110", "ſched"),
        ("sched\u00a0list", "E110", "sched\u00a0list"),
        ("schedlist", "E110", "schedlist"),
        ("# a comment", "E110", "#"),
        ("pid now", "E101", "now"),
        ("sched delete a b", "E101", "b"),
        ('run p "open', "E103", '"'),
        ("run p 'open", "E103", "'"),
        ('run p a"open', "E103", '"'),
        ('run p "a\\"', "E103", '"'),
        ("run p \x07", "E106", "\x07"),
        ("run p\nrun q", "E106", "\n"),
        ("run p \u2028", "E106", "\u2028"),
        ("run \x00", "E106", "\x00"),
        ('"frobnicate"', "E110", '"frobnicate"'),
        ('sched "lst"', "E110", '"lst"'),
        ("sched in 5 'run' p", "E110", "'run'"),
        ("pid 'now'", "E101", "'now'"),
    ],
)
def test_a_diagnostic_points_at_the_fault(line: str, code: str, place: str) -> None:
    with pytest.raises(CommandError) as raised:
        parsed(line)
    diagnostic = raised.value.diagnostic
    assert (diagnostic.code, pointed(diagnostic)) == (code, place)
    assert diagnostic.message and diagnostic.help


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("shced list", "did you mean `sched`?"),
        ("sched evry 5 pid", "did you mean `every`?"),
        ("sched in 5 shutdwon", "did you mean `shutdown`?"),
        ("config rset", "did you mean `set`?"),
        (
            "sched",
            "add one of: ack, at, calendar, cron, delete, every, history, hold, in, incidents, list, next, output, pause, release,"
            " resume, run, show, stop, wait, why",
        ),
        (
            "sched in 5 /usr/bin/true",
            'declare a program, and `run` it by its name; a job may have `argv = ( "/usr/bin/true" )` instead',
        ),
        ("summary xyzzy", "expected one of: reset"),
        ("run", "`help` shows the usage"),
        ("run --wait", "`help` shows the usage"),
    ],
)
def test_the_remedy_names_what_the_grammar_expects(line: str, remedy: str) -> None:
    with pytest.raises(CommandError) as raised:
        parsed(line)
    assert raised.value.diagnostic.help == remedy


def test_nesting_is_bounded() -> None:
    assert len(list(parsed("sched in 5 " * MAX_NESTING + "pid").nest())) == MAX_NESTING + 1
    with pytest.raises(CommandError) as raised:
        parsed("sched in 5 " * (MAX_NESTING + 1) + "pid")
    assert raised.value.diagnostic.code == "E108"
    with pytest.raises(CommandError):
        parsed("json " * 10_000 + "pid")


def test_the_first_words_are_the_keywords_that_begin_commands() -> None:
    assert first_words() < keywords()
    assert {"sched", "run", "config", "json"} <= first_words()
    assert not {"at", "reset", "word", "rest"} & first_words()


starts = ["", "sched in 5 ", "run ", "config set ", "json ", "sched ", "sched every 1 sched at "]


@given(
    st.sampled_from(starts),
    st.text() | st.lists(st.sampled_from([*list("\"'\\ \ta=5"), " run ", "sched "])).map("".join),
)
def test_any_text_is_a_command_or_a_command_error(start: str, text: str) -> None:
    try:
        tree = parsed(start + text)
    except CommandError as error:
        span = error.diagnostic.span
        assert span is not None and 0 <= span.start <= span.end <= len(start + text)
        assert error.diagnostic.help
    else:
        assert tree.text == (start + text).strip(" \t")


@given(st.text(st.characters(codec=None, categories=["Cs", "L"]), min_size=1))
def test_a_command_never_contains_a_surrogate(text: str) -> None:
    surrogates = any("\ud800" <= character <= "\udfff" for character in text)
    try:
        parsed(f"run {text}")
    except CommandError as error:
        assert surrogates and error.diagnostic.code == "E106"
    else:
        assert not surrogates


@pytest.mark.parametrize(
    "word", ["a" * 60_000, f'"{"a" * 60_000}"', '"' + "\\n" * 30_000 + '"', "'" + "a" * 60_000 + "'"]
)
def test_a_long_word_takes_little_memory(word: str) -> None:
    """A pattern that could go back at each character kept 1.5 KB for each, and 130 ms for the line."""
    parse_command("sched in 1h run hello a")
    tracemalloc.start()
    try:
        parse_command(f"sched in 1h run hello {word}")
        assert tracemalloc.get_traced_memory()[1] < 20 * len(word)
    finally:
        tracemalloc.stop()
