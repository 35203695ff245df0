"""The effective values of options: what the files say, and the overrides set since. The later word wins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from schedappliance.model.configuration import Configuration


class Override(NamedTuple):
    """An option set from the console or by a job. `base`: what the files said when it was set."""

    option: str
    name: str
    value: str
    base: str | None


class Options:
    """One configuration with its overrides."""

    def __init__(self, configuration: Configuration, overrides: Iterable[Override] = ()) -> None:
        self.configuration = configuration
        self.overrides = {override.option: override for override in overrides}

    def get(self, name: str) -> tuple[str, str] | None:
        """The canonical name and the effective value of an option, None when it is not set."""
        key = name.lower()
        if override := self.overrides.get(key):
            return override.name, override.value
        declared = self.configuration.options.get(key)
        return (declared.name, declared.value) if declared else None

    def value(self, name: str) -> str | None:
        found = self.get(name)
        return found[1] if found else None

    def override(self, name: str, value: str) -> Override:
        """The override that `config set` makes; it is not in effect before it is put into `overrides`."""
        declared = self.configuration.options.get(name.lower())
        known = self.get(name)
        return Override(name.lower(), known[0] if known else name, value, declared.value if declared else None)

    def outdated(self) -> list[Override]:
        """The overrides whose option the files have changed since they were set."""
        options = self.configuration.options
        return [
            o for o in self.overrides.values() if o.base != (options[o.option].value if o.option in options else None)
        ]
