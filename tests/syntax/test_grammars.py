"""The grammars: no two terminals collide, and every keyword of the command language stays usable as an ordinary word."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from lark import Lark, Token

from schedappliance.model.closure import read_closure
from schedappliance.model.configuration import Configuration
from schedappliance.model.options import STANZA_OF
from schedappliance.model.stanzas import read_configuration
from schedappliance.syntax.command import CommandTree, keywords, parse_command
from schedappliance.syntax.grammars import build_parser, grammar_directory
from tests.support.memory_files import ROOT, held

CATCH_ALL = {"WORD", "WORDS", "REST"}
KEYWORDS = sorted(keywords())


def _parsed(line: str) -> CommandTree:
    return parse_command(line)


def _states(parser: Lark) -> list[set[str]]:
    """What each state of the parser accepts, for the states in which the lexer looks for a token."""
    states: dict[int, set[str]] = {}
    waiting: list[Any] = [parser.parse_interactive("")]
    while waiting:
        current = waiting.pop()
        choices = current.choices()
        if id(choices) in states:
            continue
        states[id(choices)] = {name for name in choices if name.isupper()}
        for name in current.accepts() - {"$END"}:
            following = current.copy(deepcopy_values=False)
            following.feed_token(Token(name, "x"))
            waiting.append(following)
    return list(states.values())


def _ambiguous_states(parser: Lark) -> list[tuple[list[str], list[str]]]:
    """The states of the parser that accept a keyword where they accept any word."""
    known = {terminal.name for terminal in parser.terminals if terminal.priority == 2}
    return [
        (sorted(state & known), sorted(state & CATCH_ALL))
        for state in _states(parser)
        if state & known and state & CATCH_ALL
    ]


# A new process, since tests/conftest.py hides the library of this proof.
PROOF = """
from lark import Lark
from lark.exceptions import LarkError
from schedappliance.syntax.grammars import build_parser

for name, start in {starts}.items():
    build_parser(name, None, start=start, strict=True)
try:
    Lark("start: A | B\\nA: /a+/\\nB: /[ab]+/\\n", parser="lalr", strict=True)
except LarkError:
    print("collision")
"""
STARTS = {"stanza": ["start"], "command": ["start"], "cron": ["start"], "calendar": ["expression", "window", "dates"]}


def test_no_two_terminals_of_a_grammar_collide() -> None:
    """The script also gives the proof a grammar whose terminals do collide."""
    done = subprocess.run(
        [sys.executable, "-c", PROOF.format(starts=STARTS)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("collision\n", 0), done.stderr


def test_no_state_of_the_command_parser_accepts_a_keyword_and_any_word() -> None:
    parser = build_parser("command", None)
    assert {terminal.name for terminal in parser.terminals} >= CATCH_ALL
    assert len(_states(parser)) > len(KEYWORDS)
    assert _ambiguous_states(parser) == []


def test_the_scan_finds_a_keyword_beside_any_word() -> None:
    grammar = 'start: RUN (WORD | AT)\nRUN.2: "run"\nAT.2: "at"\nWORD: /[a-z]+/\n%ignore " "\n'
    assert _ambiguous_states(Lark(grammar, parser="lalr")) == [(["AT"], ["WORD"])]


def test_every_terminal_of_the_command_grammar_is_known_to_the_tests() -> None:
    others = {t.name.lower() for t in build_parser("command", None).terminals} - keywords()
    assert others == {"word", "words", "rest", "blank", "waiting", "moment"}


def test_an_option_competes_with_ordinary_words_in_one_place_only() -> None:
    """There a name that looks like the option must be quoted. Everywhere else it is an ordinary word."""
    states = _states(build_parser("command", None))
    accepting = [state & {*CATCH_ALL, "WAITING"} for state in states if "WAITING" in state]
    assert accepting == [{"WORDS", "WAITING"}]
    assert _parsed('run "--wait"').form == "run"
    for opening in ("help", "config get", "sched delete", "run p", "run --wait p"):
        assert _parsed(f"{opening} --wait").words[-1].value == "--wait"


def test_a_moment_competes_with_ordinary_words_in_one_place_only() -> None:
    states = _states(build_parser("command", None))
    accepting = [state & {*CATCH_ALL, "MOMENT"} for state in states if "MOMENT" in state]
    assert accepting == [{"WORD", "MOMENT"}]


def _read(text: str) -> Configuration:
    closure = read_closure(ROOT, held({"sched.conf": text}))
    configuration, mistakes = read_configuration(closure)
    assert [d.brief() for d in (*closure.diagnostics, *mistakes)] == []
    return configuration


@pytest.mark.parametrize("keyword", sorted(set(KEYWORDS) - STANZA_OF.keys()))
def test_every_keyword_can_name_a_global_option(keyword: str) -> None:
    assert _read(f"{keyword} = {keyword}").options[keyword].value == keyword


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_can_name_a_program_and_a_job_and_be_an_argument(keyword: str) -> None:
    configuration = _read(
        f'program {keyword} {{ argv = ( "/bin/echo" {keyword} ) args = ( {keyword} ) }}\n'
        f'job {keyword} {{ every = 60 command = "run {keyword} {keyword}" }}\n'
    )
    assert configuration.programs[keyword].argv == ("/bin/echo", keyword)
    assert configuration.programs[keyword].wrong_arguments((keyword,)) is None
    assert configuration.jobs[keyword].command.words == (keyword, keyword)


@pytest.mark.parametrize("first", KEYWORDS)
@pytest.mark.parametrize("opening", ["run", "config get", "config set", "help", "sched delete", "sched history"])
def test_every_keyword_can_be_a_word_anywhere_in_a_command(opening: str, first: str) -> None:
    repeated = not opening.startswith("sched")
    for second in KEYWORDS if repeated else [""]:
        tree = _parsed(f"sched in 5 {opening} {first} {second}".rstrip())
        assert tree.inner is not None and tree.inner.form == opening.replace(" ", "_")
        assert [word.value for word in tree.inner.words] == [first, *([second] if second else [])]


def test_the_grammar_directory_holds_the_grammars_and_their_common_part() -> None:
    assert {path.name for path in grammar_directory().glob("*.lark")} >= {
        f"{name}.lark" for name in ("common", "stanza", "command", "cron", "calendar")
    }
