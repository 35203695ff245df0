"""Patterns: they take linear time, and those that match no command or too much are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedappliance.model.loading import load
from schedappliance.model.patterns import Character, Group, Repetition, compile_pattern, parse
from tests.support.memory_files import ROOT, held


def doubts(text: str) -> list[tuple[str, str]]:
    return [(d.code, d.message) for d in load(ROOT, held({ROOT.name: text})).diagnostics]


def of_role(pattern: str) -> list[tuple[str, str]]:
    return doubts(f'Authorization {{ Role "r" {{ allow = ( \'{pattern}\' )  users = ( "0" ) }} }}\n')


def of_argument(pattern: str) -> list[tuple[str, str]]:
    return doubts(f'program "p" {{ argv = ( "/bin/echo" )  args = ( \'{pattern}\' ) }}\n')


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("^RUN hello", "canonical lines have commands in lower case"),
        ("RUN hello", "canonical lines have commands in lower case"),
        ("^Sched list$", "canonical lines have commands in lower case"),
        ("^json ", "canonical lines have no `json`"),
        ("^json sched list$", "canonical lines have no `json`"),
        ("json sched list", "canonical lines have no `json`"),
        ("config set x = 5", "canonical lines have no `=` after an option"),
        ("^config set x=5$", "canonical lines have no `=` after an option"),
        ("^config set program hello timeout = ", "canonical lines have no `=` after an option"),
        ("^config set sched history = ", "canonical lines have no `=` after an option"),
        ("^run  hello", "canonical lines have single blanks between words"),
        ("^run hello  now$", "canonical lines have single blanks between words"),
        ("^ run hello", "no canonical line begins with ` run hello`"),
        ("^shed list$", "no canonical line begins with `shed list`"),
        ("^sched lists$", "no canonical line begins with `sched lists`"),
    ],
)
def test_a_pattern_that_matches_no_command_is_reported(pattern: str, why: str) -> None:
    assert of_role(pattern) == [("W411", f"`{pattern}` matches no command: {why}")]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "matches every command"),
        ("^", "matches every command"),
        ("x*", "matches every command"),
        ("[a-z]", "matches every command"),
        ("run hello", "may match anywhere in a line, even in an argument"),
        ("list$", "may match anywhere in a line, even in an argument"),
        ("^run hello$|run bye$", "may match anywhere in a line, even in an argument"),
        ("(run|sched) hello", "may match anywhere in a line, even in an argument"),
    ],
)
def test_a_pattern_that_allows_more_than_it_seems_is_reported(pattern: str, why: str) -> None:
    assert of_role(pattern) == [("W412", f"`{pattern}` {why}")]


@pytest.mark.parametrize(
    "pattern",
    [
        *(".", ".*", "^.*$", ".*list$", "^sched ", "^sched (list|show)$", "(^run |^sched )", "^(run|sched) ", "^run"),
        *(
            r"\Arun hello\z",
            "^run( --wait)? hello$",
            "^r",
            "(?i)^RUN hello",
            "^config set x 5$",
            "^config set x ",
            "^pid$",
        ),
        *('^run hello "a  b"$', "^config set program = timeout 5$", "^sched every 60 sched in 5 run x$"),
        *(
            "^run --wait hello$",
            r"^sched (in|at) \S+ run backup$",
            r"^sched (list|show|why|history)\b",
            "^[a-z]+ list$",
        ),
        *("^config set x 5=6", "^run a=b", "^help", r"^\Qrun a.b\E$", "^run [[:alpha:]]+$", r"^run \pL+$"),
    ],
)
def test_a_good_pattern_of_a_role_is_not_reported(pattern: str) -> None:
    assert of_role(pattern) == []


EXPONENTIAL = ["(a+)+$", "([a-z]+)*1", "(a|a)*b", "(a|aa)+$", "(.*,?)*x", "(a{1,30}){1,30}b", "(x+x+)+y"]


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_a_pattern_takes_linear_time(pattern: str) -> None:
    """With backtracking, each of them would take years."""
    compiled = compile_pattern(pattern)
    text = "a" * 5000 + "!"
    assert not compiled.matches(text)
    assert not compiled.is_in(text)


@pytest.mark.parametrize(
    "pattern", ["(?=^run )", "(?!x)", "(?<=a)b", r"(a)\1", "(?>a)", "a++", r"a\Z", "a{1001}", "(?x) a"]
)
def test_a_pattern_that_needs_backtracking_is_rejected(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    ((code, message),) = of_argument(pattern)
    assert code == "E203"
    assert message.startswith(f"invalid regular expression `{pattern}`: ")
    assert capfd.readouterr().err == ""


def test_patterns_with_the_same_text_are_equal() -> None:
    assert compile_pattern("a+") == compile_pattern("a+") != compile_pattern("a")


PIECES = [
    *(
        "a",
        "b",
        " ",
        ".",
        "^",
        "$",
        "*",
        "+",
        "?",
        "{2,}",
        "{1,3}",
        "{,2}",
        "(",
        ")",
        "(?:",
        "|",
        r"\w",
        "[ab]",
        "[^a]",
    ),
    *(r"[\W\d]", r"\b", "(?P<n>a)", "run", "config set x =", "(?i:A)", "(?i)", "(?s-i)", "é", "()", r"\A", r"\z"),
    *("[[:alpha:]]", r"\pN", r"\p{Greek}", r"\Q(a\E", r"\x{41}", r"\101", "(?U)"),
]


REGEX_TEXT = st.text(st.sampled_from(r"ab01 ()[]{}|?*+^$\.,-:=!<>PiAWdxn#") | st.characters(), max_size=12)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | REGEX_TEXT)
def test_every_pattern_has_a_tree(text: str) -> None:
    try:
        compile_pattern(text)
    except ValueError:
        return
    assert parse(text) is not None


@pytest.mark.parametrize(
    ("pattern", "items"),
    [
        ("a|b", [["a"], ["b"]]),
        ("[]a][^]b]", [["[]a]", "[^]b]"]]),
        (r"\\1(a)\101\x41\x{42}\.", [[r"\\", "1", r"\101", r"\x41", r"\x{42}", r"\."]]),
        ("{}{a{,2}", [["{", "}", "{", "a", "{", ",", "2", "}"]]),
        (r"\Qa.\Eb", [["a", r"\.", "b"]]),
        (r"[[:alpha:]x]\pN\p{Greek}", [["[[:alpha:]x]", r"\pN", r"\p{Greek}"]]),
    ],
)
def test_a_pattern_is_cut_into_expressions_for_one_character(pattern: str, items: list[list[str]]) -> None:
    tree = parse(pattern)
    assert tree is not None
    assert [[item.text for item in branch if isinstance(item, Character)] for branch in tree.branches] == items


@pytest.mark.parametrize("text", ["a*", "a+?", "a??", "a{3}", "a{2,}", "a{2,3}?"])
def test_a_repetition_follows_its_item(text: str) -> None:
    assert parse(text) == Group(((Repetition(Character("a", "")),),))


@pytest.mark.parametrize("pattern", ["^run (?i:HELLO)$", "(?i:^RUN )", "^(?-i:run) ", "(?i)^RUN "])
def test_flags_of_a_group_count_inside_it(pattern: str) -> None:
    assert of_role(pattern) == []


@pytest.mark.parametrize("depth", [50, 100, 150, 200, 250, 300, 350, 400])
def test_a_pattern_of_any_depth_is_accepted(depth: int) -> None:
    """RE2 rejects it, or it is checked as far as possible."""
    pattern = "^run " + "(" * depth + "a" + ")" * depth
    assert {code for code, _ in of_role(pattern)} <= {"E203"}


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_every_pattern_can_be_checked(pattern: str) -> None:
    assert {code for code, _ in [*of_role(pattern), *of_argument(pattern)]} <= {"E203", "W411", "W412"}


def test_a_comment_ignores_a_doubt(tmp_path: Path) -> None:
    (tmp_path / "sched.conf").write_text(
        'Authorization { Role "r" {\n  allow = ( "run x" )  # lint: ignore[W412] wherever it stands\n  users = ( "0" ) } }\n'
    )
    assert load(tmp_path / "sched.conf").shown() == []
