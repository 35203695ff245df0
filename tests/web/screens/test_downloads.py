"""The runs as files: every row that matches, in pages, and no formula."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any, cast

import pytest

from schedappliance.client.errors import Rejected
from schedappliance.web.screens import runs
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.runs import COLUMNS, _cells

ROW = dict.fromkeys(COLUMNS)


class Appliance:
    """Answers `sched history` with these pages. Only the page knows the filter `program`."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = list(pages)

    def query(self, name: str) -> str:
        return "echo" if name == "program" else ""

    async def ask(self, _line: str) -> dict[str, Any]:
        if not self.pages:
            return {"ok": False, "error": "no", "diagnostics": [], "data": None}
        page = self.pages.pop(0)
        return {"ok": True, "data": page, "next": "more" if self.pages else None}


def sent(kind: str, *pages: list[dict[str, Any]]) -> str:
    async def send() -> str:
        response: Any = await getattr(runs, f"export_{kind}")(cast(Look, Appliance(*pages)))
        parts = [part async for part in response.body_iterator]
        return "".join(part if isinstance(part, str) else part.decode() for part in parts)

    return asyncio.run(send())


ONE, TWO, OTHER = (ROW | {"run": f"a-1/{n}", "program": p} for n, p in ((1, "echo"), (2, "echo"), (3, "ls")))


def test_every_row_that_matches_is_in_the_file() -> None:
    pages = [[ONE, OTHER], [OTHER], [TWO]]
    assert [row["run"] for row in json.loads(sent("json", *pages))] == ["a-1/1", "a-1/2"]
    assert [row["run"] for row in csv.DictReader(io.StringIO(sent("csv", *pages)))] == ["a-1/1", "a-1/2"]


def test_a_file_without_rows_is_a_whole_file() -> None:
    assert json.loads(sent("json", [OTHER])) == []
    assert sent("csv", [OTHER]) == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_error_before_the_first_row_is_the_answer(kind: str) -> None:
    with pytest.raises(Rejected):
        sent(kind)


def test_a_cell_of_a_table_is_no_formula() -> None:
    cells = _cells(ROW | {"run": "a-1/1", "command": "=1+1", "memory_bytes": 5})
    assert cells[:3] == ["a-1/1", None, "'=1+1"] and cells[-2:] == [5, None]
