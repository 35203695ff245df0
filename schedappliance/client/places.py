"""Where the appliance of this machine is: its file, and the socket and the spool that the file names.

Rule: it imports little. The parser of the file is imported only when the file is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.model.appliance_file import ApplianceFile

VARIABLE = "SCHEDAPPLIANCE_CONFIG"
DEFAULTS = ("etc/appliance.yaml", "/etc/schedappliance/appliance.yaml")


def config_path(config: Path | None) -> Path:
    """The path of the appliance file; raises Unusable if none is named and none exists."""
    if config:
        return Path(config)
    directory = _working_directory()
    if path := found_config(os.environ, "." if directory else None):
        return path
    from schedappliance.diagnostics import Unusable

    names = (os.path.join(directory, name) for name in _defaults(directory))  # noqa: PTH118
    places = ", ".join([f"${VARIABLE}", *names])
    raise Unusable(f"no appliance file: looked for {places}", "give --config FILE, or create one of these files")


def found_config(variables: Mapping[str, str], directory: str | None) -> Path | None:
    """The appliance file that a process finds without `--config`; None if there is none. It may be relative to the directory.

    `variables`: of the process. `directory`: a path that leads to its directory; None for `/`.
    """
    if path := variables.get(VARIABLE):
        return Path(path)
    names = (name for name in _defaults(directory) if _may_exist(os.path.join(directory or "", name)))  # noqa: PTH118
    return next(map(Path, names), None)


def _defaults(directory: str | None) -> list[str]:
    return [name for name in DEFAULTS if name.startswith("/") or directory]


def _working_directory() -> str:
    """The path of the directory. It is empty for `/` and for a deleted directory, which have no appliance of their own.

    It is also empty for a directory that this user may not enter, such as root's home after `sudo -u`.
    """
    try:
        directory = os.getcwd().rstrip("/")  # noqa: PTH109
    except FileNotFoundError:
        return ""
    return directory if os.access(".", os.X_OK, effective_ids=True) else ""


def _may_exist(name: str) -> bool:
    """Whether a file exists, or this user may not know. Reading the file then says why."""
    try:
        os.stat(name)  # noqa: PTH116
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def appliance_file(config: Path | None) -> ApplianceFile:
    """The appliance file; raises Unusable if it is missing or holds a mistake."""
    path = config_path(config)
    from schedappliance.model.appliance_file import usable_appliance_file

    return usable_appliance_file(path)


def path_in(file: ApplianceFile, key: str, path: Path | None, argument: str) -> Path:
    """The path of a key of the appliance file. Raises Unusable if it is None; `argument` then says how to give one."""
    if path is None:
        from schedappliance.diagnostics import Unusable

        raise Unusable(f"{file.path} has no `{key}`", f"give {argument}")
    return path
