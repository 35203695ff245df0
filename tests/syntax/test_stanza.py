"""Stanza files: every construct of the language, and the diagnostic for every fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import Source, Span
from schedappliance.syntax.stanza import MAX_DEPTH, parse_stanzas
from schedappliance.syntax.tree import Include, ListValue, Option, Scalar, Statement, Value
from tests.support.diagnostics import codes, pointed


def _parsed(text: str) -> list[Any]:
    statements, mistakes = parse_stanzas(Source("x.conf", text))
    assert not mistakes, mistakes[0].brief()
    return [_plain(statement) for statement in statements]


def _plain(statement: Statement) -> Any:
    """A statement without positions: a tuple that starts with the kind of the statement."""
    if isinstance(statement, Include):
        return ("include", statement.keyword.value.lower(), statement.path.value)
    if isinstance(statement, Option):
        return ("option", statement.key.value, _plain_value(statement.value))
    name = statement.name.value if statement.name else None
    return ("stanza", statement.key.value, name, [_plain(inner) for inner in statement.body])


def _plain_value(value: Value) -> Any:
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, ListValue):
        return [item.value for item in value.items]
    return {entry.key.value: _plain_value(entry.value) for entry in value.entries}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1", "1"),
        ("a=1", "1"),
        ("a = /var/lib:x@y|z~?!%^&*+-.", "/var/lib:x@y|z~?!%^&*+-."),
        ('a = "two words"', "two words"),
        ('a = ""', ""),
        ("a = 'raw \\d \"'", 'raw \\d "'),
        (r'a = "say \"hi\" \\ \d"', r'say "hi" \ \d'),
        ('a = "# { ( [ < /* is text"', "# { ( [ < /* is text"),
        ('a = "one\ntwo"', "one\ntwo"),
        ('a = "ünï — ✓"', "ünï — ✓"),
        ("a = ( )", []),
        ('a = ( 1 "2 3" four )', ["1", "2 3", "four"]),
        ("a = ( 1, 2, 3, )", ["1", "2", "3"]),
        ('a = [ k = v "l m" = "w" ]', {"k": "v", "l m": "w"}),
        ("a = [ k = v, l = ( 1 2 ) ]", {"k": "v", "l": ["1", "2"]}),
        ("a [ k = v ]", {"k": "v"}),
    ],
)
def test_an_option_holds_a_value_of_each_kind(text: str, value: Any) -> None:
    assert _parsed(text) == [("option", "a", value)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s {}", None),
        ('s "n" {}', "n"),
        ("s 'n m' {}", "n m"),
        ("s n {}", "n"),
        ("s /re g/ {}", "/re g/"),
        ('s "N" = {}', "N"),
        ("s = {}", None),
        ("s <>", None),
        ('s "n" <>', "n"),
        ("s\n\n{\n}", None),
    ],
)
def test_the_name_of_a_stanza_is_optional(text: str, name: str | None) -> None:
    assert _parsed(text) == [("stanza", "s", name, [])]


def test_braces_and_angle_brackets_mean_the_same_and_nest_in_each_other() -> None:
    braces = _parsed('a { b "x" { c = 1 } d = 2 }')
    assert braces == _parsed('a < b "x" < c = 1 > d = 2 >') == _parsed('a { b "x" < c = 1 > d = 2 }')


@pytest.mark.parametrize(
    "comment", ["# to the end { \n", "/* in between } */", "/* over\nlines * / ** */", "/***/", "#\r\n"]
)
def test_a_comment_may_stand_between_any_two_tokens(comment: str) -> None:
    pieces = ["s", '"n"', "{", "a", "=", "(", "1", ",", "2", ")", "b", "[", "k", "=", "v", "]", "}"]
    assert _parsed(f" {comment} ".join(["", *pieces, ""])) == _parsed(" ".join(pieces))


@pytest.mark.parametrize("text", ["x = a#b\n", "x = a/*b*/\n"])
def test_a_comment_ends_a_bare_word(text: str) -> None:
    assert _parsed(text) == [("option", "x", "a")]


@pytest.mark.parametrize("word", ["include", "INCLUDE", "readonly_include", "Readonly_Include"])
def test_an_include_is_recognized_in_any_case(word: str) -> None:
    assert _parsed(f'{word} "a b" {word} c') == [("include", word.lower(), "a b"), ("include", word.lower(), "c")]


@pytest.mark.parametrize("name", ["includes", "include-x", "include_dir", "reinclude", "readonly_includes"])
def test_a_longer_word_than_include_is_an_ordinary_name(name: str) -> None:
    assert _parsed(f"{name} = 1") == [("option", name, "1")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = include", "include"),
        ("a = ( include )", ["include"]),
        ("a = ( 1 include, 2 'b' include )", ["1", "include", "2", "b", "include"]),
        ("a = [ k = 1 include = include ]", {"k": "1", "include": "include"}),
        ("a = [ k = ( v ), include = 2 ]", {"k": ["v"], "include": "2"}),
    ],
)
def test_include_is_an_ordinary_word_where_no_statement_begins(text: str, value: Any) -> None:
    assert _parsed(text) == [("option", "a", value)]
    assert _parsed("s include { }") == [("stanza", "s", "include", [])]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a = ", "E116", "a ="),
        ("a", "E101", "a"),
        ("= 1", "E115", "="),
        ("a b\nc = 1", "E115", "a"),
        ("a = 1 2\nb = 3", "E101", "2"),
        ("a = = 1", "E101", "="),
        ("a = 1; b = 2", "E101", ";"),
        ("a = “1”", "E106", "“1”"),
        ("a = ‘1’", "E106", "‘1’"),
        ("a = ü", "E106", "ü"),
        ("a\u00a0= 1", "E101", "\u00a0"),
        ("a = 1, b = 2", "E101", ","),
        ("include a = 1", "E116", "include"),
        ("s = < a = 1 >", "E101", "="),
        ('s "n" a = 1 }', "E113", 's "n"'),
        ("a = 1 2 )", "E113", "="),
        ("a = ( 1 ) )", "E104", ")"),
        ("Module generic/sched sched {\n}", "E114", "Module generic/sched sched"),
        ("s { a = 1", "E102", "{"),
        ("s { t { a = 1 }", "E102", "{"),
        ("s < a = 1", "E102", "<"),
        ("a = ( 1 2", "E102", "("),
        ("a = [ k = v", "E102", "["),
        ('a = "open', "E103", '"'),
        ('a = "open\nb = "x"', "E103", '"'),
        ("a = 'open\nb = 1", "E103", "'"),
        ("s { a = 1 } }", "E104", "}"),
        ("s { a = ( 1 2 }", "E102", "("),
        ("a = ( 1 2 ]", "E104", "]"),
        ("s < a = 1 }", "E104", "}"),
        ("s { a = 1 >", "E104", ">"),
        ("a = 1 /* open", "E107", "/*"),
    ],
)
def test_a_diagnostic_points_at_the_fault(text: str, code: str, place: str) -> None:
    _, mistakes = parse_stanzas(Source("x.conf", text))
    assert [(mistake.code, pointed(mistake)) for mistake in mistakes] == [(code, place)]
    assert mistakes[0].message and mistakes[0].help


def test_an_unclosed_string_is_reported_where_it_starts() -> None:
    _, (mistake,) = parse_stanzas(Source("x.conf", 'a = 1\nb = "open\nc = 3\n'))
    assert mistake.place()[:2] == (2, 5)


def test_a_wrong_closing_bracket_shows_the_opening_bracket() -> None:
    _, (mistake,) = parse_stanzas(Source("x.conf", "s {\n  a = ( 1 ]\n}"))
    (opened,) = mistake.related
    assert mistake.source.text[opened.span.start : opened.span.end] == "("


def test_a_word_alone_on_its_line_is_reported_on_that_line() -> None:
    _, (mistake,) = parse_stanzas(Source("x.conf", "a\nb = 1\n"))
    assert mistake.place()[0] == 1


def _nested(levels: int) -> str:
    return "a {\n" * levels + "}" * levels


def test_nesting_is_bounded_and_no_depth_exhausts_the_stack() -> None:
    assert parse_stanzas(Source("x.conf", _nested(MAX_DEPTH)))[1] == []
    assert codes(parse_stanzas(Source("x.conf", _nested(MAX_DEPTH + 1)))[1]) == ["E108"]
    assert codes(parse_stanzas(Source("x.conf", _nested(10_000)))[1]) == ["E108"]
    assert codes(parse_stanzas(Source("x.conf", "a {\n" * 10_000))[1]) == ["E102"]


def test_a_position_inside_a_string_accounts_for_escapes() -> None:
    statements, _ = parse_stanzas(Source("x.conf", r'a = "\"x\" \\ HERE"'))
    assert isinstance(statements[0], Option) and isinstance(statements[0].value, Scalar)
    scalar = statements[0].value
    at = scalar.value.index("HERE")
    span = scalar.inner(Span(at, at + 4))
    assert r'a = "\"x\" \\ HERE"'[span.start : span.end] == "HERE"


words = st.text("abcXYZ019_-.:@", min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@st.composite
def _statements(draw: st.DrawFn, depth: int = 3) -> tuple[str, list[Any]]:
    """A text together with what it means."""
    texts: list[str] = []
    meanings: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        key = draw(words)
        kind = draw(st.sampled_from(["scalar", "list", "dictionary", "stanza", "include"]))
        if kind == "scalar":
            value = draw(values)
            texts.append(f"{key} = {_quoted(value)}")
            meanings.append(("option", key, value))
        elif kind == "list":
            items = draw(st.lists(values, max_size=3))
            texts.append(f"{key} = ( {' '.join(map(_quoted, items))} )")
            meanings.append(("option", key, items))
        elif kind == "dictionary":
            pairs = draw(st.dictionaries(values, values, max_size=3))
            texts.append(f"{key} [ {' '.join(f'{_quoted(k)} = {_quoted(v)}' for k, v in pairs.items())} ]")
            meanings.append(("option", key, pairs))
        elif kind == "include":
            texts.append(f"include {_quoted(key)}")
            meanings.append(("include", "include", key))
        elif depth:
            name = draw(st.none() | values)
            body, meaning = draw(_statements(depth - 1))
            opening, closing = draw(st.sampled_from([("{", "}"), ("<", ">")]))
            texts.append(f"{key} {'' if name is None else _quoted(name)} {opening} {body} {closing}")
            meanings.append(("stanza", key, name, meaning))
    return draw(st.sampled_from(["\n", " ", "\r\n\t"])).join(texts), meanings


@given(_statements())
def test_the_parser_reads_what_was_written(written: tuple[str, list[Any]]) -> None:
    text, meaning = written
    assert _parsed(text) == meaning


pieces = st.sampled_from([*list("{}<>()[]=,;#'\"/*\\ \n\r\t"), "include ", "a", "/re/", "/*", "*/", "a = 1\n", '"x"'])


@given(st.text() | st.lists(pieces).map("".join))
def test_no_text_raises_and_every_mistake_has_a_place_and_a_remedy(text: str) -> None:
    _, mistakes = parse_stanzas(Source("x.conf", text))
    for mistake in mistakes:
        assert mistake.span and 0 <= mistake.span.start <= mistake.span.end <= len(text)
        assert mistake.help and mistake.place() >= (1, 1, 1, 1)


@given(_statements(), st.data())
def test_a_truncated_text_never_raises(written: tuple[str, list[Any]], data: st.DataObject) -> None:
    text, _ = written
    cut = text[: data.draw(st.integers(0, len(text)))]
    statements, mistakes = parse_stanzas(Source("x.conf", cut))
    assert mistakes or _parsed(cut) == [_plain(statement) for statement in statements]
