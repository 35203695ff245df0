"""The texts of a generation, in place of the files of that time."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path


class Kept:
    """Files and folders as an accepted closure left them: whatever it included, and is no file, was a directory."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {Path(path): text for path, text in texts.items()}
        self._folders = {path.parent for path in self._texts}

    @property
    def root(self) -> Path:
        """The first that was read."""
        return next(iter(self._texts))

    def read(self, path: Path) -> bytes:
        if path not in self._texts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._texts[path].encode("utf-8", "surrogateescape")

    def exists(self, path: Path) -> bool:
        return path in self._texts or path in self._folders

    def is_dir(self, path: Path) -> bool:
        return path not in self._texts

    def visible_files(self, directory: Path) -> list[str]:
        return sorted(p.name for p in self._texts if p.parent == directory and not p.name.startswith("."))
