"""Directories of which some cannot be watched: the others are, and the status names the rest."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from watchdog.events import FileSystemEventHandler

from schedappliance.edge.files import directories as watching
from schedappliance.edge.files.directories import Directories
from tests.support.waiting import eventually

# The other user may not be able to read the checkout and the packages, so all is imported before.
AS_NOBODY = """
import logging, os, sys
from pathlib import Path
import watchdog.events, watchdog.observers
from schedappliance.edge.files.directories import Directories
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
directories = Directories(lambda: None, logging.getLogger())
changed = directories.watch({Path(name) for name in sys.argv[1:]})
print(changed, directories.mode, directories.failure.errno if directories.failure else None, sep="|")
print(directories.watch({Path(name) for name in sys.argv[1:]}))
directories.close()
"""


def test_directories_that_can_be_read_are_watched(tmp_path: Path) -> None:
    directories = Directories(lambda: None, logging.getLogger())
    assert directories.watch({tmp_path})
    assert (directories.mode, directories.failure) == ("events", None)
    assert not directories.watch({tmp_path})
    directories.close()


def test_the_files_are_known_that_are_written_and_not_closed(tmp_path: Path) -> None:
    directories = Directories(lambda: None, logging.getLogger())
    directories.watch({tmp_path})
    conf, other = tmp_path / "sched.conf", tmp_path / "other"
    with conf.open("w") as file:
        file.write("A = 1\n")
        file.flush()
        eventually(lambda: str(conf) in directories.written, "the change")
    eventually(lambda: str(conf) not in directories.written, "the close")
    with conf.open("a") as file:
        file.write("B = 1\n")
        file.flush()
        eventually(lambda: str(conf) in directories.written, "the change")
        other.write_text("C = 1\n")
        other.replace(conf)
        eventually(lambda: not directories.written, "the file in its place")
    directories.close()


def test_without_a_thread_changes_are_found_by_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ended here: Python raises a RuntimeError, not an OSError."""
    start = threading.Thread.start

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    directories = Directories(lambda: None, logging.getLogger())
    directories.watch({tmp_path})
    assert directories.mode.endswith(": the machine has no thread left")
    monkeypatch.setattr(threading.Thread, "start", start)
    assert directories.watch({tmp_path})
    assert (directories.mode, directories.failure) == ("events", None)
    directories.close()


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@as_root
def test_an_unreadable_directory_is_reported_and_the_others_are_watched(public_path: Path) -> None:
    """Once only the poll found its changes, while `config status` said `events`."""
    opened, closed = public_path / "opened", public_path / "closed"
    opened.mkdir(mode=0o755)
    closed.mkdir(mode=0o711)
    command = [sys.executable, "-c", AS_NOBODY, str(opened), str(closed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    error = f"Permission denied: {closed}"
    assert done.stdout == f"True|events; poll every 10 seconds: {error}|{errno.EACCES}\nFalse\n"
    assert f"cannot watch {closed}: " in done.stderr


@as_root
def test_a_directory_that_cannot_be_looked_at_is_no_failure() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "inner" / "etc").mkdir(parents=True)
        command = [sys.executable, "-c", AS_NOBODY, str(place / "inner" / "etc")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"Permission denied: {place}" in done.stdout


def test_an_emitter_that_is_closed_before_it_begins_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    observer = watching._inotify()
    observer.schedule(FileSystemEventHandler(), str(tmp_path))
    (emitter,) = observer.emitters
    emitter.queue_events(0)
    assert caplog.records == []
