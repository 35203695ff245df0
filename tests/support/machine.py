"""A machine that systemd has booted: namespaces on this machine, with a layer over its files, or others, for all changes.

Rule: nothing of it stays behind. Its processes end with it, and so does the layer.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import PATIENCE_SECONDS, eventually

# The layer is in memory, in a mount namespace that nobody else sees. Process 1 must not see the services of this machine.
BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
if [ -f "$LOWER" ]; then
  mkdir /mnt/lower
  tar --extract --file "$LOWER" --directory /mnt/lower
  LOWER=/mnt/lower
fi
mount -t overlay overlay -o lowerdir=$LOWER,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
# No service of this machine starts: no mounts, no devices, no settings, nobody who empties /tmp.
rm -rf etc/systemd/system/* usr/lib/systemd/system/*.wants run/*
mount -t proc proc proc
# The settings of the kernel are those of this machine. systemd changes none if it cannot write.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount --rbind /dev dev
for target in quiet sysinit; do printf '[Unit]\nDefaultDependencies=no\n' >etc/systemd/system/$target.target; done
export container=test
exec chroot . /lib/systemd/systemd --system --unit=quiet.target --log-target=null --show-status=no
"""
# The library of the interpreter may be in a home too. Then another Python of the same version would be loaded in its place.
PYTHON_LIBRARY = "LD_LIBRARY_PATH=/opt/python/lib"
# Only the layer has this file.
QUIET = "etc/systemd/system/quiet.target"
CONSOLE = "run/schedappliance/console.sock"
NAMESPACES = ("--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--kill-child")


class Machine:
    """`lower`: the directory or the archive with which it begins. `root`: its files, as this machine sees them. Raises NotBooted."""

    def __init__(self, lower: Path = Path("/")) -> None:
        # The hierarchy of version 2, which is a second one where version 1 is in use.
        top = Path("/sys/fs/cgroup/unified")
        self._cgroup = (top if top.is_dir() else top.parent) / f"machine-{uuid.uuid4().hex[:8]}"
        try:
            self._cgroup.mkdir()
            if not (self._cgroup / "cgroup.kill").exists():
                self._cgroup.rmdir()
                raise NotBooted("there is no hierarchy of cgroup version 2")
            self._outer = subprocess.Popen(
                ["unshare", *NAMESPACES, "/bin/bash", "-c", BOOT],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"LOWER": str(lower)},
                preexec_fn=self._enter,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NotBooted(str(error)) from error
        try:
            self._init = eventually(self._child, "process 1")
            self.root = Path(f"/proc/{self._init}/root")
            eventually(lambda: self._has_ended() or self._is_booted(), "systemd")
            if self._has_ended():
                assert self._outer.stderr
                raise NotBooted(self._outer.stderr.read().decode().strip())
        except BaseException:
            self.close()
            raise

    def _enter(self) -> None:
        (self._cgroup / "cgroup.procs").write_text("0")

    def _child(self) -> str:
        if self._has_ended():
            return "0"
        pid = self._outer.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _has_ended(self) -> bool:
        return self._outer.poll() is not None

    def _is_booted(self) -> bool:
        """Until process 1 has changed its root, it shows the files of this machine, which systemd may have booted too."""
        return (self.root / QUIET).exists() and (self.root / "run/systemd/private").exists()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command on the machine."""
        enter = ["nsenter", "--target", self._init, "--all", "--root", "--wd"]
        result = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert not check or result.returncode == 0, (command, result)
        return result

    def ask(self, line: str) -> Any:
        """The data that the daemon answers root to `json LINE`, without a client, whose Python takes 0.4 s to start."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(self.root / CONSOLE))
            connection.sendall(f"json {line}\n".encode())
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline())
            # A failed command answers with its error, too.
            return answer["data"] if "error" in answer else answer

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def show_python(self) -> str:
        """Shows this interpreter where every user may run it; returns its path. It needs PYTHON_LIBRARY."""
        # Its directory may be in a home, which other users cannot enter and units may hide.
        base = Path(sys.base_prefix)
        self._show(base, "/opt/python")
        return f"/opt/python/{Path(sys.executable).resolve().relative_to(base)}"

    def install(self, files: Path) -> None:
        """Installs the appliance of this interpreter, with the unit and the other files of a package."""
        base, python = Path(sys.base_prefix), self.show_python()
        # An empty entry stands for the working directory.
        outside = [path for path in map(Path.absolute, map(Path, sys.path)) if path.is_dir()]
        outside = [path for path in outside if not path.is_relative_to(base)]
        for number, path in enumerate(outside):
            self._show(path, f"/opt/path-{number}")
        paths = ":".join(f"/opt/path-{number}" for number, _ in enumerate(outside))
        program = self.root / "usr/bin/schedappliance"
        variables = f"{PYTHON_LIBRARY} PYTHONPATH={paths}"
        program.write_text(f'#!/bin/sh\n{variables} exec {python} -m schedappliance "$@"\n')
        program.chmod(0o755)
        for part, place in (
            ("", "etc/systemd/system"),
            ("sysusers.d", "etc/sysusers.d"),
            ("tmpfiles.d", "etc/tmpfiles.d"),
        ):
            for file in (files / part).iterdir():
                if file.is_file():
                    target = self.root / place / file.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(file.read_bytes())
        self.run("systemd-sysusers", *(file.name for file in (files / "sysusers.d").iterdir()))
        self.run("systemd-tmpfiles", "--create", "schedappliance.conf")
        self.run("systemctl", "daemon-reload")

    def _show(self, path: Path, place: str) -> None:
        """Mounts a directory at another place."""
        self.run("mkdir", place)
        self.run("mount", "--bind", str(path), place)

    def close(self) -> None:
        """Ends all processes of the machine."""
        (self._cgroup / "cgroup.kill").write_text("1")
        self._outer.kill()
        self._outer.communicate(timeout=PATIENCE_SECONDS)
        groups = sorted(self._cgroup.rglob("*/"), key=lambda path: -len(path.parts))
        eventually(lambda: "populated 0" in (self._cgroup / "cgroup.events").read_text(), "the end of all processes")
        for group in (*groups, self._cgroup):
            group.rmdir()


@contextmanager
def booted(lower: Path = Path("/")) -> Iterator[Machine]:
    """A machine that runs until the end of the block. Skips the test where systemd cannot boot."""
    if os.getuid() != 0:
        pytest.skip("needs root for namespaces")
    try:
        machine = Machine(lower)
    except NotBooted as reason:
        pytest.skip(f"systemd does not boot here: {reason}")
    with closing(machine):
        yield machine


class NotBooted(Exception):
    """systemd cannot boot here; the reason."""
