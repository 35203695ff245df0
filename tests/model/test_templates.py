"""Templates: the options that they name, and their expansion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.templates import Unset, expand, references

VALUES = {"a": "1", "long_name": "two words", "x-y": "%{a}", "empty": ""}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("%{a}", "1"),
        ("<%{a}%{long_name}>", "<1two words>"),
        ("%{x-y}", "%{a}"),
        ("[%{empty}]", "[]"),
        ("%%{a}", "%{a}"),
        ("%%%{a}", "%%{a}"),
        ("100% {a} %a %", "100% {a} %a %"),
        ("$a ${a}", "$a ${a}"),
    ],
)
def test_a_template_is_expanded_with_the_values(template: str, text: str) -> None:
    assert expand(template, VALUES.get) == text


@pytest.mark.parametrize("template", ["%{}", "%{", "x%{a", "%{a b}", "%{9}", "%{-a}", "%{ä}", "%{%{a}}", "%{a\n}"])
def test_a_malformed_reference_is_rejected_at_its_place(template: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        list(references(template))
    assert raised.value.code == "E208" and "%%{" in raised.value.help
    assert raised.value.span is not None and template[raised.value.span.start :].startswith("%{")


def test_references_have_names_and_places() -> None:
    template = "x %{a} %%{b} %{c-d}"
    texts = [(name, template[span.start : span.end]) for name, span in references(template)]
    assert texts == [("a", "%{a}"), ("c-d", "%{c-d}")]


def test_an_option_that_is_not_set_is_named_in_the_error() -> None:
    with pytest.raises(Unset, match="`nowhere` is not set") as raised:
        expand("%{a} %{nowhere}", VALUES.get)
    assert raised.value.name == "nowhere"


@given(st.text())
def test_a_text_without_references_does_not_change(text: str) -> None:
    plain = text.replace("%{", "")
    assert "%{" in plain or expand(plain, VALUES.get) == plain


@given(st.lists(st.sampled_from(["%{a}", "%%{", "%", "{", "}", "x", "%{empty}"])).map("".join))
def test_a_template_that_passes_the_check_can_be_expanded(template: str) -> None:
    try:
        names = [name for name, _ in references(template)]
    except InvalidValue:
        return
    expanded = expand(template, lambda name: "v" * names.count(name) and "v")
    assert expanded.count("v") == len(names)
