"""The interpreter of a script, and the warning when it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.model.files import interpreter
from schedappliance.model.loading import load


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"#!/bin/sh\n", "/bin/sh"),
        (b"#! \t/usr/bin/env\tpython3 -u\nrest", "/usr/bin/env"),
        (b"#!/bin/sh", "/bin/sh"),
        (b"#!/bin/sh\r\n", "/bin/sh\r"),
        (b"#!\n/bin/sh", None),
        (b"#", None),
        (b"", None),
        (b"\x7fELF#!/bin/sh", None),
    ],
)
def test_an_interpreter_is_read_as_the_kernel_reads_it(tmp_path: Path, head: bytes, name: str | None) -> None:
    (tmp_path / "script").write_bytes(head)
    assert interpreter(tmp_path / "script") == name


def test_a_directory_or_device_has_no_interpreter(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        assert interpreter(tmp_path / name) is None


@pytest.mark.parametrize(
    ("head", "shown"), [("#!/bin/sh\n", ""), ("#!/nowhere/sh\n", "/nowhere/sh"), ("#!/bin/sh\r\n", "/bin/sh\\r")]
)
def test_a_missing_interpreter_is_a_warning(tmp_path: Path, head: str, shown: str) -> None:
    script = tmp_path / "script"
    script.write_bytes(head.encode())
    script.chmod(0o755)
    (tmp_path / "sched.conf").write_text(f'program "p" {{ argv = ( "{script}" ) }}\n')
    diagnostics = [(d.code, d.message) for d in load(tmp_path / "sched.conf").diagnostics]
    message = f"cannot execute `{shown}` here, the interpreter of `{script}`"
    assert diagnostics == ([("W403", message)] if shown else [])
