"""Decoding is strict: ambiguous bytes are rejected with their position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.syntax.text import MAX_BYTES, MAX_FAULTS, decode, name_of
from tests.support.diagnostics import codes


@pytest.mark.parametrize("text", ["", "a\n", "a\r\nb\r\n", "tab\t, form feed \f", "ü ✓ 𝄞", "no newline"])
def test_valid_text_is_unchanged(text: str) -> None:
    source, mistakes = decode("x.conf", text.encode())
    assert (source.text, source.name, mistakes) == (text, "x.conf", [])


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"a\nb\xff", "E105", (2, 2)),
        (b"\xc3", "E105", (1, 1)),
        (b"\xed\xa0\x80", "E105", (1, 1)),
        ("ü\xff".encode("latin-1"), "E105", (1, 1)),
        (b"\xef\xbb\xbfa", "E106", (1, 1)),
        (b"a\rb", "E106", (1, 2)),
        (b"a\n\r\r\n", "E106", (2, 1)),
        (b"a\n\x1b[2J", "E106", (2, 1)),
        (b"\x7f", "E106", (1, 1)),
    ],
)
def test_bytes_that_are_not_plain_text_are_rejected_with_their_position(
    data: bytes, code: str, place: tuple[int, int]
) -> None:
    _, mistakes = decode("x.conf", data)
    assert codes(mistakes) == [code]
    assert mistakes[0].place()[:2] == place
    assert mistakes[0].help


def test_a_binary_file_is_one_mistake_that_names_its_first_nul() -> None:
    source, (mistake,) = decode("x.conf", b"a\nb\0c\0\xff\r")
    assert (source.text, mistake.code, mistake.span) == ("", "E106", None)
    assert "line 2, at offset 3" in mistake.message and mistake.help


def test_forbidden_characters_become_blanks_so_that_the_rest_can_be_checked() -> None:
    source, mistakes = decode("x.conf", b"\xef\xbb\xbfa\n\xff\xfe\nb\x07\n")
    assert source.text == " a\n  \nb \n"
    assert sorted(mistake.place()[:2] for mistake in mistakes) == [(1, 1), (2, 1), (3, 2)]


def test_the_number_of_decoding_diagnostics_is_limited() -> None:
    assert len(decode("x.conf", b"\xff\x07\n" * 200)[1]) == MAX_FAULTS


def test_a_file_over_the_size_limit_is_rejected_and_one_at_the_limit_is_accepted() -> None:
    assert decode("x.conf", b"#" * MAX_BYTES)[1] == []
    (mistake,) = decode("x.conf", b"#" * (MAX_BYTES + 1))[1]
    assert (mistake.code, mistake.message) == ("E108", "the file has more than 16,777,216 bytes")


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("a", "`a`"),
        (";", "`;`"),
        ("“", "typographic quote “"),
        ("’", "typographic quote ’"),
        ("\u00a0", "character U+00A0"),
    ],
)
def test_the_name_of_a_character_tells_it_from_its_look_alikes(character: str, name: str) -> None:
    assert name_of(character) == name


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_and_valid_text_is_never_changed(data: bytes) -> None:
    source, mistakes = decode("x.conf", data)
    assert len(mistakes) <= MAX_FAULTS
    assert mistakes or source.text.encode() == data
    assert decode("x.conf", source.text.encode())[1] == []
