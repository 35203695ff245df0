"""Store files for tests: filled with rows, read, and compared byte by byte. Subprocesses import it too: it needs no pytest."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from schedappliance.engine.records import User
from schedappliance.store.reading import read_only
from schedappliance.store.tables import Store


def file_states(directory: Path) -> dict[str, tuple[str, int]]:
    """By name, the digest of each file and the time of its last change."""
    files = (path for path in directory.iterdir() if path.is_file())
    return {path.name: (sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


def fill(store: Store, first: int, count: int) -> None:
    """Adds `count` drops, numbered from `first`, of 4,000 bytes each."""
    with store.transaction():
        for number in range(first, first + count):
            store.drops.add(f"{number}~a.cmd", "a.cmd", User(0, "root"), 0, True, "x" * 4000)


def count_drops(path: Path) -> int:
    """The number of drops in a store that is only read."""
    return int(read_only(path, lambda store: store.execute("SELECT count(*) FROM drops").fetchone()[0]))
