"""Installs the wheel and its dependencies into a directory that any Python of PYTHONS can import from.

Rule: the only compiled code is RE2, which has no pure form. Its module for each Python has a name of its own, so all of
them lie side by side. A system that upgrades its Python keeps a package that works.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# What Debian calls an architecture, and the kernel. RE2 has wheels for these two.
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
# What a package holds beside the dependencies of the daemon.
EXTRAS = ("web",)
# The newest C library that a wheel may need, and the older ones: pip does not derive these from the newest.
_TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_17", "manylinux2014")
# PyYAML and MarkupSafe work without their compiled halves. The appliance does not use that of PyYAML. Without that of
# MarkupSafe, the page takes longer to escape a text.
_FASTER = ("_yaml", "yaml/*.so", "markupsafe/_speedups.*")
# What pip writes for itself, and the commands of the dependencies.
_UNWANTED = (
    "bin",
    "share",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/direct_url.json",
    "*.dist-info/REQUESTED",
)


def install_modules(wheel: Path, directory: Path, arch: str) -> Path:
    """Returns the directory with the modules. Raises Unexpected."""
    _pip("install", arch, PYTHONS[0], "--target", str(directory), f"{wheel}[{','.join(EXTRAS)}]")
    (metadata,) = directory.glob("google_re2-*.dist-info")
    version = metadata.name.removesuffix(".dist-info").partition("-")[2]
    for python in PYTHONS[1:]:
        other = directory.with_name(f"re2-{python}")
        _pip("install", arch, python, "--no-deps", "--target", str(other), f"google-re2=={version}")
        for module in (other / "re2").glob("*.so"):
            shutil.copy(module, directory / "re2")
    for pattern in (*_FASTER, *_UNWANTED, "**/__pycache__"):
        for path in directory.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _check_compiled(directory, arch)
    return directory


def _pip(action: str, arch: str, python: str, *arguments: str) -> None:
    """Runs pip for another machine, so it takes wheels and builds nothing."""
    platforms = [f"--platform={tag}_{ARCHITECTURES[arch]}" for tag in _TAGS]
    options = ["--quiet", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}", "--no-compile"]
    command = [sys.executable, "-m", "pip", action, *options, *platforms, *arguments]
    subprocess.run(command, check=True)


class Unexpected(Exception):
    """The modules hold compiled code that a package does not expect."""


def _check_compiled(directory: Path, arch: str) -> None:
    """A dependency that gains compiled code would work with one Python only."""
    tags = (f"cpython-{python.replace('.', '')}" for python in PYTHONS)
    wanted = {f"re2/_re2.{tag}-{ARCHITECTURES[arch]}-linux-gnu.so" for tag in tags}
    compiled = {str(path.relative_to(directory)) for path in directory.rglob("*.so*")}
    if compiled != wanted:
        raise Unexpected(f"expected {sorted(wanted)}, not {sorted(compiled)}")
