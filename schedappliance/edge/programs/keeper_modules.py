"""The modules of the keeper, compiled. Rule: they come from the same version as the daemon, also after an upgrade."""

from __future__ import annotations

import marshal
import os
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import MAGIC_NUMBER

# The modules that the keeper consists of beside keeper.py, each after those that it imports.
PARTS = ("spawner", "keeper_programs", "keeper_starts")


def compiled(name: str) -> int:
    """A file in memory with a module, in the form of a `.pyc` file: Python runs such a file, whatever its name.

    To compile its modules itself would take each keeper 10 ms. It would also leave 2 MB of memory, whose pages the kernel
    would have to map again in each copy of the spawner.
    """
    spec = import_module(f"schedappliance.edge.programs.{name}").__spec__
    assert spec is not None and isinstance(spec.loader, InspectLoader)
    data = MAGIC_NUMBER + bytes(12) + marshal.dumps(spec.loader.get_code(spec.name))
    file = os.memfd_create(name)
    os.write(file, data)
    return file
