"""Makes the parts of the page, opens its doors, and serves it until the process is told to end.

Rule: uvicorn reads and writes HTTP; the sockets, the limits and the end are ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from schedappliance.clock import SystemClock, stopwatch
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.model.appliance_file import Address
from schedappliance.web.access.accounts import Accounts
from schedappliance.web.access.doors import Doors
from schedappliance.web.access.guard import Guard
from schedappliance.web.access.links import LinkDoor
from schedappliance.web.access.refusal import html_refusal
from schedappliance.web.access.tokens import TokenFile
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.application import application
from schedappliance.web.rendering.templates import environment
from schedappliance.web.server import listening
from schedappliance.web.server.connections import Connection
from schedappliance.web.server.listening import Listening, check_reach
from schedappliance.web.settings import WebSettings

IDLE_SECONDS = 5
HEAD_BYTES = 32 * 1024
END_SECONDS = 1
TRACEBACK_SECONDS = 1.0


def serve_page(endpoint: Path, settings: WebSettings, announce: Callable[[str], None], end_with: int | None) -> None:
    """Serves the page of the appliance whose console is at `endpoint`. Raises Unusable.

    `announce`: as for open_doors and serve. `end_with`: as for serve.
    """
    with open_doors(settings, announce) as doors:
        clock = SystemClock()
        gateway = Gateway(endpoint, clock)
        feed = Feed(endpoint, clock, settings.history_ms, gateway.forget_rights)
        app = application(settings.title, settings.read_only, gateway, feed, clock)
        serve(Guard(app, doors, html_refusal(environment())), doors.listening, announce, end_with)


@contextmanager
def open_doors(settings: WebSettings, announce: Callable[[str], None]) -> Iterator[Doors]:
    """Listens, and says where. `announce` prints a line for the person who starts the page. Raises Unusable."""
    clock = SystemClock()
    tokens = TokenFile(settings.tokens, announce)
    with listening.listening(settings, os.environ, os.getpid()) as opened:
        addresses = opened.addresses
        check_reach(addresses, tokens.has_tokens())
        loopback = next((one for one in addresses if isinstance(one, Address) and one.is_loopback), None)
        link = None if loopback is None else LinkDoor(f"http://{loopback}", clock, announce)
        # Cookies do not tell ports apart, so two pages on a machine need two names.
        name = f"schedappliance-{loopback.port if loopback else 0}"
        for address in addresses:
            announce(f"the page listens on {address}")
        if link:
            link.print_link()
        yield Doors(settings, opened, Accounts(clock), tokens, link, name)


def serve(app: ASGIApp, opened: Listening, announce: Callable[[str], None], end_with: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, or until the pipe `end_with` has no writer any more.

    `announce` prints a line when the socket of the page was lost.
    """
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    logging.getLogger("uvicorn.error").addFilter(FewTracebacks())
    asyncio.run(_serve(_Server(config), opened, announce, end_with))


class FewTracebacks(logging.Filter):
    """Lets one traceback a second pass. So nobody fills the log, whatever bug of the page his requests meet."""

    def __init__(self, seconds: Callable[[], float] = stopwatch) -> None:
        super().__init__()
        self._seconds = seconds
        self._next = seconds()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged. The next traceback that is logged gives the number of those that were left out."""
        if not record.exc_info:
            return True
        if (now := self._seconds()) < self._next:
            self._left_out += 1
            return False
        if self._left_out:
            record.msg = f"{record.msg} ({self._left_out:,} more were left out)"
        self._next, self._left_out = now + TRACEBACK_SECONDS, 0
        return True


class _Server(uvicorn.Server):
    """uvicorn's own server would end the process by the signal that it has received."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        yield

    def end(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self.should_exit = True

    async def listen_on(self, new: socket.socket) -> None:
        """Accepts clients on another socket, and closes the old ones. The clients that are connected stay."""
        for server in self.servers:
            server.close()
        loop, backlog = asyncio.get_running_loop(), self.config.backlog
        self.servers = [await loop.create_server(self._connection, sock=new, backlog=backlog)]

    def _connection(self) -> Connection:
        return Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


async def _serve(server: _Server, opened: Listening, announce: Callable[[str], None], end_with: int | None) -> None:
    if end_with is not None:
        _watch(end_with, server.end)
    audits = asyncio.create_task(_keep(opened.unix, server, announce)) if opened.unix else None
    await server.serve(sockets=list(opened.sockets))
    if audits:
        audits.cancel()


async def _keep(unix: ListeningSocket, server: _Server, announce: Callable[[str], None]) -> None:
    """Makes the socket again if somebody removes it, and says so. It says once for each cause that this is impossible."""
    last = ""
    while True:
        await asyncio.sleep(listening.AUDIT_SECONDS)
        old, trouble = unix.socket, unix.mend()
        is_new = unix.socket is not old
        if is_new:
            await server.listen_on(unix.socket)
        if trouble and (is_new or trouble != last):
            announce(trouble)
        last = trouble


def _watch(descriptor: int, end: Callable[[], None]) -> None:
    """Calls `end` when a pipe has no writer any more."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(descriptor, 4096):
                loop.remove_reader(descriptor)
                end()

    loop.add_reader(descriptor, read)
