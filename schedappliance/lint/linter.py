"""Checks files for `lint`: paths in, diagnostics out.

Rule: the linter reads files with the code of the appliance, and imports no engine, store or edge.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span, as_argument, counted, has_errors
from schedappliance.lint.calendars import CalendarDoubts
from schedappliance.model.appliance_file import SPOOL_FOLDERS, ApplianceFile, read_appliance_file
from schedappliance.model.appliance_paths import appliance_mistake
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.command_file import (
    SPLIT_DROP,
    command_lines,
    cost_of,
    read_drop_line,
    token_mistakes,
    too_costly,
    wrong_number,
)
from schedappliance.model.commands import ReadCommand
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import DISK, ReadFile, read_regular, real_path
from schedappliance.model.ignores import apply_ignores
from schedappliance.model.loading import BY_LINTER, Loaded, load
from schedappliance.model.references import MOST_SUGGESTIONS, command_mistakes
from schedappliance.syntax.text import decode

APPLIANCE_FILE = "appliance.yaml"
# The name of a directory for systemd's own files, whose names may also end with `.conf`.
SYSTEMD = "systemd"
PROGRESS_LINES = 5000

# Checked only if the whole configuration is known.
_REFERENCES = frozenset({"E301", "E302", "E310", "E311", "E312", "W402", "W404", "W428", "W429"})
# A file that cannot be parsed, or is checked by itself, is not checked for these. An ignore of them may still be needed.
_CHECKED_LAST = _REFERENCES | {"W403", "W406", "W407", "W422"} | BY_LINTER


@dataclass(slots=True)
class Linter:
    """Checks files one by one. References are checked with the appliance file `config`, or the nearest `appliance.yaml`.

    `now_ms`: the present, from which the next due times of calendars are judged; None: they are not judged.
    `notes`: the files whose references were not checked, and why. `unreadable`: the files that could not be read.
    `_closed`: the directories that could not be read, and why.
    """

    config: Path | None = None
    read_file: ReadFile = read_regular
    progress: Callable[[str, int], None] = lambda _name, _line: None
    now_ms: int | None = None
    notes: list[str] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    _appliances: dict[Path, tuple[ApplianceFile, Loaded] | None] = field(default_factory=dict)
    _closed: dict[Path, str] = field(default_factory=dict)

    def files_of(self, path: Path) -> list[Path]:
        """The files that a path stands for, and the directories below it that cannot be read.

        Those in a spool below it are left out, with a note: they are drops, which the appliance has judged itself, and no part
        of what people maintain.
        """
        if not DISK.is_dir(path):
            return [path]
        files, of_systemd, closed = content_of(path)
        self.notes += [f"{folder}: not checked: its files are for systemd" for folder in of_systemd]
        appliances = [file for file in files if file.name == APPLIANCE_FILE]
        spools = self._spools([self.config, _nearest(path / APPLIANCE_FILE), *appliances], real_path(path))
        folders = {*closed, *(file.parent for file in files)} if spools else ()
        left_out = {folder: _spool_above(folder, spools) for folder in folders}
        left_out |= {folder: folder for folder in closed if real_path(folder) in spools}
        for spool in sorted({spool for spool in left_out.values() if spool}):
            self.notes.append(f"{spool}: drops are not checked: it is the spool of {spools[real_path(spool)]}")
        unread = {folder: why for folder, why in closed.items() if not left_out.get(folder)}
        self._closed |= unread
        return sorted([*unread, *(file for file in files if not left_out.get(file.parent))])

    def _spools(self, names: Iterable[Path | None], above: Path) -> dict[Path, Path]:
        """The spools of appliance files that are below a directory, each with its appliance file."""
        spools: dict[Path, Path] = {}
        for name in names:
            appliance = read_appliance_file(name, self.read_file)[0] if name else None
            if name and appliance and appliance.spool:
                spool = real_path(appliance.spool)
                if spool != above and spool.is_relative_to(above):
                    spools.setdefault(spool, name)
        return spools

    def lint(self, path: Path) -> list[Diagnostic]:
        """Every diagnostic for a path of `files_of`. The suffix of its name determines the language."""
        if path in self._closed:
            self.unreadable.append(path)
            message, remedy = f"cannot read the directory `{path}`: {self._closed[path]}", "name the files to check"
            return [Diagnostic("E307", message, remedy, Source(str(path), ""))]
        if path.suffix == ".cmd":
            return self._command_file(path)
        if path.suffix in (".yaml", ".yml"):
            return self._appliance_file(path)
        own, notes = self._source_of(path), len(self.notes)
        diagnostics = self._stanza_file(path)
        mistake = _of_another_program(path, own, diagnostics)
        if mistake or not own:
            # It holds no references that could be checked.
            del self.notes[notes:]
        return [mistake] if mistake else diagnostics

    def _appliance_file(self, path: Path) -> list[Diagnostic]:
        own = self._source_of(path)
        appliance, diagnostics = read_appliance_file(path, self.read_file)
        if appliance is None:
            return apply_ignores(diagnostics, own)
        loaded = self._load(appliance.config)
        mistake = appliance_mistake(appliance, loaded) if loaded.accepted else None
        diagnostics += loaded.diagnostics + ([mistake] if mistake else [])
        return apply_ignores(diagnostics, [*own, *loaded.closure.texts.values()], _checked(loaded.accepted))

    def _stanza_file(self, path: Path) -> list[Diagnostic]:
        """A file that an appliance reads is checked as a part of its configuration, any other file by itself."""
        loaded = self._configuration_with(path)
        if loaded is None:
            loaded = self._load(path, is_whole=False)
            self._note_due_times(path, loaded.configuration)
            diagnostics = [d for d in loaded.diagnostics if d.code not in _REFERENCES]
            return apply_ignores(diagnostics, loaded.closure.texts.values(), _checked(False))
        diagnostics, sources = loaded.diagnostics, list(loaded.closure.texts.values())
        is_root = _same(loaded.closure.root, path)
        if not loaded.is_parsed:
            self._note(path, f"{'it' if is_root else loaded.closure.root} has syntax errors")
        if not is_root:
            diagnostics = [d for d in diagnostics if _same(Path(d.source.name), path)]
            sources = [source for name, source in loaded.closure.texts.items() if _same(name, path)]
        # A warning can be missing because of an error.
        return apply_ignores(diagnostics, sources, _checked(loaded.is_parsed and not loaded.configuration.faulty))

    def _command_file(self, path: Path) -> list[Diagnostic]:
        try:
            data = self.read_file(path)
        except OSError as error:
            self.unreadable.append(path)
            remedy = "name a file that exists and can be read"
            return [Diagnostic("E307", f"cannot read `{path}`: {error.strerror}", remedy, Source(str(path), ""))]
        source, diagnostics = decode(str(path), data, SPLIT_DROP)
        configuration = self._configuration_for(path)
        if source.text or not diagnostics:
            diagnostics += lint_commands(source, configuration, self.progress)
        return apply_ignores(diagnostics, [source], _checked(configuration is not None))

    def _load(self, root: Path, *, is_whole: bool = True) -> Loaded:
        """A configuration, with the doubts about its calendars."""
        loaded = load(root, self.read_file, is_whole=is_whole)
        if self.now_ms is not None:
            doubts = CalendarDoubts(loaded.configuration, Zones(this_machine()), self.now_ms)
            loaded.diagnostics = list(dict.fromkeys([*loaded.diagnostics, *doubts]))
        return loaded

    def _source_of(self, path: Path) -> list[Source]:
        """The text of a file, for its comments; nothing if the file cannot be read."""
        try:
            return [decode(str(path), self.read_file(path))[0]]
        except OSError:
            self.unreadable.append(path)
            return []

    def _configuration_with(self, path: Path) -> Loaded | None:
        """The configuration that a stanza file is a part of; None, with a note, if there is none."""
        appliance = self._appliance(path)
        if appliance is None:
            return None
        file, loaded = appliance
        if any(_same(name, path) for name in (loaded.closure.root, *loaded.closure.texts)):
            return loaded
        self._note(path, f"{file.config} does not include it")
        return None

    def _configuration_for(self, path: Path) -> Configuration | None:
        """The configuration with which a command file is checked; None, with a note, if there is none."""
        appliance = self._appliance(path)
        if appliance is None:
            return None
        file, loaded = appliance
        if loaded.is_parsed:
            return loaded.configuration
        self._note(path, f"{file.config} has syntax errors")
        return None

    def _appliance(self, path: Path) -> tuple[ApplianceFile, Loaded] | None:
        """The appliance file that a file belongs to, with its configuration; None, with a note, if there is none."""
        name = self.config or _nearest(path)
        if name is None:
            self._note(path, f"no {APPLIANCE_FILE} in its directory or above")
            return None
        if name not in self._appliances:
            file, _ = read_appliance_file(name, self.read_file)
            self._appliances[name] = (file, self._load(file.config)) if file else None
        if self._appliances[name] is None:
            self._note(path, f"{name} has errors")
        return self._appliances[name]

    def _note_due_times(self, path: Path, configuration: Configuration) -> None:
        """Notes that jobs of a file are not judged, because their zone or their days may stand in another one."""
        calendars = CalendarDoubts(configuration, Zones(this_machine()), 0)
        rules = [job.schedule for job in configuration.jobs.values() if isinstance(job.schedule, CalendarRule)]
        if unknown := sum(not calendars.is_complete(rule) for rule in rules):
            reason = "the file lacks their zone or their `days`"
            self.notes.append(f"{path}: due times of {counted(unknown, 'job')} are not checked: {reason}")

    def _note(self, path: Path, reason: str) -> None:
        self.notes.append(f"{path}: references are not checked: {reason}")


def _of_another_program(path: Path, own: list[Source], diagnostics: list[Diagnostic]) -> Diagnostic | None:
    """The only diagnostic for a crontab, a unit or an at job: those of its lines would say nothing."""
    if not own or not has_errors(diagnostics):
        return None
    # Only a file with an error needs this module.
    from schedappliance.importing.inputs import kind_of

    kind = kind_of(path, own[0].text)
    if kind is None:
        return None
    remedy = f"`schedappliance import {kind.argument} {as_argument(path)}` prints its jobs as stanzas"
    # A drop-in is `NAME.timer.d/X.conf`.
    unit = path.parent.with_suffix("") if (path.parent.suffix, path.suffix) == (".d", ".conf") else path
    if kind.argument == "timer" and unit.with_suffix(".timer") != path:
        timer = unit.with_suffix(".timer")
        remedy = f"`schedappliance import timer {as_argument(timer)}` prints the timer, its service and its drop-ins as stanzas"
    return Diagnostic("E118", f"this is {kind.name} and not a stanza file", remedy, own[0], kind.span)


def _checked(references: bool) -> Callable[[str], bool]:
    """Whether a code was checked. `references`: whether references were checked."""
    return lambda code: references or code not in _CHECKED_LAST


def _same(one: Path, other: Path) -> bool:
    return real_path(one) == real_path(other)


def distinct(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Each diagnostic once. Two paths to one file count as one, unless their suffixes make them two languages."""
    places: dict[str, Path] = {}
    unique: dict[tuple[object, ...], Diagnostic] = {}
    for one in diagnostics:
        name = one.source.name
        if name not in places:
            places[name] = real_path(name)
        unique.setdefault((places[name], Path(name).suffix, one.place(), one.code, one.message), one)
    return list(unique.values())


def lint_commands(
    source: Source,
    configuration: Configuration | None,
    progress: Callable[[str, int], None] = lambda _name, _line: None,
) -> Iterator[Diagnostic]:
    """Every diagnostic for the text of a command file; without a configuration, references are not checked."""
    count = number = costly = 0
    yield from token_mistakes(source)
    for count, (offset, line) in enumerate(command_lines(source), 1):
        if count % PROGRESS_LINES == 0:
            progress(source.name, count)
        read = read_drop_line(line)
        costly += cost_of(read.command) if read.command is not None else 0
        for diagnostic in lint_line(read, line, configuration, number < MOST_SUGGESTIONS):
            number += 1
            yield diagnostic.moved(source, partial(Span.shifted, by=offset))
    if wrong := wrong_number(source, count) or too_costly(source, costly):
        yield wrong


def lint_line(read: ReadCommand, line: str, configuration: Configuration | None, suggest: bool) -> Iterator[Diagnostic]:
    """Every diagnostic for one line of a command file, with places in the line."""
    yield from read.diagnostics
    if read.tree is not None and configuration is not None:
        yield from command_mistakes(read.tree, Source.of_command(line), configuration, suggest)


class Content(NamedTuple):
    """What a directory holds for the linter, sorted.

    `files`: its *.conf, *.cmd and appliance.yaml at any depth. `of_systemd`: the directories of systemd. `closed`: the directories
    that cannot be read, and why.
    """

    files: list[Path]
    of_systemd: list[Path]
    closed: dict[Path, str]


def content_of(directory: Path) -> Content:
    """The content of a directory without dot files, dot directories and what is in those of systemd. Raises OSError if it is closed."""
    os.scandir(directory).close()
    content, errors = Content([], [], {}), list[OSError]()
    for place, folders, files in os.walk(directory, onerror=errors.append):
        folder = Path(place)
        content.of_systemd.extend(folder / SYSTEMD for name in folders if name == SYSTEMD)
        folders[:] = [name for name in folders if not name.startswith(".") and name != SYSTEMD]
        content.files.extend(folder / file for file in files if _is_ours(file))
    content.closed.update((Path(error.filename), str(error.strerror)) for error in errors)
    return Content(sorted(content.files), sorted(content.of_systemd), content.closed)


def _is_ours(name: str) -> bool:
    return not name.startswith(".") and (name.endswith((".conf", ".cmd")) or name == APPLIANCE_FILE)


def _spool_above(folder: Path, spools: Container[Path]) -> Path | None:
    """The spool in whose directories for drops a directory is; None if it is in none."""
    for directory in (folder, *folder.parents):
        if directory.name in SPOOL_FOLDERS and real_path(directory.parent) in spools:
            return directory.parent
    return None


def _nearest(path: Path) -> Path | None:
    """The appliance file in the directory of a file or above, relative to the working directory if possible."""
    here = real_path(".")
    for directory in real_path(path).parents:
        candidate = directory / APPLIANCE_FILE
        if os.path.isfile(candidate):  # noqa: PTH113  # Path.is_file raises PermissionError
            return candidate.relative_to(here) if candidate.is_relative_to(here) else candidate
    return None
