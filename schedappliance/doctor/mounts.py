"""The mount table of /proc/self/mountinfo (see proc(5)), and which mount holds a path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schedappliance.edge.files.filesystems import is_network_type

_OCTAL = re.compile(r"\\([0-7]{3})")
# Part of `root` when Kubernetes mounts one file of a volume.
_SUB_PATH = re.compile(r"/volume-subpaths/|/kubernetes\.io~(configmap|secret|projected|downward-api)/")
_REPLACED = "//deleted"
_READ_ONLY = {"ro", "emergency_ro", "shutdown"}


@dataclass(frozen=True, slots=True)
class Mount:
    """`root`: the directory or file of the file system that is mounted. `point`: the mount point.

    `options`: those of the mount, and those of its file system.
    """

    root: str
    point: Path
    type: str
    source: str
    options: frozenset[str] = frozenset()

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written. After an error, some file systems do not show `ro`."""
        return bool(self.options & _READ_ONLY)

    @property
    def is_network(self) -> bool:
        return is_network_type(self.type)

    @property
    def is_sub_path(self) -> bool:
        """One file of a ConfigMap, or of another volume of Kubernetes."""
        return bool(_SUB_PATH.search(self.root))

    @property
    def is_replaced(self) -> bool:
        """Whether the mounted file was removed or replaced at its origin."""
        return self.root.endswith(_REPLACED)


def parse_mounts(text: str) -> tuple[Mount, ...]:
    return tuple(_mount(line) for line in text.splitlines() if " - " in line)


def _mount(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    root, point, options = (_unescaped(word) for word in before.split(" ")[3:6])
    kind, source, *more = (_unescaped(word) for word in after.split(" ")[:3])
    return Mount(root, Path(point), kind, source, frozenset(",".join([options, *more]).split(",")))


def _unescaped(word: str) -> str:
    """The kernel writes blanks and backslashes in octal."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), word)


def mount_of(path: Path, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that holds a real path: the deepest one, and of those at the same point the last."""
    holding = [mount for mount in mounts if path.is_relative_to(mount.point)]
    return max(reversed(holding), key=lambda mount: len(mount.point.parts), default=None)
