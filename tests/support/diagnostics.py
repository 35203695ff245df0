"""Short views of diagnostics, for comparison in tests."""

from __future__ import annotations

from collections.abc import Iterable

from schedappliance.diagnostics import Diagnostic


def codes(diagnostics: Iterable[Diagnostic]) -> list[str]:
    return [diagnostic.code for diagnostic in diagnostics]


def pointed(diagnostic: Diagnostic) -> str:
    """The text that a diagnostic points at."""
    assert diagnostic.span is not None
    return diagnostic.source.text[diagnostic.span.start : diagnostic.span.end]
