"""The one way from stanza files to a checked configuration: the daemon, the linter and the previews load with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, has_errors
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.closure import Closure, read_closure
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import DISK, Folders, ReadFile, read_regular
from schedappliance.model.ignores import apply_ignores
from schedappliance.model.leftovers import leftover_doubts
from schedappliance.model.references import configuration_mistakes
from schedappliance.model.stanzas import read_configuration


@dataclass(slots=True)
class Loaded:
    """The stanza files as the appliance would load them; `configuration` counts only when no diagnostic is an error."""

    closure: Closure
    configuration: Configuration
    diagnostics: list[Diagnostic]

    @property
    def accepted(self) -> bool:
        return not has_errors(self.diagnostics)

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """The text of each file by its path, in the order in which they were read."""
        return tuple((str(path), source.text) for path, source in self.closure.texts.items())

    def shown(self) -> list[Diagnostic]:
        """The diagnostics without the warnings that comments in the files ignore."""
        return apply_ignores(self.diagnostics, self.closure.texts.values())


def load(root: Path, read_file: ReadFile = read_regular, folders: Folders = DISK) -> Loaded:
    """Reads and checks everything: the one entry for daemon and linter."""
    closure = read_closure(root, read_file, folders)
    configuration, mistakes = read_configuration(closure)
    diagnostics = [*closure.diagnostics, *mistakes, *leftover_doubts(closure)]
    if not closure.diagnostics:
        diagnostics += configuration_mistakes(configuration)
    return Loaded(closure, configuration, diagnostics)


def spool_mistake(appliance: ApplianceFile, configuration: Configuration) -> Diagnostic | None:
    """A spool promises that nothing accepted is lost; jobs in memory cannot keep that."""
    if appliance.spool is None or configuration.backing_store is not None:
        return None
    assert appliance.spool_place
    help = 'add `sched { backing_store = "..." }` to the stanza file, or remove `spool`'
    return Diagnostic("E308", "the spool needs a `backing_store`", help, *appliance.spool_place)
