"""The SQL statements of the store, read from the .sql files beside this module.

Rule: a statement has a name that is unique in its file, in a comment above it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_MARK = "-- name: "


@cache
def queries(name: str) -> dict[str, str]:
    """The statements of `NAME.sql` by their names."""
    text = (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
    statements: dict[str, str] = {}
    for block in text.split(_MARK)[1:]:
        title, _, statement = block.partition("\n")
        assert title not in statements, f"two queries are named {title}"
        statements[title.strip()] = statement.strip()
    return statements
