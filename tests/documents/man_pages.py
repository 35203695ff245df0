"""The man pages: `python -m tests.documents.man_pages` writes them to share/man.

Rule: nothing is said here that the command line and docs/stanza-file.md do not say, so that the pages cannot drift from
them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from schedappliance.cli import main
from schedappliance.cli.arguments import parser_of
from schedappliance.client.places import DEFAULTS, VARIABLE
from schedappliance.model.commands import FORMS
from tests.support.documents import CHECKOUT, DOCS

FOLDER = CHECKOUT / "share" / "man"
DOCUMENTATION = "https://github.com/schedappliance/schedappliance/blob/main/docs/README.md"
BULLET = "\\(bu"
_LINK, _ITEM = re.compile(r"\[([^\]]*)\]\([^)]*\)"), re.compile(r"(-|\d+\.) ")
# Code with one or two backticks, or emphasis.
_BOLD = re.compile(r"`` ?(.+?) ?``|`([^`]+)`|\*{1,2}([^*`]+)\*{1,2}")
_CELL_END = re.compile(r"(?<!\\)\|")


def pages() -> dict[Path, str]:
    """The text of each page, by its path below share/man."""
    return {
        Path("man1/schedappliance.1"): "".join(f"{line}\n" for line in _command_line()),
        Path("man5/sched.conf.5"): "".join(f"{line}\n" for line in _stanza_file()),
    }


def _head(name: str, section: int, summary: str) -> Iterator[str]:
    yield f'.TH "{name}" "{section}" "" "schedappliance"'
    yield from (".nh", ".ad l", ".SH NAME", f"{name} \\- {summary}")


def _foot(other: str) -> Iterator[str]:
    yield from (".SH SEE ALSO", ".PP", f"\\fB{other}\\fR", ".PP", _plain(DOCUMENTATION))


# The command line


def _command_line() -> Iterator[str]:
    yield from _head("schedappliance", 1, "run a job scheduler, and give commands to it")
    yield from (".SH SYNOPSIS", ".PP", "\\fBschedappliance\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]")
    yield from (".SH DESCRIPTION", ".PP", _inline(main.DESCRIPTION))
    yield from (".SH COMMANDS",)
    for name, summary in main.SUBCOMMANDS.items():
        yield from (f".SS {name}", ".PP", f"{_inline(summary[0].upper() + summary[1:])}.")
        yield from _parser(_parser_of(name))
    yield from (".SH CONSOLE COMMANDS", ".PP", _inline("`schedappliance console COMMAND` sends one of these commands:"))
    for form in FORMS.values():
        yield from (".TP", f"\\fB{_plain(form.usage)}\\fR", _inline(form.help))
    yield from (".SH FILES", ".PP", "The appliance file is the first of these that exists:")
    for place in (f"${VARIABLE}", *DEFAULTS):
        yield from (".IP \\(bu 2", f"\\fB{_plain(place)}\\fR")
    yield from _foot("sched.conf(5)")


def _parser_of(name: str) -> argparse.ArgumentParser:
    if name not in main.SHORT:
        return parser_of(import_module(f"schedappliance.cli.{name}").parse)
    console = import_module("schedappliance.cli.console")
    return parser_of(lambda words: console.parse(words, name, main.SHORT[name].split()))


def _parser(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The usage, the description, the arguments and the exit statuses of a subcommand."""
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    yield from (".PP", " ".join([f"\\fB{_plain(parser.prog)}\\fR", *map(_in_usage, actions)]))
    yield from _blocks(parser.description or "")
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _parser(below)
        else:
            yield from (".TP", _heading(action), _inline(_help(parser, action)))
    if parser.epilog:
        yield from (".PP", "Exit status:")
        for match in re.finditer(r"^  (\d+) +(.+(?:\n {7}.+)*)", parser.epilog, re.MULTILINE):
            yield from (f".IP {match[1]} 5", _inline(" ".join(match[2].split())))


def _in_usage(action: argparse.Action) -> str:
    if action.option_strings:
        return _heading(action) if action.required else f"[{_heading(action)}]"
    name = _value(action)
    forms = {None: name, "+": f"{name}...", "?": f"[{name}]", argparse.PARSER: f"{name} ..."}
    return forms.get(action.nargs, f"[{name}...]") if isinstance(action.nargs, str | None) else name


def _heading(action: argparse.Action) -> str:
    names = ", ".join(f"\\fB{_plain(name)}\\fR" for name in action.option_strings)
    if action.nargs == 0:
        return names
    value = f"[{_value(action)}]" if action.nargs == "?" and names else _value(action)
    return f"{names} {value}".strip()


def _value(action: argparse.Action) -> str:
    return f"\\fI{_plain(str(action.metavar or '|'.join(action.choices or [action.dest])))}\\fR"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": parser.prog}


# The documents


def _stanza_file() -> Iterator[str]:
    yield from _head("sched.conf", 5, "programs, jobs, roles and settings of schedappliance")
    yield ".SH DESCRIPTION"
    _, _, text = (DOCS / "stanza-file.md").read_text(encoding="utf-8").partition("\n")
    yield from _blocks(text)
    yield from _foot("schedappliance(1)")


def _blocks(text: str) -> Iterator[str]:
    """Markdown as the documents use it: headings, paragraphs, lists, tables, and blocks of code."""
    lines = text.split("\n")
    while lines:
        line = lines.pop(0)
        if line.startswith("```"):
            yield from _verbatim(_taken(lines, lambda next_line: next_line != "```"))
            lines.pop(0)
        elif line.startswith("#"):
            level, _, heading = line.partition(" ")
            heading = re.sub("[`*]", "", heading)
            yield f'.SH "{_plain(heading.upper())}"' if level == "##" else f'.SS "{_plain(heading)}"'
        elif line.startswith("|"):
            yield from _table([line, *_taken(lines, lambda next_line: next_line.startswith("|"))])
        elif line.startswith("  "):
            yield from _verbatim([line, *_taken(lines, lambda next_line: next_line.startswith("  "))])
        elif _ITEM.match(line):
            # A list of links is the table of contents.
            item = [line, *_taken(lines, lambda next_line: bool(next_line) and not _ITEM.match(next_line))]
            if not line.startswith("- ["):
                mark, _, rest = " ".join(item).partition(" ")
                yield from (f".IP {mark.replace('-', BULLET)} 3", _inline(rest))
        elif line:
            others = _taken(lines, lambda next_line: bool(next_line) and not next_line.startswith(("  ", "|", "```")))
            yield from (".PP", _inline(" ".join([line, *others])))


def _taken(lines: list[str], belongs: Callable[[str], bool]) -> list[str]:
    """Removes the lines at the beginning that belong to a block, and returns them."""
    count = next((number for number, line in enumerate(lines) if not belongs(line)), len(lines))
    taken, lines[:] = lines[:count], lines[count:]
    return taken


def _verbatim(lines: list[str]) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".nf", *map(_plain, lines), ".fi", ".RE")


def _table(rows: list[str]) -> Iterator[str]:
    """Each row as an entry: its first cell, then the others, the third one with the head of its column."""
    head, _, *cells = ([cell.strip().replace("\\|", "|") for cell in _CELL_END.split(row)[1:-1]] for row in rows)
    for name, meaning, *more in cells:
        texts = [meaning, *(f"{title}: {cell}." for title, cell in zip(head[2:], more, strict=True) if cell)]
        yield from (".TP", _inline(name), _inline(" ".join(texts)))


def _inline(text: str) -> str:
    """A text with its code and its emphasis in bold. A link is its text: pages have no links."""
    text, marked, end = _LINK.sub(r"\1", text), "", 0
    for match in _BOLD.finditer(text):
        marked += f"{_plain(text[end : match.start()])}\\fB{_plain(match[match.lastindex or 0])}\\fR"
        end = match.end()
    return _line(marked + _plain(text[end:]))


def _plain(text: str) -> str:
    """A text as roff takes it: a backslash and a hyphen of a command stay what they are."""
    return _line(text.replace("\\", "\\e").replace("-", "\\-"))


def _line(text: str) -> str:
    """A line that begins like a request of roff is text."""
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    for path, text in pages().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")
