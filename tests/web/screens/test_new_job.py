"""The form that adds a job shows where its line is wrong."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from schedappliance.client.questions import error_in, without_prefix
from schedappliance.diagnostics import Source, Span, as_data, command_diagnostic
from schedappliance.web.screens.jobs import collect_new


class _Look:
    """A look of a viewer who has typed a line. The appliance rejects the question about it."""

    def query(self, _name: str) -> str:
        return "sched evry 5 pid"

    async def data_if_allowed(self, _line: str) -> None:
        return None

    async def data(self, line: str, reads_failures: bool) -> Any:
        assert reads_failures
        source = Source.of_command(f"json {line}")
        place = source.text.index("evry")
        mistake = command_diagnostic(
            "E110", "`sched` has no subcommand `evry`", "", source.text, Span(place, place + 4)
        )
        raise error_in(without_prefix({"ok": False, "error": "wrong", "diagnostics": as_data([mistake])}))


def test_the_carets_are_below_the_mistake() -> None:
    (mistake,) = asyncio.run(collect_new(cast(Any, _Look())))["mistakes"]
    line, carets = [text.partition("| ")[2] for text in mistake.splitlines() if "| " in text][-2:]
    assert line == "sched evry 5 pid"
    assert carets.index("^") == line.index("evry")
