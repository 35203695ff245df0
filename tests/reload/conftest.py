"""Watched stanza files for the tests, under three kinds of observer."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.faulty_observers import MischievousObserver, SilentObserver
from tests.support.random_seeds import random_seeds
from tests.support.watched_files import NewObserver, Watched

Watch = Callable[[Path], Watched]


@pytest.fixture(autouse=True)
def leases_do_not_kill() -> Iterator[None]:
    """Ignores SIGIO, which the kernel sends when another process opens a leased file, as the appliance does."""
    before = signal.signal(signal.SIGIO, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGIO, before)


def _all(new_observer: NewObserver | None) -> Iterator[Watch]:
    made: list[Watched] = []

    def watch(conf: Path) -> Watched:
        made.append(Watched(conf, new_observer))
        return made[-1]

    yield watch
    for one in made:
        one.close()


@pytest.fixture(
    params=["real", pytest.param("silent", marks=pytest.mark.slow), pytest.param("mischievous", marks=pytest.mark.slow)]
)
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Starts to watch a stanza file, with each kind of observer."""
    if request.param == "mischievous":
        (seed,) = random_seeds(1)
        print(f"seed {seed}")
        yield from _all(partial(MischievousObserver, random.Random(seed)))
    else:
        yield from _all(SilentObserver if request.param == "silent" else None)


@pytest.fixture
def watch_events() -> Iterator[Watch]:
    """Starts to watch with the real observer."""
    yield from _all(None)
