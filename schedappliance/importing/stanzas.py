"""The stanzas that stand for a crontab, a timer or an at job, with comments, and their text.

Rule: the stanza parser reads every written value back as the same value.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from schedappliance.diagnostics import Diagnostic, InvalidValue, counted
from schedappliance.model.options import STANZAS
from schedappliance.syntax.printer import quoted, word
from schedappliance.syntax.stanza import parse_value
from schedappliance.visible import visible

_LONGEST_NAME = 60
_WIDTH = 118
_NOT_IN_FILES = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff]")
_OPEN_ENDS = (" ", "\t", "=", "(", "[", ",")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._@-]+")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user of `import` decides. `zone`: that of calendars without one. `user`: the owner of the input.

    `home_of` and `is_directory` ask this machine.
    """

    zone: str = "local"
    user: str | None = None
    home_of: Callable[[str], str | None] = lambda _user: None
    is_directory: Callable[[str], bool] = lambda _path: True


@dataclass(slots=True)
class Job:
    """One `job` stanza. `options`: their values as the stanza file writes them, in this order.

    `variables`: the environment of its program. `runs`: the job whose program it runs, if it declares none itself.
    """

    name: str
    options: dict[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    runs: Job | None = None


@dataclass(slots=True)
class Entry:
    """One line of a crontab, one timer or one at job.

    `notes`: how its jobs differ from it. `tips`: how the stanza language says the same better. `failure`: why it has no
    jobs, and a remedy.
    """

    place: str
    comments: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)
    failure: str = ""


@dataclass(slots=True)
class Imported:
    """One input.

    `title`: what it was read as, if that needs to be said. `differences`: those of all inputs of its kind. `notes`: those that
    several of its entries share.
    """

    title: str
    differences: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)


class NotPossible(Exception):
    """Something that no stanza can express, or that cannot be read. Its text is cause and remedy on one line."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__("; ".join(filter(None, (message, remedy))))


def text(value: str) -> str:
    """A value that is not a template, such as a schedule. Raises NotPossible for what no stanza file can hold."""
    if character := _NOT_IN_FILES.search(value):
        message = f"a value contains the character U+{ord(character[0]):04X}, which no stanza file may contain"
        raise NotPossible(message, "put the command into a script")
    newline, last_line = value.rpartition("\n")[1:]
    # A quote behind such a line would not close a text of several lines.
    if newline and last_line.strip() and last_line.endswith(_OPEN_ENDS):
        raise NotPossible(
            "the last line of a text ends with a blank or with `=`, `(`, `[` or `,`", "end it with a newline"
        )
    return quoted(value)


def template(value: str) -> str:
    """A text that a program receives word for word, although the option takes templates."""
    return text(value.replace("%{", "%%{"))


def argv(words: Iterable[str]) -> str:
    return f"( {' '.join(map(template, words))} )"


def one_or_list(values: list[str]) -> str:
    return text(values[0]) if len(values) == 1 else f"( {' '.join(map(text, values))} )"


def environment(variables: Mapping[str, str]) -> str:
    return f"[ {' '.join(f'{word(name)} = {template(value)}' for name, value in variables.items())} ]"


def zone(name: str) -> str:
    return name if name in ("local", "UTC") else text(name)


def check_options(entry: Entry) -> None:
    """Removes the jobs of an entry, and says why, if an option or a variable of one of them cannot be written."""
    for job in entry.jobs:
        try:
            environment(job.variables)
            for name, value in job.options.items():
                _check_option(name, value)
        except NotPossible as mistake:
            entry.failure = str(mistake)
            entry.jobs = []
            return


@lru_cache(maxsize=1024)
def _check_option(name: str, written_value: str) -> None:
    """Raises NotPossible for a value that the option rejects."""
    spec, value = STANZAS["job"].options.get(name), parse_value(written_value)
    if spec and value:
        try:
            spec.read(value)
        except InvalidValue as invalid:
            raise NotPossible(f"`{name}` cannot be written: {invalid}") from None


def give_unique_names(inputs: Iterable[Imported]) -> None:
    """Gives each job a name that can be typed after `run`, with a number behind a name that is already in use."""
    names: set[str] = set()
    numbers: dict[str, int] = {}
    for job in (job for imported in inputs for entry in imported.entries for job in entry.jobs):
        base = _NOT_IN_NAMES.sub("-", job.name).strip("-.")[:_LONGEST_NAME] or "job"
        # A word that begins with `-` or `@` could be read as something else by people and programs.
        base = base.lstrip("@-.") or "job"
        name = base
        while name.casefold() in names:
            # Where the search ended for the last job of this name.
            numbers[base] = numbers.get(base, 1) + 1
            name = f"{base}-{numbers[base]}"
        names.add(name.casefold())
        job.name = name


def take_common_variables(inputs: Iterable[Imported]) -> dict[str, str]:
    """Removes the variables that all programs have with the same value from the jobs, and returns them."""
    entries = (entry for imported in inputs for entry in imported.entries)
    jobs = [job for entry in entries for job in entry.jobs if not job.runs]
    first = jobs[0].variables if jobs else {}
    common = {n: v for n, v in first.items() if all(job.variables.get(n) == v for job in jobs)}
    for job in jobs:
        job.variables = {n: v for n, v in job.variables.items() if n not in common}
    return common


def written(inputs: Iterable[Imported], defaults: Mapping[str, str] = MappingProxyType({})) -> str:
    """The text of all stanzas, which begins with what holds for all of them; empty if nothing was read.

    `defaults`: variables of all programs.
    """
    inputs = [imported for imported in inputs if imported.entries]
    if not inputs:
        return ""
    differences = dict.fromkeys(one for imported in inputs for one in imported.differences)
    blocks = ["# Written by `schedappliance import`. For all jobs:"]
    blocks[0] = "\n".join([blocks[0], *(line for one in differences for line in _comment(one, "- "))])
    if defaults:
        warning = "# They apply to every program and job that does not set them itself, also in other files."
        blocks.append(f"{warning}\ndefaults {{\n  env = {environment(defaults)}\n}}")
    for imported in inputs:
        head = _comment(imported.title) if imported.title else []
        head += [line for note in imported.notes for line in _comment(f"note: {note}")]
        shared = _shared_notes(imported.entries)
        head += [line for note in shared for line in _comment(f"note for all jobs of this file: {note}")]
        blocks += ["\n".join(head)] if head else []
        blocks += (_entry(entry, shared) for entry in imported.entries)
    return "\n\n".join(blocks) + "\n"


def summary(inputs: Iterable[Imported], noun: str) -> str:
    """`25 lines: 20 exact, 4 with notes, 1 not possible`."""
    entries = [entry for imported in inputs for entry in imported.entries]
    notes = sum(len(imported.notes) for imported in inputs)
    failed = sum(bool(entry.failure) for entry in entries)
    noted = sum(bool(entry.notes) and not entry.failure for entry in entries)
    exact = len(entries) - failed - noted
    line = f"{counted(len(entries), noun)}: {exact} exact, {noted} with notes, {failed} not possible"
    return f"{line}; {counted(notes, 'note')} at the top" if notes else line


def _shared_notes(entries: Sequence[Entry]) -> list[str]:
    """The notes that all jobs of a file have: above each of 25 jobs, they hide those of single jobs."""
    notes = [entry.notes for entry in entries if entry.jobs]
    return [note for note in notes[0] if all(note in others for others in notes)] if len(notes) > 2 else []


def _entry(entry: Entry, shared: Sequence[str]) -> str:
    lines = _comment(entry.place)
    for comment in entry.comments:
        lines += _comment(comment)
    for note in entry.notes:
        lines += _comment(f"note: {note}") if entry.failure or note not in shared else []
    for tip in entry.tips:
        lines += _comment(f"tip: {tip}")
    if entry.failure:
        return "\n".join([*lines, *_comment(f"not possible: {entry.failure}")])
    return "\n".join([*lines, *map(_job, entry.jobs)])


def _job(job: Job) -> str:
    options = dict(job.options)
    if job.runs:
        options["command"] = quoted(f"run {job.runs.name}")
    if job.variables:
        # The arguments stay last, since they are long.
        arguments = options.pop("argv")
        options |= {"env": environment(job.variables), "argv": arguments}
    lines = [f"  {name} = {value}" for name, value in options.items()]
    return "\n".join([f"job {quoted(job.name)} {{", *lines, "}"])


def _comment(comment: str, mark: str = "") -> list[str]:
    """Lines of a comment. A word that is longer than a line stays whole."""
    lines = textwrap.wrap(
        visible(comment),
        _WIDTH,
        initial_indent=f"# {mark}",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or ["#"]
