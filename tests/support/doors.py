"""A page with the doors of the real one, and an application that answers with what it sees."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from starlette.types import Receive, Scope, Send

from schedappliance.model.appliance_file import usable_appliance_file
from schedappliance.web.access import guard
from schedappliance.web.access.guard import Guard
from schedappliance.web.access.refusal import html_refusal
from schedappliance.web.rendering.templates import environment
from schedappliance.web.server import connections, listening
from schedappliance.web.server.serving import open_doors, serve
from schedappliance.web.settings import web_settings
from tests.support.processes import copy_of
from tests.support.waiting import PATIENCE_SECONDS

CHUNK = b"x" * 65_536


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the viewer and the length of the body; `/stream` never ends, and `?silent` gets no answer."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        ended, number = asyncio.create_task(_end(receive)), 0
        while not ended.done():
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            number += 1
            # As any real stream, this one leaves time for others.
            await asyncio.wait([ended], timeout=0)
        print(f"the stream ended after {number} chunks", flush=True)
        return
    if scope["query_string"] == b"silent":
        await _end(receive)
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    viewer = scope.get("state", {}).get("viewer")
    answer = json.dumps({"viewer": viewer and asdict(viewer), "body": len(body), "path": scope["path"]}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer})


async def _end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass
class Page:
    """A page that runs. `link`: the one-time link."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def place(self) -> str:
        return self.lines[0].rpartition(" ")[2]

    @property
    def key(self) -> str:
        return self.lines[1].partition("key=")[2].split()[0]

    def connect(self) -> socket.socket:
        if self.place.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(self.place)
            return connection
        return self.connect_from("127.0.0.1")

    def connect_from(self, address: str) -> socket.socket:
        """Connects over TCP from an address of this machine."""
        host, _, port = self.place.rpartition(":")
        return socket.create_connection((host, int(port)), PATIENCE_SECONDS, (address, 0))

    def ask(self, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Sends a request whose head has these lines. Returns status, headers and body of the answer."""
        with self.connect() as connection:
            connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
            return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The answer, up to the end of the connection."""
    data = b""
    while chunk := connection.recv(65_536):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


@contextmanager
def page(folder: Path, web: str, pass_on: socket.socket | None = None, **deadlines: float) -> Iterator[Page]:
    """A page with this section `web`. `pass_on`: a socket that it gets as systemd passes sockets on.

    `deadlines`: constants of `connections.py`, `guard.py` and `listening.py`, shortened.
    """
    file = folder / "appliance.yaml"
    file.write_text(f"config: sched.conf\nweb: {{ {web} }}\n")
    lines = 1 if "sock" in web or (pass_on and pass_on.family == socket.AF_UNIX) else 2
    serving = copy_of(partial(_serve, file, deadlines, pass_on is not None))
    stdin = pass_on.fileno() if pass_on else None
    with subprocess.Popen(["page"], stdin=stdin, stdout=subprocess.PIPE, text=True, preexec_fn=serving) as process:
        assert process.stdout
        try:
            yield Page(process, [process.stdout.readline().strip() for _ in range(lines)])
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _serve(file: Path, deadlines: dict[str, float], is_passed: bool) -> int:
    os.umask(0o022)
    if is_passed:
        os.dup2(0, 3)
        os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    for name, seconds in deadlines.items():
        (module,) = [module for module in (connections, guard, listening) if hasattr(module, name)]
        setattr(module, name, seconds)
    settings = web_settings(usable_appliance_file(file))
    announce = partial(print, flush=True)
    with open_doors(settings, announce) as doors:
        serve(Guard(application, doors, html_refusal(environment())), doors.listening, announce)
    return 0
