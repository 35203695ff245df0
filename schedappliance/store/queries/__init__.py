"""The SQL statements, by name. They stand in the .sql files beside this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_MARK = "-- name: "


@cache
def queries(name: str) -> dict[str, str]:
    """The statements of `NAME.sql`, by the name in the comment above each."""
    text = (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
    statements: dict[str, str] = {}
    for block in text.split(_MARK)[1:]:
        title, _, statement = block.partition("\n")
        assert title not in statements, f"two queries are named {title}"
        statements[title.strip()] = statement.strip()
    return statements
