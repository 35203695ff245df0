"""strace on an appliance: its system calls in order, and calls that a test makes fail."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually

_BEGUN = re.compile(r"(\d+) +(\w+\(.*)<unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)$")


@contextmanager
def traced(daemon: Daemon, *options: str) -> Iterator[Path]:
    """Attaches strace with these options to the appliance; yields the file that strace writes."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    assert daemon.process
    trace, messages = daemon.root / "trace", daemon.root / "strace"
    with messages.open("w") as stderr:
        command: list[str | Path] = [
            strace,
            "-f",
            "-y",
            "-s",
            "200",
            "-o",
            trace,
            "-p",
            str(daemon.process.pid),
            *options,
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        eventually(lambda: "attached" in messages.read_text() or process.poll() is not None, "strace")
        if process.poll() is not None:
            pytest.skip(messages.read_text())
        yield trace
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def calls(trace: Path) -> list[str]:
    """The system calls in the order in which they returned. An execve, which does not return, counts when it began."""
    unfinished: dict[str, str] = {}
    whole = []
    for line in trace.read_text(errors="replace").splitlines():
        if (match := _BEGUN.match(line)) and match[2].startswith("execve("):
            whole.append(match[2])
        elif match:
            unfinished[match[1]] = match[2]
        elif match := _RESUMED.match(line):
            if match[1] in unfinished:
                whole.append(unfinished.pop(match[1]) + match[2])
        else:
            whole.append(line.partition(" ")[2].lstrip())
    return whole
