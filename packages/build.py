"""Lays out the files of a system package, and builds the packages from them with nfpm and shiv.

Rule: a package consists of the staged files and of nfpm.yaml. Nothing else of the machine gets in.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from packages.modules import ARCHITECTURES
from schedappliance.cli.init import STANZA_FILE, texts

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
# Where the files of a package are installed, by their place in the checkout.
_PLACES = {
    "packages/launcher": "usr/bin/schedappliance",
    "etc/systemd/sysusers.d/schedappliance.conf": "usr/lib/sysusers.d/schedappliance.conf",
    "etc/systemd/sysusers.d/schedappliance-web.conf": "usr/lib/sysusers.d/schedappliance-web.conf",
    "etc/systemd/tmpfiles.d/schedappliance.conf": "usr/lib/tmpfiles.d/schedappliance.conf",
    **{
        f"etc/systemd/{unit}": f"usr/lib/systemd/system/{unit}"
        for unit in (
            "schedappliance.service",
            "schedappliance-metrics.service",
            "schedappliance-metrics.timer",
            "schedappliance-web.service",
            "schedappliance-web.socket",
        )
    },
}
# With the layout of the checkout, so that the links in the documents lead somewhere.
_DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "docs", "etc")


def build_wheel(directory: Path, source: Path = CHECKOUT) -> Path:
    """Builds the wheel of a checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(source)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = directory.glob("*.whl")
    return wheel


def stage(modules: Path, directory: Path) -> Path:
    """Lays out the files of a system package in `directory`: `root`, the `configuration`, and the `scripts`."""
    root = directory / "root"
    shutil.copytree(modules, root / "usr/lib/schedappliance")
    for source, place in _PLACES.items():
        _copy(CHECKOUT / source, root / place)
    for name in _DOCUMENTS:
        _copy(CHECKOUT / name, root / "usr/share/doc/schedappliance" / name)
    licenses = (CHECKOUT / "LICENSE").read_bytes() + (HERE / "copyright").read_bytes()
    _write(root / "usr/share/doc/schedappliance/copyright", licenses)
    for page in (CHECKOUT / "share/man").rglob("*.[15]"):
        _write(
            root / "usr" / page.relative_to(CHECKOUT).with_name(f"{page.name}.gz"),
            gzip.compress(page.read_bytes(), mtime=0),
        )
    completion = [sys.executable, "-m", "schedappliance", "completion", "bash"]
    _write(
        root / "usr/share/bash-completion/completions/schedappliance",
        subprocess.run(completion, check=True, stdout=subprocess.PIPE).stdout,
    )
    for name, text in _configuration().items():
        _write(directory / "configuration" / name, text.encode())
    write_scripts(root, directory / "scripts")
    # With this variable, nfpm and shiv make the same packages of the same sources. Both read it too.
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        if epoch:
            os.utime(path, (int(epoch), int(epoch)))
    return directory


def _configuration() -> dict[str, str]:
    """The files of /etc/schedappliance. Only a package knows the users of its units, so only its files name them."""
    files = texts(Namespace(system=True, example=False))
    files[STANZA_FILE] += (HERE / "authorization.conf").read_text("utf-8")
    return files


def build_system_package(tree: Path, kind: str, arch: str, target: Path) -> Path:
    """Builds a package of the staged files in the directory `target`. `kind`: deb or rpm."""
    version = _version(tree)
    env = os.environ | {"VERSION": version, "ARCH": arch}
    command = [_tool("nfpm"), "package", "--config", str(HERE / "nfpm.yaml"), "--packager", kind, "--target"]
    name = (
        f"schedappliance_{version}_{arch}.deb"
        if kind == "deb"
        else f"schedappliance-{version}-1.{ARCHITECTURES[arch]}.rpm"
    )
    subprocess.run([*command, str(target.absolute() / name)], check=True, cwd=tree, env=env, stdout=subprocess.DEVNULL)
    return target / name


def build_pyz(modules: list[Path], target: Path) -> Path:
    """Builds a single file that any Python of PYTHONS runs, on any architecture of `modules`."""
    first, *others = modules
    entry = ["--entry-point", "schedappliance.cli.main:main", "--python", "/usr/bin/env python3"]
    with tempfile.TemporaryDirectory() as name:
        merged = shutil.copytree(first, Path(name) / "modules")
        for other in others:
            shutil.copytree(other / "re2", merged / "re2", dirs_exist_ok=True)
        command = [_tool("shiv"), "--site-packages", str(merged), *entry, "--compressed", "--reproducible"]
        subprocess.run([*command, "--output-file", str(target)], check=True)
    return target


def _tool(name: str) -> str:
    """A tool of the extra `package`, which is beside this Python. Its directory need not be in PATH."""
    return str(Path(sys.executable).parent / name)


def _version(tree: Path) -> str:
    module = tree / "root/usr/lib/schedappliance/schedappliance/__init__.py"
    match = re.search(r'__version__ = "(.*)"', module.read_text("utf-8"))
    assert match
    return match[1]


def write_scripts(root: Path, directory: Path) -> None:
    """Writes the scripts of the packages, which all begin with the same functions. `root`: the staged files."""
    migrations = root / "usr/lib/schedappliance/schedappliance/store/migrations"
    schema = max(int(path.name.split("_")[0]) for path in migrations.glob("[0-9]*.sql"))
    common = (HERE / "scripts/common").read_text("utf-8").replace("@SCHEMA@", str(schema))
    for script in (*HERE.glob("scripts/deb/*"), *HERE.glob("scripts/rpm/*")):
        _write(directory / script.parent.name / script.name, f"{common}\n{script.read_text('utf-8')}".encode())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
