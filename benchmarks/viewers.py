"""The page as a process of its own, people who look at it, and clients that never finish a request.

Rule: everything passes through the port of the page, as from a browser. Viewers are on other machines, so here they work
only while nobody else wants the core.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from benchmarks.appliances import PATIENCE_SECONDS, Place, until

# A viewer goes to another screen this often. A client whose half request has been ended begins another one.
VISIT_SECONDS, AGAIN_SECONDS = 10.0, 1.0
CHUNK = 256 * 1024
_LINK = re.compile(r"open http://127\.0\.0\.1:(\d+)(/enter\?key=\S+)")


class Page(NamedTuple):
    """A page on the loopback address. `cookie`: what lets a viewer in, as NAME=VALUE."""

    pid: int
    port: int
    cookie: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """The number of bytes of an answer as they are sent, head and compressed body, and the body."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie, "Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            assert answer.status == 200, (path, answer.status)
            body = answer.read()
            head = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
            return head + len(body), body

    def spent_ms(self) -> float:
        """The processor time of the page."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6

    def head(self, path: str, *lines: str) -> bytes:
        """A request without an end."""
        return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Cookie: {self.cookie}", *lines, ""]).encode()


@contextmanager
def page_of(place: Place) -> Iterator[Page]:
    """Starts the page of an appliance."""
    path = place.root / "page.log"
    command = [sys.executable, "-m", "schedappliance", "web", "--config", str(place.file)]
    with path.open("wb") as log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log) as process:
        try:
            until(lambda: _LINK.search(path.read_text()) or process.poll() is not None)
            found = _LINK.search(path.read_text())
            assert found, path.read_text()
            yield Page(process.pid, int(found[1]), _cookie(int(found[1]), found[2]))
        finally:
            process.terminate()


def _cookie(port: int, link: str) -> str:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", link)
        cookie = connection.getresponse().getheader("Set-Cookie")
        assert cookie
        return cookie.partition(";")[0]


class Viewers:
    """Clients of a page. `events`: what each viewer has received; `lost`: streams that have ended; `failed`: visits."""

    def __init__(self, page: Page, paths: tuple[str, ...], viewers: int, half_open: int) -> None:
        self._page, self._paths, self._half_open = page, paths, half_open
        self.events = [0] * viewers
        self.lost = self.failed = self.visits = 0
        # The thread in which they look.
        self._thread = Path("/proc/self/task")

    def spent_ms(self) -> float:
        """The processor time of the clients themselves."""
        return int((self._thread / "schedstat").read_text().split()[0]) / 1e6

    async def look(self) -> None:
        """Looks until it is cancelled, at the lowest priority."""
        self._thread /= str(threading.get_native_id())
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        async with asyncio.TaskGroup() as group:
            for number in range(len(self.events)):
                group.create_task(self._follow(number))
                group.create_task(self._visit(number))
            for _ in range(self._half_open):
                group.create_task(self._ask_half())

    async def _follow(self, number: int) -> None:
        """Follows a screen. As a browser, it connects again when the stream has ended."""
        path = self._paths[number % len(self._paths)]
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._page.port)
                with closing(writer):
                    writer.write(self._page.head(path, "Accept: text/event-stream", ""))
                    while part := await reader.read(CHUNK):
                        self.events[number] += part.count(b"data: ")
            self.lost += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _visit(self, number: int) -> None:
        await asyncio.sleep(VISIT_SECONDS * number / len(self.events))
        while True:
            path = self._paths[(number + self.visits) % len(self._paths)]
            self.visits += 1
            self.failed += not await self._is_answered(path)
            await asyncio.sleep(VISIT_SECONDS)

    async def _is_answered(self, path: str) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._page.port)
            with closing(writer):
                writer.write(self._page.head(path, "Accept-Encoding: gzip", "Connection: close", ""))
                return (await reader.read()).startswith(b"HTTP/1.1 200 ")
        return False

    async def _ask_half(self) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._page.port)
                with closing(writer):
                    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                    await reader.read()
            await asyncio.sleep(AGAIN_SECONDS)


@contextmanager
def looking(viewers: Viewers) -> Iterator[None]:
    """The viewers look in a thread, from the first event of each of them until the end."""
    runner, ending = asyncio.Runner(), threading.Event()

    async def until_end() -> None:
        task = asyncio.create_task(viewers.look())
        while not ending.is_set() and not task.done():
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    thread = threading.Thread(target=lambda: runner.run(until_end()))
    thread.start()
    try:
        until(lambda: min(viewers.events) > 0 or viewers.lost > 2 * len(viewers.events) or not thread.is_alive())
        yield
        assert thread.is_alive(), "the viewers have ended"
    finally:
        ending.set()
        thread.join()
        runner.close()
