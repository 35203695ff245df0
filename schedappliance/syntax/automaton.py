"""The grammar's own parse table, walked without building anything: the recovering pass tries repairs on it."""

from __future__ import annotations

from typing import Any, NamedTuple

from lark import Lark
from lark.parsers.lalr_analysis import Shift

END = "$END"


class Stack(NamedTuple):
    """The states of the parser; immutable, so that keeping an old one costs nothing."""

    state: int
    below: Stack | None


class Automaton:
    """An LALR automaton that only says what may follow."""

    def __init__(self, parser: Lark) -> None:
        table: Any = parser.parser.parser._parse_table
        self._states: dict[int, dict[str, Any]] = table.states
        self._end: int = table.end_states["start"]
        self.start = Stack(table.start_states["start"], None)

    def shift(self, stack: Stack, terminal: str) -> Stack | None:
        """The stack after one more token, None when the grammar does not allow it here."""
        while True:
            found = self._states[stack.state].get(terminal)
            if found is None:
                return None
            action, argument = found
            if action is Shift:
                return Stack(argument, stack)
            for _ in argument.expansion:
                assert stack.below is not None
                stack = stack.below
            stack = Stack(self._states[stack.state][argument.origin.name][1], stack)
            if terminal == END and stack.state == self._end:
                return stack
