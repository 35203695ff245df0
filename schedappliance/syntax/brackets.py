"""Finds what was opened and never closed: brackets, strings, comments. Runs only when the parser has refused a file."""

from __future__ import annotations

import re

from schedappliance.diagnostics import Diagnostic, Related, Source, Span

_PAIRS = {"{": "}", "<": ">", "(": ")", "[": "]"}

_PIECES = re.compile(
    r"""(?P<comment>\#[^\r\n]*|/\*(?:[^*]|\*(?!/))*\*/)
      | (?P<open_comment>/\*)
      | (?P<string>"(?:[^"\\\r\n]|\\[^\r\n])*"|'[^'\r\n]*'
        |"(?:[^"\\]|\\[\s\S])*(?<![=(\[,\s])"(?![!$%&*+\-./0-9:?@A-Z\\^_a-z|~"]))
      | (?P<open_string>["'])
      | (?P<regex>/(?![/*\ ])(?:[^/\\\r\n]|\\[^\r\n])+/(?=\s*[{<]))
      | (?P<opening>[{<(\[])
      | (?P<closing>[}>)\]])
      | (?P<other>[^\s"'\#/{}<>()\[\]]+|\s+|/)""",
    re.VERBOSE,
)


def find_unbalanced(source: Source) -> Diagnostic | None:
    """The first string, comment or bracket of a file that is not closed, or is closed by the wrong bracket."""
    stack: list[re.Match[str]] = []
    for piece in _PIECES.finditer(source.text):
        kind = piece.lastgroup
        if kind == "open_comment":
            return Diagnostic("E107", "this comment is not closed", "end it with `*/`", source, _span(piece))
        if kind == "open_string":
            remedy = f"add the closing `{piece.group()}`"
            return Diagnostic("E103", "this string is not closed", remedy, source, _span(piece))
        if kind == "opening":
            stack.append(piece)
        elif kind == "closing":
            if not stack:
                found = f"`{piece.group()}` closes nothing"
                return Diagnostic("E104", found, "remove it, or open the stanza", source, _span(piece))
            if _PAIRS[stack[-1].group()] != piece.group():
                return _wrong_closing(source, stack[-1], piece)
            stack.pop()
    if stack:
        opening = stack[-1]
        wanted = _PAIRS[opening.group()]
        return Diagnostic("E102", f"`{opening.group()}` is not closed", f"add `{wanted}`", source, _span(opening))
    return None


def _span(piece: re.Match[str]) -> Span:
    return Span(piece.start(), piece.end())


def _wrong_closing(source: Source, opening: re.Match[str], closing: re.Match[str]) -> Diagnostic:
    wanted = _PAIRS[opening.group()]
    return Diagnostic(
        "E104",
        f"`{closing.group()}` does not close `{opening.group()}`",
        f"write `{wanted}`, or close what was opened in between",
        source,
        _span(closing),
        (Related(source, _span(opening), "opened here"),),
    )
