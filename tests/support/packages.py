"""The packages of this checkout, built once for each test file, and those of a next version with a newer schema."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import NamedTuple

from packages.build import build_system_package, build_wheel, stage, write_scripts
from packages.modules import ARCHITECTURES, install_modules
from schedappliance import __version__
from schedappliance.store.schema import migrations

NEXT = "9.9.9"
SCHEMA = migrations()[-1][0]


class Built(NamedTuple):
    """`tree`: the staged files."""

    arch: str
    modules: Path
    tree: Path
    deb: Path


def build(directory: Path) -> Built:
    """The modules and the .deb for the architecture of this machine."""
    (arch,) = (name for name, machine in ARCHITECTURES.items() if machine == platform.machine())
    modules = install_modules(build_wheel(directory), directory / "modules", arch)
    tree = stage(modules, directory / "package")
    return Built(arch, modules, tree, build_system_package(tree, "deb", arch, directory))


def next_version(tree: Path, directory: Path) -> Path:
    """The staged files of a next version, whose store has one more table."""
    target = shutil.copytree(tree, directory / "package")
    package = target / "root/usr/lib/schedappliance/schedappliance"
    module = package / "__init__.py"
    module.write_text(module.read_text().replace(f'"{__version__}"', f'"{NEXT}"'))
    (package / f"store/migrations/{SCHEMA + 1:04}_next.sql").write_text("CREATE TABLE next (number INTEGER) STRICT;\n")
    write_scripts(target / "root", target / "scripts")
    return target
