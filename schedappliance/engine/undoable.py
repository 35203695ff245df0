"""Dictionaries whose changes a turn can undo. Rule: an undo takes as long as the changes did, however many values there are."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, ValuesView
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Undoable(MutableMapping[Key, Value]):
    """A dictionary that can undo its last changes. No value is None.

    `changes`: the changes that can be undone, each as a key and its old value; None if the key was missing.
    """

    def __init__(self) -> None:
        self._values: dict[Key, Value] = {}
        self.changes: list[tuple[Key, Value | None]] = []

    def __getitem__(self, key: Key) -> Value:
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[Key]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> ValuesView[Value]:
        return self._values.values()

    def __setitem__(self, key: Key, value: Value) -> None:
        self.changes.append((key, self._values.get(key)))
        self._put(key, value)

    def __delitem__(self, key: Key) -> None:
        self.changes.append((key, self._values[key]))
        self._put(key, None)

    def _put(self, key: Key, value: Value | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def undo(self, down_to: int) -> None:
        """Undoes the last changes, until `down_to` of them are left."""
        while len(self.changes) > down_to:
            self._put(*self.changes.pop())
