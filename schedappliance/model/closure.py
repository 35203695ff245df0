"""A stanza file with everything it includes, as one list of statements."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.files import DISK, Folders, ReadFile, read_regular
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.text import decode
from schedappliance.syntax.tree import Include, Option, Scalar, Stanza, Statement

MAX_FILES = 10_000
MAX_CHAIN = 32


@dataclass(frozen=True, slots=True)
class Setting:
    """An option with the file it stands in."""

    source: Source
    option: Option


@dataclass(frozen=True, slots=True)
class Block:
    """A stanza with the file it stands in; what it includes is already in its body."""

    source: Source
    stanza: Stanza
    body: tuple[Setting | Block, ...]


@dataclass(slots=True)
class Closure:
    """Everything that one stanza file brings in. `texts` are the files in the order in which they were read.

    `silent` are the files without a statement, `listed` the directories that are included.
    """

    root: Path
    items: tuple[Setting | Block, ...] = ()
    texts: dict[Path, Source] = field(default_factory=dict)
    listed: list[Path] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    silent: set[Path] = field(default_factory=set)


def read_closure(root: Path, read_file: ReadFile = read_regular, folders: Folders = DISK) -> Closure:
    """Reads a stanza file and its includes; every mistake is in `diagnostics`, none is raised."""
    closure = Closure(root)
    _Reader(closure, read_file, folders).file(root, None, ())
    return closure


@dataclass(slots=True)
class _Reader:
    closure: Closure
    read_file: ReadFile
    folders: Folders

    def file(self, path: Path, include: tuple[Source, Span] | None, chain: tuple[Path, ...]) -> None:
        items = self.read(path, include, chain)
        if include is None:
            self.closure.items = items

    def read(
        self, path: Path, include: tuple[Source, Span] | None, chain: tuple[Path, ...]
    ) -> tuple[Setting | Block, ...]:
        if path in chain:
            return self.say("E306", f"`{path.name}` is included in a circle: {_circle(path, chain)}", include, path)
        if len(self.closure.texts) >= MAX_FILES:
            return self.say("E108", f"more than {MAX_FILES} files are included", include, path)
        if len(chain) >= MAX_CHAIN:
            return self.say("E108", f"files include each other more than {MAX_CHAIN} deep", include, path)
        try:
            data = self.read_file(path)
        except OSError as error:
            code = "E305" if include else "E307"
            return self.say(code, f"cannot read `{path}`: {error.strerror}", include, path)
        source, mistakes = decode(str(path), data)
        self.closure.texts[path] = source
        self.closure.diagnostics.extend(mistakes)
        statements, unparsed = parse_stanzas(source)
        self.closure.diagnostics.extend(unparsed)
        if not statements and not mistakes and not unparsed:
            self.closure.silent.add(path)
        if include is None and path in self.closure.silent:
            help = 'write a stanza such as `sched { backing_store = "..." }`'
            self.closure.diagnostics.append(Diagnostic("E117", "the file holds no statement", help, source))
        return self.expand(source, path, statements, (*chain, path))

    def expand(
        self, source: Source, path: Path, statements: tuple[Statement, ...], chain: tuple[Path, ...]
    ) -> tuple[Setting | Block, ...]:
        items: list[Setting | Block] = []
        for statement in statements:
            if isinstance(statement, Option):
                items.append(Setting(source, statement))
            elif isinstance(statement, Include):
                if statement.path.missing:
                    continue
                items.extend(self.include(source, path, statement, chain))
            else:
                items.append(Block(source, statement, self.expand(source, path, statement.body, chain)))
        return tuple(items)

    def include(self, source: Source, path: Path, include: Include, chain: tuple[Path, ...]) -> list[Setting | Block]:
        """A file, or the files of a directory in lexical order without dot files, not recursively."""
        target = self.target(path, include.path)
        place = (source, include.path.span)
        try:
            if not self.folders.is_dir(target):
                return list(self.read(target, place, chain))
            names = self.folders.visible_files(target)
        except OSError as error:
            return list(self.say("E305", f"cannot read `{target}`: {error.strerror}", place, target))
        self.closure.listed.append(target)
        return [item for name in names for item in self.read(target / name, place, chain)]

    def target(self, path: Path, included: Scalar) -> Path:
        """The directory of the including file is searched first, then that of the root."""
        near = Path(os.path.normpath(path.parent / included.value))
        far = Path(os.path.normpath(self.closure.root.parent / included.value))
        return far if not self.folders.exists(near) and self.folders.exists(far) else near

    def say(self, code: str, message: str, include: tuple[Source, Span] | None, path: Path) -> tuple[()]:
        help = {
            "E305": "correct the path; it starts at the directory of the including file",
            "E306": "remove one of the includes",
            "E307": "name a file that exists and can be read",
        }.get(code, "include fewer files")
        source, span = include or (Source(str(path), ""), None)
        self.closure.diagnostics.append(Diagnostic(code, message, help, source, span))
        return ()


def _circle(path: Path, chain: tuple[Path, ...]) -> str:
    return " -> ".join(p.name for p in (*chain[chain.index(path) :], path))
