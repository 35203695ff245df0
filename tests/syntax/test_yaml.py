"""YAML values are texts with positions: no type is guessed, nothing is lost, and unused features are rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import Source
from schedappliance.syntax.yaml import YamlList, YamlMapping, YamlNode, YamlScalar, parse_yaml
from tests.support.diagnostics import codes, pointed

Plain = str | list["Plain"] | dict[str, "Plain"] | None


def _plain(node: YamlNode | None) -> Plain:
    if isinstance(node, YamlMapping):
        return {key: _plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, YamlList):
        return [_plain(item) for item in node.items]
    return node.text if isinstance(node, YamlScalar) else None


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1", {"a": "1"}),
        ("a: on\nb: no\nc: ~", {"a": "on", "b": "no", "c": "~"}),
        ("a: 12:30:00\nb: 0660\nc: 1e3", {"a": "12:30:00", "b": "0660", "c": "1e3"}),
        ("a: 2026-11-22", {"a": "2026-11-22"}),
        ("a:", {"a": ""}),
        ("a: { b: [ x, 'y z' ] }", {"a": {"b": ["x", "y z"]}}),
        ('a: "tab\\tand \\u00fc"', {"a": "tab\tand ü"}),
        ("<<: x", {"<<": "x"}),
        ("- a\n- b", ["a", "b"]),
    ],
)
def test_a_value_is_the_text_as_written(text: str, tree: Plain) -> None:
    node, mistakes = parse_yaml(Source("a.yaml", text))
    assert (_plain(node), mistakes) == (tree, [])


@pytest.mark.parametrize(("text", "quoted"), [("a: ''", True), ('a: "x"', True), ("a: x", False), ("a: |\n  x", False)])
def test_a_quoted_value_is_distinguished_from_a_plain_one(text: str, quoted: bool) -> None:
    node, _ = parse_yaml(Source("a.yaml", text))
    assert isinstance(node, YamlMapping)
    value = node.entries["a"][1]
    assert isinstance(value, YamlScalar) and value.quoted is quoted


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: [", "E111", ""),
        ("a: 'x", "E111", ""),
        ("a: b: c", "E111", ""),
        ("a:\n\tb: c", "E111", ""),
        ("{a, [b]: c}", "E111", "[b]"),
        ("a: &x 1", "E112", "&x 1"),
        ("a: *x", "E112", "*x"),
        ("a: !!int 1", "E112", "!!int 1"),
        ("a: !!python/object:os.system 1", "E112", "!!python/object:os.system 1"),
        ("a: 1\n---\nb: 2", "E112", "---"),
        ("a: 1\na: 2", "E210", "a"),
        ("a: {b: 1, b: 2}", "E210", "b"),
        ("a: " + "[" * 17 + "]" * 17, "E108", "["),
        ("a: " + "{b: " * 5000 + "}" * 5000, "E108", "{"),
    ],
)
def test_invalid_yaml_and_unused_features_are_rejected(text: str, code: str, place: str) -> None:
    _, mistakes = parse_yaml(Source("a.yaml", text))
    assert codes(mistakes) == [code]
    assert pointed(mistakes[0]) == place
    assert mistakes[0].help


@pytest.mark.parametrize("character", ["\f", "\x80", "\ufffe"])
def test_a_character_that_yaml_does_not_read_is_pointed_at(character: str) -> None:
    _, (mistake,) = parse_yaml(Source("a.yaml", f"a: x\nb: {character}\n"))
    assert mistake.place()[:2] == (2, 4)
    assert "\n" not in mistake.message


def test_a_tab_for_indentation_is_explained() -> None:
    _, (mistake,) = parse_yaml(Source("a.yaml", "a:\n\tb: c\n"))
    assert (mistake.place()[:2], mistake.help) == ((2, 1), "indent with blanks, not tabs")


def test_a_key_given_twice_shows_the_first_place() -> None:
    _, (mistake,) = parse_yaml(Source("a.yaml", "a: 1\nb: 2\na: 3\n"))
    assert mistake.place()[:2] == (3, 1)
    assert mistake.source.position(mistake.related[0].span.start) == (1, 1)


@given(st.text() | st.lists(st.sampled_from([*list("ab:-[]{}&*!|>'\"%@ \n\t,?#"), "---\n", "a: "])).map("".join))
def test_no_text_raises(text: str) -> None:
    node, mistakes = parse_yaml(Source("a.yaml", text))
    assert node is None or isinstance(node, YamlMapping | YamlList | YamlScalar)
    assert all(mistake.is_error and mistake.message and mistake.help for mistake in mistakes)
