"""The programs that write to the outputs of a store that does not know them. Their environment can hold anything."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from schedappliance.doctor.running import strangers_of
from schedappliance.edge.programs.outputs import output_directory
from schedappliance.store.tables import open_store

NAMES = {"SCHED_RUN_ID": "example.com-000000001/1", "SCHED_ATTEMPT": "1", "SCHED_STARTED_MS": "5"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store behind a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    path = tmp_path / "link" / "sched.db"
    output_directory(path).mkdir()
    open_store(path, "example.com", "0123", 5).close()
    return path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, store: Path, **changes: Any) -> int:
    """The pid of a program with such an environment, whose stderr is an output of the store."""
    environment = {"SCHED_STORE": str(store), **NAMES, **changes}
    output = stack.enter_context((output_directory(store) / "1-1-1").open("wb"))
    process = subprocess.Popen(
        ["/bin/sleep", "3600"],
        env={name: value for name, value in environment.items() if value is not None},
        stdout=subprocess.DEVNULL,
        stderr=output,
        start_new_session=True,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


def test_a_stranger_is_shown_with_the_output_in_the_store_behind_a_link(store: Path, stack: ExitStack) -> None:
    pid = started(stack, store)
    (stranger,) = strangers_of(store)
    assert (stranger.pid, stranger.command) == (pid, "/bin/sleep 3600")
    assert stranger.run == NAMES["SCHED_RUN_ID"]
    assert stranger.output == str(output_directory(store).resolve() / "1-1-1")


def test_an_environment_that_names_no_attempt_is_no_problem(store: Path, stack: ExitStack) -> None:
    store = store.resolve()
    started(stack, store, SCHED_ATTEMPT=None)
    started(stack, store, SCHED_ATTEMPT="9" * 20)
    started(stack, store, SCHED_STARTED_MS="9" * 5000)
    started(stack, store, SCHED_STARTED_MS="²")
    assert list(strangers_of(store)) == []
