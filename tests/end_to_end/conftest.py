"""Daemons for the end-to-end tests. Rule: no daemon outlives its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet."""
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.end()


@pytest.fixture
def public_daemon(public_path: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet, in a directory that every user can enter."""
    daemon = Daemon(public_path)
    yield daemon
    daemon.end()
