"""Loads stanza files from the texts that a store keeps. Rule: no file on the disk is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from schedappliance.model.loading import Loaded, load


def load_texts(texts: Mapping[str, str], store: Path | None) -> Loaded:
    """`texts`: of one generation, by the paths of their files.

    `store`: where the store was found. It may have moved since those files named it.
    """
    files = StoredFiles(texts)
    loaded = load(files.root, files.read, files)
    loaded.configuration = replace(loaded.configuration, backing_store=store)
    return loaded


class StoredFiles:
    """The texts of a generation in place of the files. An included path without a text was a directory.

    If it had not existed, the include would have been an error, and the generation would not have been accepted.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {Path(path): text for path, text in texts.items()}
        self._directories = {path.parent for path in self._texts}

    @property
    def root(self) -> Path:
        """The file that was read first."""
        return next(iter(self._texts))

    def read(self, path: Path) -> bytes:
        """Raises FileNotFoundError."""
        if path not in self._texts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._texts[path].encode("utf-8", "surrogateescape")

    def exists(self, path: Path) -> bool:
        return path in self._texts or path in self._directories

    def is_dir(self, path: Path) -> bool:
        return path not in self._texts

    def visible_files(self, directory: Path) -> list[str]:
        return sorted(p.name for p in self._texts if p.parent == directory and not p.name.startswith("."))
