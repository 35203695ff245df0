"""Doubts about patterns: those that match no command, match too much, or may take exponential time."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedappliance.model.loading import load
from schedappliance.model.patterns import Character, Group, Item, Repetition, parse
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
            r"\Arun hello\Z",
            "^run( --wait)? hello$",
            "^r",
            "(?i)^RUN hello",
            "^config set x 5$",
            "^config set x ",
            "^pid$",
        ),
        *('^run hello "a  b"$', "^config set program = timeout 5$", "^sched every 60 sched in 5 run x$", "(?=^run )"),
        *(
            "^run --wait hello$",
            r"^sched (in|at) \S+ run backup$",
            r"^sched (list|show|why|history)\b",
            "^[a-z]+ list$",
        ),
        *("^config set x 5=6", "^run a=b", "(?!.*secret)^run ", "^help"),
    ],
)
def test_a_good_pattern_of_a_role_is_not_reported(pattern: str) -> None:
    assert of_role(pattern) == []


SLOW = [
    *(
        "([a-z]+)*",
        "([a-z]*)+",
        "(a+)+",
        "(?:a+)*b",
        r"(\w+\s?)*",
        "((a+))*",
        "(a+b?)+",
        "(a*b*)*",
        r"(\w+\d)*",
        "(x|a+)*",
    ),
    *("([a-z]+)*?", "(.*,?)*", r"([^,]+|,)*", "(a{1,30}){1,30}", "(b(a+)*c)+", "(a|b|(c|d+))*"),
]
QUICK = [
    *(
        "([a-z]+,)*[a-z]+",
        r"[a-z]+(,[a-z]+)*",
        r"(\w+\s)*\w+",
        r"(\d{1,3}\.){3}\d{1,3}",
        "[a-z]+",
        ".*",
        "(ab)*",
        "(a|b)*",
    ),
    *(
        r"(\w{1,63}\.)*\w+",
        "(a+)?",
        "(a+){2}",
        "(?>a+)*",
        "(a++)*",
        "(a*+b)*",
        "([a-z]+-[0-9]+)*",
        "(--[a-z]+=[^ ]* ?)",
        "",
    ),
]


@pytest.mark.parametrize("pattern", SLOW + QUICK)
def test_an_exponential_pattern_is_reported(pattern: str) -> None:
    message = f"`{pattern}` may take exponential time: it repeats a repetition"
    assert of_argument(pattern) == ([("W413", message)] if pattern in SLOW else [])


@pytest.mark.parametrize(("pattern", "slow"), [("^run (a+)*$", True), ("^run (a+)* b", True), ("^run (a+)*", False)])
def test_a_repetition_at_the_end_of_a_searched_pattern_is_fast(pattern: str, slow: bool) -> None:
    assert [code for code, _ in of_role(pattern)] == (["W413"] if slow else [])


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
        "*+",
        "{2,}",
        "{1,3}",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?>",
        "|",
        r"\w",
    ),
    *(
        "[ab]",
        "[^a]",
        r"[\W\d]",
        r"\b",
        r"(?P<n>a)",
        "(?P=n)",
        "(?(1)a|b)",
        "run",
        "config set x =",
        "(?i:A)",
        "é",
        "()",
        r"\A",
    ),
]


def groups(item: Item) -> int:
    """How many groups of a tree capture text."""
    own = isinstance(item, Group) and (item.opening == "(" or item.opening.startswith("(?P<"))
    inner = item.branches if isinstance(item, Group) else ((item.item,),) if isinstance(item, Repetition) else ()
    return own + sum(groups(one) for sequence in inner for one in sequence)


REGEX_TEXT = st.text(st.sampled_from(r"ab01 ()[]{}|?*+^$\.,-:=!<>PiAWdxn#") | st.characters(), max_size=12)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | REGEX_TEXT)
def test_every_pattern_that_python_accepts_has_a_tree_with_its_groups(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pattern = re.compile(text)
        except (re.error, OverflowError, RecursionError):
            return
    tree = parse(pattern)
    assert tree is not None
    assert groups(tree) == pattern.groups


@pytest.mark.parametrize(
    ("pattern", "items"),
    [
        ("a|b", [["a"], ["b"]]),
        ("[]a][^]b]", [["[]a]", "[^]b]"]]),
        (r"\\1(a)\1\101\x41\.", [[r"\\", "1", r"\101", r"\x41", r"\."]]),
        ("{}{a{,2", [["{", "}", "{", "a", "{", ",", "2"]]),
        ("(?#note)(?x) a # b", [["a"]]),
    ],
)
def test_a_pattern_is_cut_into_expressions_for_one_character(pattern: str, items: list[list[str]]) -> None:
    tree = parse(re.compile(pattern.replace(r"\\1", r"\\1")))
    assert tree is not None
    assert [[item.text for item in branch if isinstance(item, Character)] for branch in tree.branches] == items


@pytest.mark.parametrize(
    ("text", "least", "most", "possessive"),
    [
        ("a*", 0, float("inf"), False),
        ("a+?", 1, float("inf"), False),
        ("a?+", 0, 1, True),
        ("a{3}", 3, 3, False),
        ("a{2,}", 2, float("inf"), False),
        ("a{,4}", 0, 4, False),
        ("a{,}+", 0, float("inf"), True),
    ],
)
def test_a_repetition_has_limits(text: str, least: int, most: float, possessive: bool) -> None:
    tree = parse(re.compile(text))
    assert tree == Group("(?:", ((Repetition(Character("a", 0), least, most, possessive),),))


@pytest.mark.parametrize("pattern", ["^run (?i:HELLO)$", "(?i:^RUN )", "^(?-i:run) "])
def test_flags_of_a_group_count_inside_it(pattern: str) -> None:
    assert of_role(pattern) == []


@pytest.mark.parametrize("depth", [50, 100, 150, 200, 250, 300, 350, 400])
def test_a_pattern_of_any_depth_is_accepted(depth: int) -> None:
    """Python rejects it, or it is checked as far as possible."""
    pattern = "^run " + "(" * depth + "a" + ")" * depth
    assert {code for code, _ in of_role(pattern)} <= {"E203"}


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_every_pattern_that_python_accepts_can_be_checked(pattern: str) -> None:
    assert {code for code, _ in [*of_role(pattern), *of_argument(pattern)]} <= {"E203", "W411", "W412", "W413"}


def test_a_comment_ignores_a_doubt(tmp_path: Path) -> None:
    (tmp_path / "sched.conf").write_text(
        'Authorization { Role "r" {\n  allow = ( "run x" )  # lint: ignore[W412] wherever it stands\n  users = ( "0" ) } }\n'
    )
    assert load(tmp_path / "sched.conf").shown() == []
