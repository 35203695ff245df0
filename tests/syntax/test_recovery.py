"""Recovery: one diagnostic for each fault, in the right place; all faults in one run; a tree that keeps the rest of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from schedappliance.diagnostics import Source
from schedappliance.model.loading import load
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.text import MAX_FAULTS
from schedappliance.syntax.tree import Dictionary, Include, Option, Statement
from tests.faults import FILES, Figures, Valid, measure, sample
from tests.support.diagnostics import codes, pointed
from tests.support.memory_files import ROOT, held

# This share of single faults must give one diagnostic on the right line: of each kind, and of all kinds together.
WANTED = 0.97

TEN_FAULTS = [
    ("Message_Expiration 86400", "E115", "Message_Expiration"),
    ("Banner = “hello”", "E106", "“hello”"),
    ("Limit = 5;", "E101", ";"),
    ("Site = berlin north", "E101", "north"),
    ('program "tidy" { argv = ( "/bin/true" ] }', "E104", "]"),
    ('program "sweep" { timeot = 5m argv = ( "/bin/true" ) }', "E202", "timeot"),
    ('job "tidy" { every = hourly command = "run tidy" }', "E203", "hourly"),
    ('job "sweep" { every = 60 command = "run \\"sweep" }', "E103", '\\"'),
    ('progam "count" { argv = ( "/bin/true" ) }', "E201", "progam"),
    ("Rate =", "E116", "Rate ="),
]

KINDS = (
    *("missing =", "missing value", "missing name", "doubled =", "semicolon after a value", "two words as value"),
    *("comma between options", "missing (", "missing )", "missing [", "missing ]", "missing {", "missing }"),
    *("missing <", "missing >", "wrong closing bracket", "unterminated string", "curly quotes", "stray closing brace"),
)

# For these kinds, layout and brackets do not always show the place. All other kinds must reach WANTED.
FLOORS = {"missing [": 0.90, "missing name": 0.92, "missing {": 0.96, "unterminated string": 0.87}


def test_ten_faults_on_ten_lines_give_ten_diagnostics() -> None:
    text = "".join(f"{line}\n" for line, _, _ in TEN_FAULTS)
    diagnostics = sorted(load(ROOT, held({"sched.conf": text})).diagnostics, key=lambda d: d.place())
    assert [(d.place()[0], d.code, pointed(d)) for d in diagnostics] == [
        (line, code, place) for line, (_, code, place) in enumerate(TEN_FAULTS, 1)
    ]


# `python -m tests.faults` measures all faults.
STEP = 3


@cache
def figures() -> Figures:
    return measure(FILES, STEP)


@pytest.mark.slow
def test_every_kind_of_fault_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("", *figures().lines(), sep="\n")
    assert len(FILES) >= 15 and set(figures().all) == set(KINDS)
    assert min(figures().all.values()) >= 5


@pytest.mark.slow
def test_nearly_every_fault_gives_one_diagnostic_on_the_right_line() -> None:
    assert figures().overall >= WANTED


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nearly_every_fault_of_each_kind_gives_one_diagnostic_on_the_right_line(kind: str) -> None:
    assert figures().of(kind) >= FLOORS.get(kind, WANTED)


def _names(statements: tuple[Statement, ...]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, Include):
            yield statement.path.value
        elif isinstance(statement, Option):
            yield statement.key.value
            if isinstance(statement.value, Dictionary):
                yield from (entry.key.value for entry in statement.value.entries)
        else:
            yield from (scalar.value for scalar in (statement.key, statement.name) if scalar)
            yield from _names(statement.body)


@pytest.mark.slow
def test_the_repaired_tree_keeps_the_names_of_the_file() -> None:
    """A fault may lose the name beside it. It rarely loses more than one."""
    checked = poorer = 0
    for path in FILES:
        valid = Valid.of(path.read_bytes().decode())
        names = Counter(_names(parse_stanzas(valid.source)[0]))
        for fault in sample(valid, STEP):
            left = Counter(_names(parse_stanzas(Source("x.conf", fault.text))[0]))
            checked += 1
            poorer += (names - left).total() > 1
    assert poorer <= 0.02 * checked


def test_a_valid_file_is_read_without_recovery() -> None:
    for path in FILES:
        assert parse_stanzas(Source("x.conf", path.read_bytes().decode()))[1] == []


def test_the_number_of_diagnostics_is_limited_and_the_first_fault_is_reported() -> None:
    text = "".join(f"a{n} = 1\nb{n} = 2\nc{n} = 3\nd{n} = ;4\n" for n in range(MAX_FAULTS * 2))
    _, mistakes = parse_stanzas(Source("x.conf", text))
    assert len(mistakes) <= MAX_FAULTS and mistakes[0].place()[0] == 4


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "a": [1, 2, 3],\n  "b": {"c": null}\n}\n' * 5,
        "<?xml version='1.0'?>\n<a><b c='d'>text</b></a>\n" * 5,
        "Dear operator,\nplease find the file attached; it's the one from Monday.\nYours\n" * 5,
        "[section]\nkey: value\nother: a b c\n" * 10,
    ],
    ids=["JSON", "XML", "prose", "INI"],
)
def test_a_file_in_another_format_gives_one_diagnostic(text: str) -> None:
    statements, mistakes = parse_stanzas(Source("x.conf", text))
    assert (statements, len(mistakes)) == ((), 1)
    assert "does not look like a stanza file" in mistakes[0].message


@pytest.mark.parametrize(
    "text",
    [
        "Module generic/sched sched {\n  Backing_Store = /x\n}\n",
        "# an old one\nServer {\n  Listeners = ( [ Port = 25 ] )\n}\n",
        "Server {\n  Listeners = ( one, < Port = 25 > )\n}\n",
    ],
)
def test_the_syntax_of_momentum_2_is_rejected_by_name_with_one_diagnostic(text: str) -> None:
    (mistake,) = parse_stanzas(Source("x.conf", text))[1]
    assert mistake.code == "E114" and "2.x" in mistake.message


def test_a_repaired_file_is_never_loaded() -> None:
    loaded = load(ROOT, held({"sched.conf": 'sched { backing_store = "x.db" }\nLimit = 5;\n'}))
    assert (codes(loaded.diagnostics), loaded.accepted) == (["E101"], False)


@pytest.mark.parametrize("text", ["a = ( 1 include )\nb c\n", "a = ( 1 ; include )\n", "x = y include )\n"])
def test_recovery_treats_include_in_a_list_as_an_ordinary_word(text: str) -> None:
    _, mistakes = parse_stanzas(Source("x.conf", text))
    assert len(mistakes) == 1
