"""Builds the packages of a release: `python -m packages [--arch ARCH]... DIRECTORY`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from packages.build import build_pyz, build_system_package, build_wheel, stage
from packages.modules import ARCHITECTURES, install_modules


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m packages", description="Builds the .deb, the .rpm and the .pyz.")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="default: all of them")
    parser.add_argument("directory", type=Path, help="where the packages are written")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        wheel = build_wheel(work)
        modules = {}
        for arch in options.arch or ARCHITECTURES:
            modules[arch] = install_modules(wheel, work / arch / "modules", arch)
            tree = stage(modules[arch], work / arch / "package")
            for kind in ("deb", "rpm"):
                print(build_system_package(tree, kind, arch, options.directory))
        print(build_pyz(list(modules.values()), options.directory / "schedappliance.pyz"))


if __name__ == "__main__":
    main()
