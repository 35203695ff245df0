"""Canonical lines: equal for commands with the same meaning, different for all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.model.commands import Command, canonical_line, read_command, required_lines


def read(line: str) -> Command:
    command = read_command(line).command
    assert command is not None, line
    return command


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("sched list", "sched list"),
        ("  SCHED \t List\t", "sched list"),
        ("json sched list", "sched list"),
        ("JSON json  Sched LIST", "sched list"),
        ("sched list FIND 'A b' Limit 5", 'sched list find "A b" limit 5'),
        ("sched history Nightly STATE Failed,MISSED", "sched history Nightly state failed,missed"),
        ("sched history LIMIT 5", "sched history limit 5"),
        ("sched history Limit STATE failed", "sched history Limit state failed"),
        ("sched show Nightly OUTPUT None", "sched show Nightly output none"),
        ("sched output a/1 FROM 5 As BASE64", "sched output a/1 from 5 as base64"),
        ("sched wait a/1", "sched wait a/1"),
        ("sched WAIT a/1 TIMEOUT 10s", "sched wait a/1 timeout 10s"),
        ("run hello", "run hello"),
        ("RUN   'hello'", "run hello"),
        ("run he\"ll\"'o'", "run hello"),
        ("run Hello", "run Hello"),
        ('run hello "a b"', 'run hello "a b"'),
        ("run hello 'a b'", 'run hello "a b"'),
        ("run hello a' 'b", 'run hello "a b"'),
        ("run hello 'a\tb'", 'run hello "a\tb"'),
        ("run hello ''", 'run hello ""'),
        ("run hello\u00a0x", 'run "hello\u00a0x"'),
        ("run hello\u3000x", 'run "hello\u3000x"'),
        ("""run hello 'say "x"'""", r'run hello "say \"x\""'),
        (r"run hello a\b", r"run hello a\b"),
        (r"""run hello "a\\ b" """, r'run hello "a\\ b"'),
        ('run "sched list"', 'run "sched list"'),
        ("run sched list", "run sched list"),
        ("run --wait hello x", "run --wait hello x"),
        ('run "--wait" hello', 'run "--wait" hello'),
        ('run --wait "--wait"', 'run --wait "--wait"'),
        ("sched PAUSE   --all", "sched pause --all"),
        ("sched resume '--all'", 'sched resume "--all"'),
        ("sched pause --all''", 'sched pause "--all"'),
        ("sched pause w[1]", 'sched pause "w[1]"'),
        ("sched run --all", "sched run --all"),
        ("sched every 60  SCHED  in 5   json RUN   'x'", "sched every 60 sched in 5 run x"),
        ("sched at 1795370460 pid", "sched at 1795370460 pid"),
        ("config set Message_Expiration = 300", "config set message_expiration 300"),
        ("config set Message_Expiration=300", "config set message_expiration 300"),
        ("config set message_expiration '3 0'", 'config set message_expiration "3 0"'),
        ("config set PROGRAM Hello Timeout = 5", "config set program Hello timeout 5"),
        ("config set program hello success ( 0  1 )", 'config set program hello success "( 0  1 )"'),
        ("config set sched max_running=5", "config set sched max_running 5"),
        ("config set sched = 5", "config set sched 5"),
        ("config get Sched History", "config get sched history"),
        ("config eval limit", "config eval limit"),
        ("config unset program hello", "config unset program hello"),
        ("config unset sched", "config unset sched"),
        ("config unset job tidy EVERY", "config unset job tidy every"),
        ("config show", "config show"),
        ("config show Program hello", "config show program hello"),
        ("config SHOWRECURSE authorization", "config showrecurse authorization"),
        ("config begin", "config begin"),
        ("config diff 3", "config diff 3"),
        ("summary RESET", "summary reset"),
        ("help Sched", "help Sched"),
        ("authz roles LIST", "authz roles list"),
        ("sched hold a 'new  disk'", 'sched hold a "new  disk"'),
        ("sched hold FOR 1h a disk", "sched hold for 1h a disk"),
        ("sched PAUSE tidy", "sched pause tidy"),
        ("sched pause 'tidy-*'", 'sched pause "tidy-*"'),
        ("sched resume tidy-[ab]", 'sched resume "tidy-[ab]"'),
        ("sched pause --all", "sched pause --all"),
        ("run hello *", "run hello *"),
    ],
)
def test_a_canonical_line_does_not_depend_on_the_spelling(typed: str, line: str) -> None:
    assert canonical_line(read(typed)) == line


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("pid", ["pid"]),
        ("json pid", ["pid"]),
        ("sched every 60 sched in 5 run x", ["sched every 60 sched in 5 run x", "sched in 5 run x", "run x"]),
        ("json sched in 5 json pid", ["sched in 5 pid", "pid"]),
        ("run --wait x 1", ["run --wait x 1", "run x 1"]),
    ],
)
def test_roles_must_allow_every_command_inside_a_command(typed: str, asked: list[str]) -> None:
    assert list(required_lines(read(typed))) == asked


words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"), include_characters="\t"), max_size=8
)


def in_quotes(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


runs = st.lists(words.filter(lambda word: word != "--wait"), min_size=1, max_size=4)


@given(runs, runs)
def test_canonical_lines_differ_as_words_differ_and_are_read_back(one: list[str], other: list[str]) -> None:
    first, second = (read("run " + " ".join(map(in_quotes, words))) for words in (one, other))
    assert (canonical_line(first) == canonical_line(second)) == (first.words == second.words)
    assert read(canonical_line(first)).words == first.words
    assert canonical_line(read(canonical_line(first))) == canonical_line(first)
