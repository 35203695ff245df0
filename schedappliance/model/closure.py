"""Reads a stanza file and all files that it includes, as one list of statements.

Rule: a mistake becomes a diagnostic. Nothing is raised.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.files import DISK, Folders, ReadFile, read_regular
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.text import decode
from schedappliance.syntax.tree import Option, Scalar, Stanza, Statement

# The most includes. A file counts each time it is included: 25 files that each include the next one twice give 33
# million includes.
MAX_INCLUDES = 10_000
# The most characters of all includes together. A file counts each time it is included.
MAX_INCLUDED = 64 * 1024 * 1024
MAX_CHAIN = 32
_REMEDIES = {
    "E108": "include fewer files",
    "E305": "correct the path; it is relative to the directory of the including file",
    "E306": "remove one of the includes",
    "E307": "name a file that exists and can be read",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """An option, and the file that contains it."""

    source: Source
    option: Option


@dataclass(frozen=True, slots=True)
class Block:
    """A stanza, and the file that contains it. The statements of included files are already in its body."""

    source: Source
    stanza: Stanza
    body: tuple[Setting | Block, ...]

    @property
    def kind(self) -> str:
        """The kind of the stanza, in lower case."""
        return self.stanza.key.value.lower()

    @property
    def head(self) -> tuple[Source, Span]:
        """The place of the stanza's name."""
        return self.source, self.stanza.head


Items = tuple[Setting | Block, ...]


@dataclass(slots=True)
class Closure:
    """One stanza file with all files that it includes. `texts` are the files in the order in which they were read.

    `silent` are the files without a statement, `listed` the directories that are included.
    """

    root: Path
    items: Items = ()
    texts: dict[Path, Source] = field(default_factory=dict)
    listed: list[Path] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    silent: set[Path] = field(default_factory=set)


def read_closure(root: Path, read_file: ReadFile = read_regular, folders: Folders = DISK) -> Closure:
    """Reads a stanza file and its includes; every mistake is in `diagnostics`, none is raised."""
    closure = Closure(root)
    closure.items = _ClosureReader(closure, read_file, folders).read(root, None, ())
    return closure


class _Place(NamedTuple):
    """The place of an include."""

    source: Source
    span: Span


@dataclass(slots=True)
class _ClosureReader:
    """Reads files recursively. `chain`: the files from the root to the including file, each included by the one before."""

    closure: Closure
    read_file: ReadFile
    folders: Folders
    includes: int = 0
    included: int = 0
    is_too_large: bool = False
    statements: dict[Path, Sequence[Statement]] = field(default_factory=dict)

    def read(self, path: Path, include: _Place | None, chain: tuple[Path, ...]) -> Items:
        """One file with its includes. `include` None: the root."""
        if self.is_too_large:
            return ()
        if path in chain:
            return self._reject("E306", f"`{path.name}` includes itself: {_circle(path, chain)}", path, include)
        if len(chain) >= MAX_CHAIN:
            return self._reject("E108", f"includes are nested more than {MAX_CHAIN} levels deep", path, include)
        if path not in self.statements:
            try:
                data = self.read_file(path)
            except OSError as error:
                return self._reject(
                    "E305" if include else "E307", f"cannot read `{path}`: {error.strerror}", path, include
                )
            self.statements[path] = self._parse(path, data, include is None)
        if too_large := self._limit(len(self.closure.texts[path].text)):
            return self._reject("E108", too_large, path, include)
        return self._expand(self.closure.texts[path], path, self.statements[path], (*chain, path))

    def _parse(self, path: Path, data: bytes, is_root: bool) -> Sequence[Statement]:
        """Each file is parsed once, and its mistakes are told once, however often it is included."""
        source, mistakes = decode(str(path), data)
        self.closure.texts[path] = source
        statements, unparsed = parse_stanzas(source)
        self.closure.diagnostics += [*mistakes, *unparsed]
        if not statements and not mistakes and not unparsed:
            self.closure.silent.add(path)
            if is_root:
                remedy = 'write a stanza such as `sched { backing_store = "..." }`'
                self.closure.diagnostics.append(Diagnostic("E117", "the file holds no statement", remedy, source))
        return statements

    def _limit(self, characters: int) -> str | None:
        """Counts one file more. The message when that is too much; nothing more is included then."""
        self.includes, self.included = self.includes + 1, self.included + characters
        if self.includes > MAX_INCLUDES:
            self.is_too_large = True
            return f"more than {MAX_INCLUDES:,} files are included"
        if self.included > MAX_INCLUDED:
            self.is_too_large = True
            return f"the included files have more than {MAX_INCLUDED:,} characters together"
        return None

    def _expand(self, source: Source, path: Path, statements: Iterable[Statement], chain: tuple[Path, ...]) -> Items:
        items: list[Setting | Block] = []
        for statement in statements:
            if isinstance(statement, Option):
                items.append(Setting(source, statement))
            elif isinstance(statement, Stanza):
                items.append(Block(source, statement, self._expand(source, path, statement.body, chain)))
            elif not statement.path.missing and not statement.path.value:
                self._reject("E305", "the path is empty", path, _Place(source, statement.path.span))
            elif not statement.path.missing:
                target = self._target(path, statement.path)
                items += self._include(target, _Place(source, statement.path.span), chain)
        return tuple(items)

    def _include(self, target: Path, include: _Place, chain: tuple[Path, ...]) -> Items:
        """A file, or the files of a directory in lexical order without dot files, not recursively."""
        try:
            if not self.folders.is_dir(target):
                return self.read(target, include, chain)
            names = self.folders.visible_files(target)
        except OSError as error:
            return self._reject("E305", f"cannot read `{target}`: {error.strerror}", target, include)
        self.closure.listed.append(target)
        return tuple(item for name in names for item in self.read(target / name, include, chain))

    def _target(self, path: Path, included: Scalar) -> Path:
        """The path that an include names: relative to the directory of the including file, or else to that of the root."""
        near = Path(os.path.normpath(path.parent / included.value))
        far = Path(os.path.normpath(self.closure.root.parent / included.value))
        return far if not self.folders.exists(near) and self.folders.exists(far) else near

    def _reject(self, code: str, message: str, path: Path, include: _Place | None) -> Items:
        source, span = include or (Source(str(path), ""), None)
        self.closure.diagnostics.append(Diagnostic(code, message, _REMEDIES[code], source, span))
        return ()


def _circle(path: Path, chain: tuple[Path, ...]) -> str:
    return " -> ".join(p.name for p in (*chain[chain.index(path) :], path))
