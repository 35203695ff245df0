"""The way to the appliance: every question of a viewer is a console command on behalf of this viewer.

Rule: the appliance decides what is allowed. An answer about rights counts for everybody with the same ground, which the
answer names: the roles and the stanza files. The ground of a viewer is asked for again after a minute: a user may join or
leave a group at any time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.errors import Rejected, Unavailable
from schedappliance.client.questions import AS_DATA, error_in, without_prefix
from schedappliance.client.wire import Message
from schedappliance.clock import Clock
from schedappliance.web.access.accounts import own_name
from schedappliance.web.access.viewer import Viewer

# How many questions are sent at once. The appliance answers them in one turn, and a due job waits for its end: 1 ms.
# With 20, the 95th percentile of its lateness grew by 2 ms while 50 viewers looked; with 5, by 0.2 ms.
TOGETHER = 5
# Of a viewer: a slow answer, such as a preview, must not delay the others.
CONNECTIONS = 4
# Viewers whose connections stay open. The console gives a quarter of its connections to one user.
VIEWERS = 32
PATIENCE_SECONDS = 30.0
# For a preview, which a child of the appliance makes: a busy machine delays it, but not the other answers.
PREVIEW_SECONDS = 120.0
# A page asks about each button of each row.
MOST_RIGHTS, FRESH_MS = 20_000, 60_000
# Its answer tells the ground of whoever may ask.
ANY_LINE = "version"

# What alone decides about rights: the digest of the stanza files, the roles of the viewer, and those of the page.
Ground = tuple[str | None, tuple[str, ...], tuple[str, ...]]


class _Connections:
    """The idle connections of one viewer, and how many may be open."""

    def __init__(self) -> None:
        self.idle: list[AsyncSession] = []
        self.limit = asyncio.Semaphore(CONNECTIONS)


class Gateway:
    """The connections to one appliance. `own_user`: the user of this process, who needs no delegate."""

    def __init__(self, endpoint: Path, clock: Clock, own_user: str | None = None) -> None:
        self.endpoint, self._clock = endpoint, clock
        self.own_user = own_name() if own_user is None else own_user
        self._viewers: OrderedDict[str, _Connections] = OrderedDict()
        self._rights: dict[tuple[Ground, str], bool] = {}
        # The grounds of the viewers and the questions that had no answer, by the names of the viewers, and the boot time until
        # which they count.
        self._grounds: dict[str, Ground] = {}
        self._refused: set[tuple[str, str]] = set()
        self._grounds_end_ms = 0

    async def ask(self, viewer: Viewer, line: str) -> Message:
        """The response to `json LINE`. Raises Unavailable."""
        async with self._connection(viewer) as session:
            session.set_timeout(PREVIEW_SECONDS if line.startswith("preview") else PATIENCE_SECONDS)
            return _with_data(await session.ask(f"{AS_DATA}{line}"))

    async def ask_all(self, viewer: Viewer, lines: Sequence[str]) -> list[Message]:
        """The responses to each `json LINE`, for commands that change nothing. Raises Unavailable."""
        responses: list[Message] = []
        for at in range(0, len(lines), TOGETHER):
            async with self._connection(viewer) as session:
                session.set_timeout(PATIENCE_SECONDS)
                responses += await session.ask_together([f"{AS_DATA}{line}" for line in lines[at : at + TOGETHER]])
        return list(map(_with_data, responses))

    async def data(self, viewer: Viewer, line: str, reads_failures: bool = False) -> Any:
        """The data of the answer. `reads_failures`: also those of a failure, if it has some. Raises Error."""
        response = await self.ask(viewer, line)
        if response["ok"] or (reads_failures and response["data"] is not None):
            return response["data"]
        raise error_in(response)

    async def may(self, viewer: Viewer, line: str) -> bool:
        """Whether the roles of a viewer allow a command. Raises Unavailable."""
        self._forget_old_rights()
        ground = self._grounds.get(viewer.name)
        known = None if ground is None else self._rights.get((ground, line))
        if known is not None or self._is_refused(viewer, line):
            return bool(known)
        (is_allowed,) = await self._allowed(viewer, [line])
        if viewer.name not in self._grounds:
            # The line is no command, or the viewer may not ask anything.
            await self._allowed(viewer, [ANY_LINE])
        return is_allowed

    async def learn(self, viewer: Viewer, lines: Iterable[str]) -> None:
        """Asks at once whether the roles allow many commands. After that, `may` knows it. Raises Unavailable."""
        ground, known = await self.ground(viewer), self._rights
        unknown = [line for line in dict.fromkeys(lines) if (ground, line) not in known]
        await self._allowed(viewer, [line for line in unknown if not self._is_refused(viewer, line)])

    async def ground(self, viewer: Viewer) -> Ground:
        """What decides about the rights of a viewer; the name of one who may not ask. Raises Unavailable."""
        self._forget_old_rights()
        if viewer.name not in self._grounds and not self._is_refused(viewer, ANY_LINE):
            await self._allowed(viewer, [ANY_LINE])
        return self._grounds.get(viewer.name) or (None, (viewer.name,), ())

    def _is_refused(self, viewer: Viewer, line: str) -> bool:
        """Whether a question had no answer. Nothing else is asked about a viewer who may not ask about ANY_LINE.

        A viewer without a role would cause two questions for each declared job, and a line in the log for each.
        """
        return (viewer.name, ANY_LINE) in self._refused or (viewer.name, line) in self._refused

    async def _allowed(self, viewer: Viewer, lines: Sequence[str]) -> list[bool]:
        # If the files change during the question, its answer is kept where nobody looks any more.
        rights, grounds, refused = self._rights, self._grounds, self._refused
        allowed = []
        for line, response in zip(
            lines, await self.ask_all(viewer, [f"authz may {one}" for one in lines]), strict=True
        ):
            answer = response["data"]
            allowed.append(answer is not None and bool(answer["allowed"]))
            if answer is not None:
                ground = answer["digest"], tuple(answer["roles"]), tuple(answer["delegate_roles"] or ())
                grounds[viewer.name], rights[ground, line] = ground, allowed[-1]
            elif isinstance(error := error_in(response), Rejected):
                # Not a command, or a user who may not even ask.
                refused.add((viewer.name, line))
            else:
                raise error
        return allowed

    def forget_rights(self) -> None:
        """The roles may have changed."""
        self._rights = {}
        self._forget_grounds()

    def _forget_grounds(self) -> None:
        self._grounds, self._refused, self._grounds_end_ms = {}, set(), self._clock.moment().boot + FRESH_MS

    def _forget_old_rights(self) -> None:
        if len(self._rights) + len(self._refused) >= MOST_RIGHTS:
            self.forget_rights()
        elif self._clock.moment().boot >= self._grounds_end_ms:
            self._forget_grounds()

    def close(self) -> None:
        for connections in self._viewers.values():
            _close(connections)
        self._viewers.clear()

    @asynccontextmanager
    async def _connection(self, viewer: Viewer) -> AsyncIterator[AsyncSession]:
        connections = self._connections_of(viewer)
        async with connections.limit:
            session = connections.idle.pop() if connections.idle else self.new_session(viewer)
            try:
                session.renew()
                yield session
            except Unavailable:
                # The other ones are those of an appliance that is gone.
                _close(connections)
                raise
            finally:
                if self._viewers.get(viewer.name) is connections:
                    connections.idle.append(session)
                else:
                    session.close()

    def _connections_of(self, viewer: Viewer) -> _Connections:
        connections = self._viewers.setdefault(viewer.name, _Connections())
        self._viewers.move_to_end(viewer.name)
        if len(self._viewers) > VIEWERS:
            _, oldest = self._viewers.popitem(last=False)
            _close(oldest)
        return connections

    def new_session(self, viewer: Viewer) -> AsyncSession:
        return AsyncSession(self.endpoint, PATIENCE_SECONDS, None if viewer.name == self.own_user else viewer.name)


def _close(connections: _Connections) -> None:
    while connections.idle:
        connections.idle.pop().close()


def _with_data(response: Message) -> Message:
    """The rejection of a line that could not be read as a command has no data either."""
    return {"data": None} | without_prefix(response)
