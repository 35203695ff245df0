"""Unit files of systemd: their syntax, where they lie, drop-ins, specifiers, time spans and command lines.

Rule: a file is read as systemd reads it; what systemd would take from the running machine is rejected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source, shortened
from schedappliance.importing.stanzas import NotPossible
from schedappliance.model.files import ReadFile
from schedappliance.syntax.text import decode

# A file in one of them overrides a file of the same name in those after it.
SYSTEM_DIRECTORIES = (
    *("/etc/systemd/system", "/run/systemd/system"),
    *("/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"),
)
_SECTION = re.compile(r"\[([^\[\]]+)\]")
_NAME = re.compile(r"(?P<prefix>[^/@]+)(?:@(?P<instance>[^/]*))?\.(?P<type>[a-z]+)")


@dataclass(frozen=True, slots=True)
class Directive:
    section: str
    key: str
    value: str


@dataclass(slots=True)
class Unit:
    """A unit file with its drop-ins. `name`: with its instance, such as `pg_dump@main.timer`."""

    name: str
    path: Path
    directives: list[Directive] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def values(self, section: str, key: str) -> list[str]:
        """All values of a directive that may be repeated; an empty value removes those before it."""
        values: list[str] = []
        for directive in self.directives:
            if (directive.section, directive.key) != (section, key):
                continue
            if directive.value:
                values.append(directive.value)
            else:
                values.clear()
        return values

    def value(self, section: str, key: str) -> str:
        """The last value of a directive; empty if there is none."""
        return next(
            (d.value for d in reversed(self.directives) if (d.section, d.key) == (section, key)),
            "",
        )

    def is_on(self, section: str, key: str) -> bool:
        return self.value(section, key).lower() in ("1", "yes", "y", "true", "t", "on")

    @property
    def prefix(self) -> str:
        """The name without instance and type."""
        match = _NAME.fullmatch(self.name)
        return match["prefix"] if match else self.name

    @property
    def instance(self) -> str | None:
        """The text behind `@`; None for a unit that is not an instance of a template."""
        match = _NAME.fullmatch(self.name)
        return match["instance"] if match else None


@dataclass(frozen=True, slots=True)
class Owner:
    """The user whose systemd runs units; that of the system is root. None: not known.

    `User=` of a service does not change what `%u` and `%h` mean.
    """

    user: str | None
    home: str | None
    is_system: bool = False


SYSTEM = Owner("root", "/root", is_system=True)
# The systemd of a user takes them from the environment of its user.
_SYSTEM_DIRECTORIES = {"t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc"}

# The specifiers that depend on the machine, on its user or on what runs.
_OF_MACHINE = frozenset("aAbBCdDEgGhHlLmMoqsStuUvwWyY")


def find_unit(name: str, directories: list[Path], drop_ins: list[Path], read_file: ReadFile) -> Unit:
    """A unit from the first directory that has it, with its drop-ins from directories of their own. Raises NotPossible."""
    match = _NAME.fullmatch(name)
    if not match:
        raise NotPossible(f"`{shortened(name)}` is not the name of a unit")
    template = f"{match['prefix']}@.{match['type']}" if match["instance"] else ""
    paths = (directory / file_name for file_name in filter(None, (name, template)) for directory in directories)
    path = next(filter(os.path.lexists, paths), None)
    if path is None:
        places = ", ".join(map(str, directories))
        raise NotPossible(f"cannot find {name} in {places}", "put it beside the timer")
    unit = Unit(name, path)
    for part in (path, *_drop_ins(name, template, drop_ins)):
        _read(unit, part, read_file)
    return unit


def _drop_ins(name: str, template: str, directories: list[Path]) -> list[Path]:
    """The drop-ins of a unit in the order in which they are read. If several have one name, only the first counts."""
    stem, _, kind = name.rpartition(".")
    parts = stem.split("@")[0].split("-")
    prefixes = [f"{'-'.join(parts[:count])}-.{kind}" for count in range(len(parts) - 1, 0, -1)]
    paths: dict[str, Path] = {}
    for folder in filter(None, (name, template, *prefixes, kind)):
        for directory in directories:
            for path in _listed(directory / f"{folder}.d"):
                paths.setdefault(path.name, path)
    return [paths[key] for key in sorted(paths)]


def _listed(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in sorted(os.listdir(directory)) if name.endswith(".conf")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise NotPossible(f"cannot read {directory}: {error.strerror}") from None


def _read(unit: Unit, path: Path, read_file: ReadFile) -> None:
    if os.path.realpath(path) == os.devnull:
        if path == unit.path:
            raise NotPossible(f"{path} is masked", "systemd does not start it either")
        return
    try:
        data = read_file(path)
    except OSError as error:
        raise NotPossible(f"cannot read {path}: {error.strerror}") from None
    source, diagnostics = decode(str(path), data)
    unit.diagnostics += diagnostics
    unit.directives += _directives(source)


def _directives(source: Source) -> Iterator[Directive]:
    section, joined = "", ""
    for line in source.text.split("\n"):
        stripped = line.strip(" \t\r")
        # A comment between continued lines does not end them.
        if stripped.startswith(("#", ";")) or (not stripped and not joined):
            continue
        if stripped.endswith("\\"):
            joined += f"{stripped[:-1]} "
            continue
        stripped, joined = (joined + stripped).strip(), ""
        if match := _SECTION.fullmatch(stripped):
            section = match.group(1)
            continue
        key, equals, value = stripped.partition("=")
        if equals:
            yield Directive(section, key.strip(), value.strip())


def unescaped(text: str) -> str:
    """A name as it was before `systemd-escape`."""
    raw = text.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), raw)


def with_specifiers(text: str, unit: Unit, owner: Owner) -> str:
    """A value with its specifiers replaced. Raises NotPossible for one that depends on the running machine."""
    if "%" not in text:
        return text
    stem = unit.name.rpartition(".")[0]
    instance = unit.instance or ""
    values = {
        "%": "%",
        "n": unit.name,
        "N": stem,
        "p": unit.prefix,
        "P": unescaped(unit.prefix),
        "i": instance,
        "I": unescaped(instance),
        "f": f"/{unescaped(instance or unit.prefix).lstrip('/')}",
        "j": unit.prefix.rpartition("-")[2],
        "J": unescaped(unit.prefix.rpartition("-")[2]),
        "T": "/tmp",
        "V": "/var/tmp",
        **({"u": owner.user} if owner.user else {}),
        **({"h": owner.home} if owner.home else {}),
        **(_SYSTEM_DIRECTORIES if owner.is_system else {}),
    }

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            if match[1] not in _OF_MACHINE:
                raise NotPossible(f"systemd knows no specifier `{match[0]}`", "write `%%` for `%`")
            raise NotPossible(f"the specifier `{match[0]}` depends on the machine", "write its value in a drop-in")
        return values[match[1]]

    return re.sub(r"%(.?)", value, text)


def described(text: str, unit: Unit, owner: Owner) -> str:
    """A text for people with its specifiers replaced, as far as that is possible."""
    try:
        return with_specifiers(text, unit, owner)
    except NotPossible:
        return text


_UNITS_US = {
    **dict.fromkeys(("us", "usec", "µs", "μs"), 1),
    **dict.fromkeys(("ms", "msec"), 1000),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400_000_000),
    **dict.fromkeys(("M", "month", "months"), 2_629_800_000_000),
    **dict.fromkeys(("y", "year", "years"), 31_557_600_000_000),
}
_PART = re.compile(r"\s*(\d{1,15})(?:\.(\d{1,6})\d*)?\s*([a-zA-Zµμ]*)\s*", re.ASCII)


def time_span(text: str) -> int | None:
    """Milliseconds of `1h 30min`, `90` or `2 days`; None for `infinity`. Raises NotPossible."""
    if text == "infinity":
        return None
    microseconds = position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if not match or match[3] not in _UNITS_US:
            raise NotPossible(f"invalid time span `{shortened(text)}`", "write it as `1h 30min`")
        unit = _UNITS_US[match[3]]
        microseconds += int(match[1]) * unit + int((match[2] or "").ljust(6, "0")) * unit // 1_000_000
        position = match.end()
    if not text:
        raise NotPossible("the time span is empty", "write it as `1h 30min`")
    return microseconds // 1000


_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_CODE = re.compile(r"\\x([0-9a-fA-F]{2})|\\([0-7]{3})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})")


def command_words(line: str) -> list[str]:
    """The words of `Environment=` and similar directives, without quotes and escapes. Raises NotPossible."""
    return [word for words in commands(line) for word in words]


def commands(line: str) -> list[list[str]]:
    """The words of each command of a line; a word `;` without quotes and escapes separates them. Raises NotPossible."""
    lines: list[list[str]] = [[]]
    # None between words; an empty list in a word that is empty so far, as in `""`.
    pieces: list[str] | None = None
    quote, index, is_plain = "", 0, True
    while index < len(line):
        character = line[index]
        if not quote and character in " \t":
            _end_word(lines, pieces, is_plain)
            pieces, is_plain = None, True
            index += 1
            continue
        pieces = pieces if pieces is not None else []
        if character == "\\":
            piece, index = _escape(line, index)
            pieces.append(piece)
            is_plain = False
            continue
        if character == quote or (not quote and character in "\"'"):
            quote, is_plain = "" if quote else character, False
        else:
            pieces.append(character)
        index += 1
    if quote:
        raise NotPossible(f"the quote {quote} is not closed in `{shortened(line)}`", "close it")
    _end_word(lines, pieces, is_plain)
    return [words for words in lines if words]


def _end_word(lines: list[list[str]], pieces: list[str] | None, is_plain: bool) -> None:
    if pieces == [";"] and is_plain:
        lines.append([])
    elif pieces is not None:
        lines[-1].append("".join(pieces))


def _escape(line: str, index: int) -> tuple[str, int]:
    """The text of an escape, and the index behind it."""
    if match := _CODE.match(line, index):
        code, base = next((group, 8 if n == 1 else 16) for n, group in enumerate(match.groups()) if group)
        number = int(code, base)
        if not 0 < number <= 0x10FFFF:
            raise NotPossible(f"invalid escape `{match[0]}`", "write another character")
        return chr(number), match.end()
    following = line[index + 1 : index + 2]
    if following in ("\\", '"', "'", ";"):
        return following, index + 2
    if following in _ESCAPES:
        return _ESCAPES[following], index + 2
    # systemd warns, and takes the backslash as it is.
    return "\\" + following, index + 2
