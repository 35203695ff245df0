"""Reads the items of lists and dictionaries, so that all their mistakes are reported at once.

Rule: the time is linear in the length of a list. After MOST_MISTAKES mistakes, its other items are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from schedappliance.diagnostics import InvalidItems, InvalidValue, counted

if TYPE_CHECKING:
    from schedappliance.syntax.tree import Scalar

# More of them would hide the other mistakes of a file.
MOST_MISTAKES = 50

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_each(items: Sequence[Item], read: Callable[[Item], Result], most: float = MOST_MISTAKES) -> list[Result]:
    """What `read` makes of each item. Raises InvalidValue with the mistakes of all items; each has its place in the file."""
    results: list[Result] = []
    mistakes: list[InvalidValue] = []
    for number, item in enumerate(items):
        if len(mistakes) >= most:
            mistakes[-1] = _last(mistakes[-1], len(items) - number)
            break
        try:
            results.append(read(item))
        except InvalidValue as invalid:
            mistakes += invalid.mistakes
    if mistakes:
        raise InvalidItems(mistakes)
    return results


def _last(mistake: InvalidValue, unread: int) -> InvalidValue:
    """The last mistake that is shown of a list. It says that more of them may follow."""
    remedy = f"{mistake.help}; not checked yet: {counted(unread, 'item')} after this one"
    return InvalidValue(mistake.message, remedy, mistake.code, mistake.span)


def read_all(*reads: Callable[[], Any]) -> list[Any]:
    """The results of several readers. Raises InvalidValue with the mistakes of all of them."""
    return read_each(reads, lambda read: read(), most=inf)


def read_text(item: Scalar, read: Callable[[str], Result]) -> Result:
    """What `read` makes of the text of an item. Raises InvalidValue with the places of all mistakes in the file."""
    try:
        return read(item.value)
    except InvalidValue as invalid:
        mistakes = [one.at(item.inner(one.span) if one.span else item.span) for one in invalid.mistakes]
        raise InvalidItems(mistakes) from None


def read_texts(items: Sequence[Scalar], read: Callable[[str], Result]) -> list[Result]:
    """What `read` makes of the text of each item. Raises InvalidValue with the mistakes of all items."""
    return read_each(items, lambda item: read_text(item, read))
