"""The output of a program as HTML: colours become classes, nothing hides, and long lines take linear time."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.visible import visible
from schedappliance.web.rendering.ansi import LONGEST, PLAIN, Painted, Style, paint, style_of

_TAGS = re.compile(r"<[^>]*>")


def line(text: str) -> str:
    """The one line of a text."""
    html = str(paint(text).html)
    assert html.startswith('<li id="L1">') and html.endswith("</li>") and html.count("<li") == 1
    return html[len('<li id="L1">') : -len("</li>")]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("<b>&\"'", "&lt;b&gt;&amp;&#34;&#39;"),
        ("\x1b[31mred\x1b[0m.", '<span class="fg1">red</span>.'),
        ("\x1b[91;44;1mx", '<span class="fg9 bg4 bold">x</span>'),
        ("\x1b[2;3;4;9mx", '<span class="faint italic underlined struck">x</span>'),
        ("\x1b[1;2mx\x1b[22my", '<span class="bold faint">x</span>y'),
        ("\x1b[31;41mx\x1b[39my\x1b[49mz", '<span class="fg1 bg1">x</span><span class="bg1">y</span>z'),
        ("\x1b[7mx\x1b[27my", '<span class="inverse">x</span>y'),
        ("\x1b[31;7mx", '<span class="bg1">x</span>'),
        ("\x1b[mx", "x"),
        ("\x1b[31m\x1b[mx", "x"),
        ("\x1b[38;5;1mx", '<span class="fg1">x</span>'),
        ("\x1b[38;5;208mx", '<span class="fg11">x</span>'),
        ("\x1b[38;5;21mx", '<span class="fg12">x</span>'),
        ("\x1b[48;5;232mx", '<span class="bg0">x</span>'),
        ("\x1b[38;2;255;0;0mx", '<span class="fg9">x</span>'),
        ("\x1b[38;2;250;250;250mx", '<span class="fg15">x</span>'),
        ("\x1b[38;9;9mx", '<span class="struck">x</span>'),
        ("\x1b[38mx", "x"),
        ("\x1b[999999999999mx", "x"),
        ("\x1b[8mhidden", "hidden"),
        ("\x1b[2J\x1b[1;1Hx", "x"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\x", "x"),
        ("\x1b(Bx\x1b=", "x"),
        ("a\x08b\x00\u202ec\tx", "a\\u{8}b\\u{0}\\u{202e}c\tx"),
        ("\x1b\x1b[31mx", '\\u{1b}<span class="fg1">x</span>'),
        ("\x9b31mx", "\\u{9b}31mx"),
    ],
)
def test_a_line(text: str, html: str) -> None:
    assert line(text) == html


def test_lines_have_their_numbers() -> None:
    painted = paint("a\r\nb\rc\n\nd\n", first_line=9)
    assert (
        painted == Painted(painted.html, PLAIN, "", 5)
        and painted.html
        == '<li id="L9">a</li><li id="L10">b</li><li id="L11">c</li><li id="L12"></li><li id="L13">d</li>'
    )
    assert paint("") == ("", PLAIN, "", 0)


def test_a_style_goes_on_in_the_next_line_and_in_the_next_part() -> None:
    first = paint("\x1b[32ma\nb")
    assert first.html == '<li id="L1"><span class="fg2">a</span></li><li id="L2"><span class="fg2">b</span></li>'
    assert first.style == Style(colour=2)
    assert 'class="fg2"' in paint("c", first.style).html


@pytest.mark.parametrize(
    "sequence", ["\x1b[1;31m", "\x1b]0;a title\x07", "\x1b]8;;http://example.com\x1b\\", "\x1b(B", "\x1b[48;5;99m"]
)
def test_a_sequence_that_a_part_cuts_is_put_before_the_next_part(sequence: str) -> None:
    whole = paint(f"a{sequence}b")
    for at in range(1, len(sequence)):
        first = paint(f"a{sequence[:at]}")
        assert (first.html, first.rest) == ('<li id="L1">a</li>', sequence[:at])
        second = paint(f"{first.rest}{sequence[at:]}b", first.style)
        assert second.html.replace("</li>", "")[len('<li id="L1">') :] in whole.html
        assert second.style == whole.style


def test_what_only_looks_like_a_begin_does_not_wait_for_ever() -> None:
    text = "\x1b[" + "1;" * LONGEST
    assert paint(text).rest == ""


@given(st.text(st.sampled_from("a\x1b[]0;31m\r\n\x07\\<>&é\u202e")))
def test_every_visible_character_is_shown(text: str) -> None:
    shown = unescape(_TAGS.sub("", paint(text).html))
    assert shown.isprintable()
    if "\x1b" not in text:
        assert shown == "".join(visible(one) for one in re.split("\r\n|\n|\r", text))


@pytest.mark.parametrize(
    "piece",
    ["a", "\x1b", "\x1b[", "\x1b]", "\x1b[31", "\x1b[31mx", "\x1b]0;", "\r", "\n", "\u202e", "\x1b[1;", "\x1bP\x1b"],
)
def test_a_long_line_ends_before_the_limit_of_a_test(piece: str) -> None:
    """With a time that grows with the square of the length, this would take hours."""
    text = piece * (300_000 // len(piece))
    assert paint(text + "\n").lines == (len(text) + 1 if piece in "\r\n" else 1) - (piece == "\r")


@given(
    st.builds(
        Style,
        *(st.none() | st.integers(0, 15) for _ in range(2)),
        *(st.booleans() for _ in range(6)),
    )
)
def test_the_codes_of_a_style_give_it_again(style: Style) -> None:
    assert style_of(style.codes()) == style


@pytest.mark.parametrize("text", ["", "x", "31;1", "\u00b2", "9" * 5000])
def test_other_text_is_no_style(text: str) -> None:
    assert style_of(text) == PLAIN
