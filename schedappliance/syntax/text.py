"""Decodes the bytes of a file: strictly UTF-8, without most control characters.

Rule: this module rejects bytes that would make lines, columns or words ambiguous, each with its place.
"""

from __future__ import annotations

import re
from itertools import islice

from schedappliance.diagnostics import Diagnostic, Source, Span

MAX_BYTES = 16 * 1024 * 1024
# The most diagnostics that are reported for one file.
MAX_FAULTS = 50

_FORBIDDEN = re.compile("[\x01-\x08\x0e-\x1f\x7f\ufeff]|\r(?!\n)")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_NOT_READABLE = re.compile(f"{_NOT_UTF8.pattern}|{_FORBIDDEN.pattern}")
# All bytes except control characters that no text has.
_HARMLESS = bytes(byte for byte in range(256) if byte in b"\t\n\v\f\r" or (byte >= 0x20 and byte != 0x7F))
_CURLY_QUOTES = "“”„‟‘’‚‛«»"


def decode(name: str, data: bytes, split: str = "split it") -> tuple[Source, list[Diagnostic]]:
    """The text of a file, and a diagnostic for each character that is not allowed in it.

    Such characters are replaced by blanks so that the rest can be checked; a text with a diagnostic must not be loaded.
    If the file is too large or binary, the text is empty. `split`: the remedy for a file that is too large.
    """
    if len(data) > MAX_BYTES:
        source = Source(name, "")
        return source, [Diagnostic("E108", f"the file has more than {MAX_BYTES:,} bytes", split, source)]
    if b"\0" in data:
        return _binary(name, data)
    if _is_readable(data):
        return Source(name, data.decode()), []
    text = data.decode("utf-8", "surrogateescape")
    readable = _NOT_READABLE.sub(" ", text)
    source = Source(name, readable)
    diagnostics = [_not_utf8(source, text, match) for match in _first_of_lines(text)]
    diagnostics += [_forbidden(source, match) for match in islice(_FORBIDDEN.finditer(text), MAX_FAULTS)]
    return source, diagnostics[:MAX_FAULTS]


def _is_readable(data: bytes) -> bool:
    """Whether a text certainly has no diagnostic.

    A search with a pattern would stop all other threads for half a second in a file of 14 MB.
    """
    if data.translate(None, _HARMLESS) or b"\xef\xbb\xbf" in data or data.count(b"\r") != data.count(b"\r\n"):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary(name: str, data: bytes) -> tuple[Source, list[Diagnostic]]:
    source = Source(name, "")
    offset = data.index(0)
    line = data.count(b"\n", 0, offset) + 1
    message = f"NUL byte in line {line}, at offset {offset}: this looks like a binary file"
    return source, [Diagnostic("E106", message, "name a text file", source)]


def _first_of_lines(text: str) -> list[re.Match[str]]:
    """The first byte of each line that is not UTF-8."""
    matches: list[re.Match[str]] = []
    end = 0
    while len(matches) < MAX_FAULTS and (match := _NOT_UTF8.search(text, end)):
        matches.append(match)
        newline = text.find("\n", match.end())
        end = newline if newline >= 0 else len(text)
    return matches


def _not_utf8(source: Source, text: str, match: re.Match[str]) -> Diagnostic:
    offset = len(text[: match.start()].encode("utf-8", "surrogateescape"))
    message = f"invalid UTF-8: byte 0x{ord(match.group()) & 0xFF:02x} at offset {offset}"
    return Diagnostic("E105", message, "save the file as UTF-8", source, Span(match.start(), match.end()))


def _forbidden(source: Source, match: re.Match[str]) -> Diagnostic:
    span = Span(match.start(), match.end())
    character = match.group()
    if character == "\ufeff":
        return Diagnostic(
            "E106",
            "unexpected byte order mark (U+FEFF)",
            "save the file as UTF-8 without a byte order mark",
            source,
            span,
        )
    if character == "\r":
        return Diagnostic("E106", "carriage return without a line feed", "end lines with LF or CR LF", source, span)
    return Diagnostic("E106", f"unexpected control character U+{ord(character):04X}", "remove it", source, span)


def name_of(character: str) -> str:
    """A character as a message shows it, so that it cannot be mistaken for a similar one."""
    if character in _CURLY_QUOTES:
        return f"typographic quote {character}"
    if character.isprintable() and character.isascii():
        return f"`{character}`"
    return f"character U+{ord(character):04X}"
