"""Which user's clients come next: time and places are given to users, and only then to their clients.

Rule: however many clients a user has, another user waits for one of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop
    from schedappliance.engine.records import User


class OfUser(Protocol):
    """A client. `last_reply` grows with each of its answers."""

    user: User
    last_reply: int


Client = TypeVar("Client", bound=OfUser)


class Fairness:
    """Gives each user one client at a time, in each turn and in each round of the loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        # The users for whom a piece was made in this round, after it had lasted for some time.
        self._round = 0
        self._served: set[int] = set()

    def in_order(self, clients: Iterable[Client]) -> list[Client]:
        """The clients in the order in which their lines are taken: first one of each user, then the second ones.

        The user whose last reply is the oldest comes first, and so does the client among those of a user.
        """
        of_user: dict[int, list[Client]] = {}
        for client in sorted(clients, key=lambda client: client.last_reply):
            of_user.setdefault(client.user.uid, []).append(client)
        users = sorted(of_user.values(), key=lambda clients: clients[-1].last_reply)
        rounds = zip_longest(*users)
        return [client for client in chain.from_iterable(rounds) if client is not None]

    def must_yield(self, uid: int, has_piece: bool) -> bool:
        """Whether the next piece of a long answer is left to a later round. `has_piece`: the client has got one in this round."""
        if not self._loop.must_yield():
            return False
        if self._round != self._loop.round:
            self._round = self._loop.round
            self._served.clear()
        if has_piece or uid in self._served:
            return True
        self._served.add(uid)
        return False
