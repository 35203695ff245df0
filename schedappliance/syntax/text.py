"""Bytes to text, strictly. Whatever would make lines, columns or words ambiguous is refused here, with its place."""

from __future__ import annotations

import re

from schedappliance.diagnostics import Diagnostic, Source, Span

MAX_BYTES = 16 * 1024 * 1024

_FORBIDDEN = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufeff]|\r(?!\n)")
_CURLY_QUOTES = "“”„‟‘’‚‛«»"


def decode(name: str, data: bytes) -> tuple[Source, list[Diagnostic]]:
    """The text of a file; with an error the text is what could be read and must not be used further."""
    if len(data) > MAX_BYTES:
        source = Source(name, "")
        return source, [
            Diagnostic("E108", f"the file has {len(data):,} bytes", f"at most {MAX_BYTES:,} are read; split it", source)
        ]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = data[: error.start].decode("utf-8")
        source = Source(name, text + "�")
        found = f"byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8 text"
        return source, [Diagnostic("E105", found, "save the file as UTF-8", source, Span(len(text), len(text) + 1))]
    source = Source(name, text)
    return source, [_forbidden(source, match) for match in list(_FORBIDDEN.finditer(text))[:1]]


def _forbidden(source: Source, match: re.Match[str]) -> Diagnostic:
    span = Span(match.start(), match.end())
    character = match.group()
    if character == "\ufeff":
        return Diagnostic("E106", "a byte order mark (U+FEFF)", "save the file as UTF-8 without BOM", source, span)
    if character == "\r":
        return Diagnostic("E106", "a lone carriage return", "end lines with LF or CR LF", source, span)
    if character == "\0":
        return Diagnostic("E106", "a NUL byte; this looks like a binary file", "give a text file", source, span)
    return Diagnostic("E106", f"control character U+{ord(character):04X}", "remove it", source, span)


def name_of(character: str) -> str:
    """A character as a message shows it, told apart from its look-alikes."""
    if character in _CURLY_QUOTES:
        return f"typographic quote {character}"
    if character.isprintable() and character.isascii():
        return f"`{character}`"
    return f"character U+{ord(character):04X}"
