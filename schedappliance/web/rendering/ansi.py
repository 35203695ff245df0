"""The output of a program as HTML: its colours become classes, other control sequences are dropped.

Rule: nothing is hidden. Characters that cannot be seen are escapes, a lone carriage return begins a new line, and text is
never in the colour of its background. The time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from markupsafe import Markup, escape

from schedappliance.visible import visible

# A sequence is cut after so many characters: a text that looks like its begin must not wait for the end of the output.
LONGEST = 256
_ESCAPE = "\x1b"
# CSI with parameters, then OSC, DCS, PM and APC with their ends, then short ones.
_SEQUENCE = re.compile(
    "\x1b(?:"
    r"\[([0-9:;<=>?]{0,200})[ -/]{0,4}([@-~])"
    "|[\\]PX^_][^\x07\x1b]{0,240}(?:\x07|\x1b\\\\)"
    "|[ -/]{0,4}[0-Z\\\\`-~]"
    ")"
)
# What may be the begin of a sequence, at the end of a part.
_OPEN = re.compile("\x1b(?:\\[[0-9:;<=>?]{0,200}[ -/]{0,4}|[\\]PX^_][^\x07\x1b]{0,240}\x1b?|[ -/]{0,4})?\\Z")
_CODES = re.compile("[0-9_]{1,40}")
_NEWLINES = re.compile("\r\n|\n|\r")
NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_BRIGHT, _CUBE, _GREYS = 8, 16, 232


@dataclass(frozen=True)
class Style:
    """How text looks: numbers of colours up to 15, or None for those of the page."""

    colour: int | None = None
    background: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underlined: bool = False
    struck: bool = False
    inverse: bool = False

    def classes(self) -> str:
        colour, background = (self.background, self.colour) if self.inverse else (self.colour, self.background)
        names = [f"fg{colour}"] if colour is not None else []
        if background is not None:
            names.append(f"bg{background % _BRIGHT}")
        elif self.inverse:
            names.append("inverse")
        flags = ("bold", "faint", "italic", "underlined", "struck")
        return " ".join([*names, *(name for name in flags if getattr(self, name))])

    def codes(self) -> str:
        """The codes after which text looks so: `1_91`."""
        codes = [code for code, flag in _FLAGS.items() if getattr(self, flag)]
        for colour, dark, bright in ((self.colour, 30, 90), (self.background, 40, 100)):
            if colour is not None:
                codes.append(dark + colour if colour < _BRIGHT else bright + colour - _BRIGHT)
        return "_".join(map(str, codes))


_FLAGS = {1: "bold", 2: "faint", 3: "italic", 4: "underlined", 7: "inverse", 9: "struck"}
PLAIN = Style()


class Painted(NamedTuple):
    """`style`: how the next text looks; `rest`: an unfinished sequence, to be put before it; `lines`: how many there are."""

    html: Markup
    style: Style
    rest: str
    lines: int


def paint(text: str, style: Style = PLAIN, *, first_line: int = 1) -> Painted:
    """A `<li>` for each line. The last one is open: the text that follows begins in it, unless the text ends with a line."""
    text, rest = _cut(text)
    lines = _NEWLINES.split(text)
    if not lines[-1]:
        lines.pop()
    parts = []
    for number, line in enumerate(lines, first_line):
        html, style = _painted(line, style)
        parts.append(f'<li id="L{number}">{html}</li>')
    return Painted(Markup("".join(parts)), style, rest, len(lines))


def _cut(text: str) -> tuple[str, str]:
    """The text without an unfinished sequence at its end, and that sequence."""
    least = max(0, len(text) - LONGEST)
    last = text.rfind(_ESCAPE, least)
    # The end of some sequences is a sequence itself.
    for begin in (text.rfind(_ESCAPE, least, max(0, last)), last):
        if begin >= 0 and _OPEN.match(text, begin):
            return text[:begin], text[begin:]
    return text, ""


def _painted(line: str, style: Style) -> tuple[str, Style]:
    """One line, each piece with one style."""
    if _ESCAPE not in line:
        return _piece(line, style), style
    parts, at = [], 0
    for sequence in _SEQUENCE.finditer(line):
        parts.append(_piece(line[at : sequence.start()], style))
        at = sequence.end()
        if sequence[2] == "m":
            style = _restyled(style, sequence[1])
    parts.append(_piece(line[at:], style))
    return "".join(parts), style


def _piece(text: str, style: Style) -> str:
    if not text:
        return ""
    html = str(escape(visible(text, "\t")))
    classes = style.classes() if style != PLAIN else ""
    return f'<span class="{classes}">{html}</span>' if classes else html


def style_of(codes: str) -> Style:
    """The style with these codes; that of plain text for another text."""
    return _restyled(PLAIN, codes.replace("_", ";")) if _CODES.fullmatch(codes) else PLAIN


def _restyled(style: Style, parameters: str) -> Style:
    """The style after a sequence such as `1;31`. What is unknown changes nothing."""
    codes = [int(code) if code.isdigit() else 0 for code in re.split("[;:]", parameters)]
    at = 0
    while at < len(codes):
        code = codes[at]
        if code in (38, 48):
            colour, used = _extended(codes[at + 1 : at + 5])
            at += 1 + used
            style = _coloured(style, code == 38, colour) if used else style
            continue
        style = _with_code(style, code)
        at += 1
    return style


_SWITCHED: dict[int, dict[str, bool]] = {code: {flag: True} for code, flag in _FLAGS.items()} | {
    21: {"underlined": True},
    22: {"bold": False, "faint": False},
    23: {"italic": False},
    24: {"underlined": False},
    27: {"inverse": False},
    29: {"struck": False},
}


# The first code of eight colours, whether they are of the text, and the number of the first one.
_COLOURS = ((30, True, 0), (40, False, 0), (90, True, _BRIGHT), (100, False, _BRIGHT))


def _with_code(style: Style, code: int) -> Style:
    if code == 0:
        return PLAIN
    if code in _SWITCHED:
        return replace(style, **_SWITCHED[code])
    for first, is_text, offset in _COLOURS:
        if first <= code < first + _BRIGHT:
            return _coloured(style, is_text, code - first + offset)
    if code in (39, 49):
        return _coloured(style, code == 39, None)
    return style


def _coloured(style: Style, is_text: bool, colour: int | None) -> Style:
    return replace(style, colour=colour) if is_text else replace(style, background=colour)


def _extended(codes: Sequence[int]) -> tuple[int | None, int]:
    """The colour after 38 or 48, and how many codes it takes; 0 if it is no colour."""
    if codes[:1] == [5] and len(codes) > 1:
        return _of_256(codes[1]), 2
    if codes[:1] == [2] and len(codes) > 3:
        return _nearest(*codes[1:4]), 4
    return None, 0


def _of_256(number: int) -> int | None:
    if number < _CUBE:
        return number
    if number >= _GREYS:
        level = 8 + 10 * (min(number, 255) - _GREYS)
        return _nearest(level, level, level)
    red, green, blue = (number - _CUBE) // 36, (number - _CUBE) // 6 % 6, (number - _CUBE) % 6
    return _nearest(*(55 + 40 * one if one else 0 for one in (red, green, blue)))


def _nearest(red: int, green: int, blue: int) -> int:
    """The nearest of the 16 colours: by which parts are strong, and by how strong they are."""
    strongest, weakest = max(red, green, blue), min(red, green, blue)
    if strongest - weakest < 48:
        return (0, 8, 7, 15)[min(3, strongest // 64)]
    middle = (strongest + weakest) / 2
    hue = sum(bit for bit, part in ((1, red), (2, green), (4, blue)) if part > middle)
    return hue + (_BRIGHT if strongest > 192 else 0)
