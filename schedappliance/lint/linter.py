"""`lint`: paths to diagnostics, by the same readers that the appliance loads with. Needs neither engine, store nor edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.appliance_file import ApplianceFile, read_appliance_file
from schedappliance.model.command_file import command_lines, read_drop_line, token_mistakes
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import ReadFile, read_regular
from schedappliance.model.ignores import apply_ignores
from schedappliance.model.loading import Loaded, load, spool_mistake
from schedappliance.model.references import command_mistakes
from schedappliance.syntax.text import decode

APPLIANCE_FILE = "appliance.yaml"
PROGRESS_LINES = 5000


@dataclass(slots=True)
class Linter:
    """Judges files one by one; references are judged from the nearest `appliance.yaml`, or from the one given.

    `unreadable` are the given files that could not be read at all.
    """

    config: Path | None = None
    read_file: ReadFile = read_regular
    progress: Callable[[str, int], None] = lambda _name, _line: None
    notes: list[str] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    _roots: dict[Path, tuple[ApplianceFile, Loaded] | None] = field(default_factory=dict)

    def lint(self, path: Path) -> list[Diagnostic]:
        if path.suffix == ".cmd":
            return self._command_file(path)
        if path.suffix in (".yaml", ".yml"):
            return self._appliance_file(path)
        return self._stanza_file(path)

    def _read(self, path: Path) -> Source | None:
        """The text of a file for its comments; None when it cannot be read."""
        try:
            return decode(str(path), self.read_file(path))[0]
        except OSError:
            self.unreadable.append(path)
            return None

    def _appliance_file(self, path: Path) -> list[Diagnostic]:
        own = self._read(path)
        appliance, diagnostics = read_appliance_file(path, self.read_file)
        if appliance is None:
            return apply_ignores(diagnostics, [own] if own else [])
        loaded = load(appliance.config, self.read_file)
        mistake = spool_mistake(appliance, loaded.configuration) if loaded.accepted else None
        diagnostics += loaded.diagnostics + ([mistake] if mistake else [])
        sources = list(loaded.closure.texts.values())
        judged = self._judged(loaded.accepted)
        return apply_ignores(diagnostics, [own, *sources] if own else sources, judged)

    def _stanza_file(self, path: Path) -> list[Diagnostic]:
        """A file that the root reaches is judged as the part of it that it is; another one by itself."""
        self._read(path)
        whole = self._whole(path)
        if whole is None:
            loaded = load(path, self.read_file)
            own = [d for d in loaded.diagnostics if d.code not in _REFERENCES]
            return apply_ignores(own, loaded.closure.texts.values(), self._judged(False))
        sources = [source for known, source in whole.closure.texts.items() if _same(known, path)]
        judged = _can_be_judged(whole)
        found = [d for d in whole.diagnostics if judged or d.code not in _REFERENCES]
        if not _same(whole.closure.root, path):
            found = [d for d in found if _same(Path(d.source.name), path)]
            if not judged:
                self._unjudged(path, f"{whole.closure.root} has errors of its own")
        else:
            sources = list(whole.closure.texts.values())
        return apply_ignores(found, sources, self._judged(judged))

    def _whole(self, path: Path) -> Loaded | None:
        """The whole that a stanza file is a part of; None, with a note, when its references cannot be judged."""
        root = self._root(path)
        if root is None:
            return self._no_root(path)
        if not any(_same(known, path) for known in root[1].closure.texts):
            return self._unjudged(path, f"{root[0].config} does not include it")
        return root[1]

    def _no_root(self, path: Path) -> Loaded | None:
        found = self.config or _nearest(path)
        return self._unjudged(path, f"{found} has errors" if found else f"no {APPLIANCE_FILE} is near")

    @staticmethod
    def _judged(references: bool) -> Callable[[str], bool]:
        return lambda code: references or code not in _LOOKED_FOR_LAST

    def _command_file(self, path: Path) -> list[Diagnostic]:
        try:
            data = self.read_file(path)
        except OSError as error:
            self.unreadable.append(path)
            return [_unreadable(path, error)]
        source, mistakes = decode(str(path), data)
        root = self._root(path)
        configuration = root[1].configuration if root and _can_be_judged(root[1]) else None
        if root is None:
            self._no_root(path)
        elif configuration is None:
            self._unjudged(path, f"{root[0].config} has errors")
        if source.text or not mistakes:
            mistakes += lint_commands(source, configuration, self.progress)
        return apply_ignores(mistakes, [source], self._judged(configuration is not None))

    def _unjudged(self, path: Path, why: str) -> Loaded | None:
        self.notes.append(f"{path}: references are not judged: {why}")
        return None

    def _root(self, path: Path) -> tuple[ApplianceFile, Loaded] | None:
        """The appliance that a file belongs to, and its stanza files, read once."""
        found = self.config or _nearest(path)
        if found is None:
            return None
        if found not in self._roots:
            appliance, _ = read_appliance_file(found, self.read_file)
            self._roots[found] = (appliance, load(appliance.config, self.read_file)) if appliance else None
        return self._roots[found]


def _can_be_judged(whole: Loaded) -> bool:
    """Whether what a whole declares is known, though a reference in it may be wrong."""
    return not any(d.is_error and d.code not in _REFERENCES for d in whole.diagnostics)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


# Judged only where the whole configuration is known.
_REFERENCES = frozenset({"E301", "E302", "E310", "W402", "W404"})


# Not looked for in files that cannot be parsed or are judged alone; a comment that ignores them is not called useless.
_LOOKED_FOR_LAST = _REFERENCES | {"W403", "W406", "W407"}


def lint_commands(
    source: Source,
    configuration: Configuration | None,
    progress: Callable[[str, int], None] = lambda _name, _line: None,
) -> Iterator[Diagnostic]:
    """Every mistake of a command file; without a configuration references are not judged."""
    empty = True
    yield from token_mistakes(source)
    for count, (offset, line) in enumerate(command_lines(source), 1):
        empty = False
        if count % PROGRESS_LINES == 0:
            progress(source.name, count)

        for mistake in line_mistakes(line, configuration):
            yield mistake.moved(source, partial(Span.shifted, by=offset))
    if empty:
        yield Diagnostic("E109", "the file holds no command", "write one command a line", source)


def line_mistakes(line: str, configuration: Configuration | None) -> Iterator[Diagnostic]:
    """Every mistake of one line of a command file."""
    read = read_drop_line(line)
    yield from read.diagnostics
    if read.tree is not None and configuration is not None:
        yield from command_mistakes(read.tree, Source.of_command(line), configuration)


def files_under(path: Path) -> list[Path]:
    """What `lint DIRECTORY` means: its *.conf, *.cmd and appliance.yaml, recursively, without dot files."""
    if not path.is_dir():
        return [path]
    found = [p for p in path.rglob("*") if p.suffix in (".conf", ".cmd") or p.name == APPLIANCE_FILE]
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
    return sorted(p for p in visible if not p.is_dir())


def _nearest(path: Path) -> Path | None:
    for directory in path.resolve().parents:
        candidate = directory / APPLIANCE_FILE
        if candidate.is_file():
            return _relative(candidate)
    return None


def _relative(path: Path) -> Path:
    """Paths are shown as short as they can be."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _unreadable(path: Path, error: OSError) -> Diagnostic:
    help = "name a file that exists and can be read"
    return Diagnostic("E307", f"cannot read `{path}`: {error.strerror}", help, Source(str(path), ""))
