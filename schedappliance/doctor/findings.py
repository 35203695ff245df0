"""Turns facts into diagnostics, in the order in which they are shown, and lists the subjects that were checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schedappliance.diagnostics import Diagnostic, counted, in_order
from schedappliance.doctor.access import access_mistakes, closed_to_programs
from schedappliance.doctor.facts import Facts, Needs
from schedappliance.doctor.machine import machine_mistakes
from schedappliance.doctor.needs import unmet_needs

# The linter's warnings about the machine. The others are about texts, and `lint` shows them.
ABOUT_THE_MACHINE = frozenset({"W403", "W406", "W407", "W422"})


def findings(facts: Facts) -> list[Diagnostic]:
    loaded = [d for d in facts.loaded if d.is_error or d.code in ABOUT_THE_MACHINE]
    return in_order([*loaded, *machine_mistakes(facts), *access_mistakes(facts), *unmet_needs(facts.needs)])


def findings_about_programs(needs: Needs, names: Mapping[int, str]) -> list[Diagnostic]:
    """Why programs would not start, although the files are correct. `names`: of users."""
    return in_order([*unmet_needs(needs), *closed_to_programs(needs, names)])


def checked(facts: Facts) -> str:
    """The subjects that were checked, on one line."""
    return f"checked {', '.join(_checked(facts))}"


def _checked(facts: Facts) -> Iterator[str]:
    yield counted(len(facts.files), "file")
    if facts.programs:
        yield counted(facts.programs, "program")
    if facts.store:
        yield "the store"
    if facts.spool:
        yield "the spool"
    if facts.console:
        yield "the console's socket"
    yield "inotify"
