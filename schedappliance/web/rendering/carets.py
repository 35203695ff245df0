"""A mistake in a file of others as the linter prints it: with its line, and carets below its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schedappliance.diagnostics import CODES, Source, from_data
from schedappliance.lint.report import full


def as_linted(row: Mapping[str, Any]) -> str:
    """`row`: a diagnostic of the appliance. Without the text of its line there are no carets.

    The linter does not know the codes of an appliance of a later version.
    """
    text = row.get("line_text")
    if text is None or row["code"] not in CODES:
        remedy = f"\n  help: {row['help']}" if row["help"] else ""
        return f"{row['severity']}[{row['code']}]: {row['message']}\n  --> {_place(row)}{remedy}"
    source = Source(row["file"], "\n" * (row["line"] - 1) + text)
    ends_here = row["end_line"] == row["line"]
    end = row["end_column"] if ends_here else len(text) + 1
    return full([from_data({**row, "end_line": row["line"], "end_column": end}, source)]).rstrip("\n")


def _place(row: Mapping[str, Any]) -> str:
    is_whole = row["line"] == row["column"] == row["end_line"] == row["end_column"] == 1
    return str(row["file"]) if is_whole else f"{row['file']}:{row['line']}:{row['column']}"
