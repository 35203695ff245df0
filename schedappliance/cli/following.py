"""Questions and waits that go on while the appliance is started again, for `run --wait`, `logs -f` and `top`.

Rule: `watch` has a connection of its own. Only questions that change nothing are asked twice.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from schedappliance.cli.appliance_file import endpoint_of
from schedappliance.cli.asking import data_in
from schedappliance.cli.errors import UNAVAILABLE, Failure, print_late, print_note
from schedappliance.client.console import Session
from schedappliance.client.errors import Unavailable
from schedappliance.client.events import Event, Gap
from schedappliance.client.watching import Watch, pause
from schedappliance.clock import SystemClock

# How long a question waits for an appliance that does not answer any more, and how often it is asked meanwhile.
PATIENCE_MS, RETRY_MS = 60_000, 200


class Follower:
    """Questions and waits of a subcommand that follows an appliance."""

    def __init__(self, session: Session, watch: Watch) -> None:
        self.session = session
        self.watch = watch
        self._clock = SystemClock()
        # Whether an appliance has answered, so that it is waited for if it stops.
        self.has_answered = False

    def now(self) -> int:
        """The time since the start of the machine, in milliseconds."""
        return self._clock.moment().boot

    def ask(self, line: str) -> Any:
        """The data of an answer. It waits for an appliance that is started again. Raises Failure."""
        return data_in(self.response(line))[0]

    def response(self, line: str) -> dict[str, Any]:
        """Like `ask`, but returns the whole answer, even if it rejects the line."""
        deadline: int | None = None
        while True:
            try:
                # First the watch: what happens after the answer must be an event.
                self.watch.begin()
                response = self.session.ask(f"json {line}")
                self.has_answered = True
                return response
            except Unavailable as unavailable:
                failure = Failure(str(unavailable), UNAVAILABLE)
                if not self.has_answered:
                    raise failure from None
                if deadline is None:
                    deadline = self.now() + PATIENCE_MS
                    print_note("the appliance does not answer; waiting for its next start")
                if self.now() >= deadline:
                    raise failure from None
            pause(RETRY_MS)

    def wait(self, milliseconds: int, is_wanted: Callable[[Event], bool]) -> None:
        """Waits for this time, or until an event that `is_wanted` accepts. A gap always ends the wait."""
        deadline = self.now() + milliseconds
        while (left := deadline - self.now()) > 0:
            if any(isinstance(event, Gap) or is_wanted(event) for event in self.watch.wait(left)):
                return


@contextlib.contextmanager
def follower_of(options: argparse.Namespace) -> Iterator[Follower]:
    """Connections to the appliance that the options name. Raises Unusable and Failure."""
    endpoint = endpoint_of(options)
    with (
        contextlib.closing(Session(endpoint, on_late=print_late)) as session,
        contextlib.closing(Watch(endpoint, print_late)) as watch,
    ):
        yield Follower(session, watch)
