"""A page with the doors of the real one, and an application that answers with what it sees.

`python -m tests.support.doors APPLIANCE_FILE [NAME=SECONDS...]` serves it. The names are those of deadlines in `http.py` and
`guard.py`, which tests shorten.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.types import Receive, Scope, Send

from schedappliance.model.appliance_file import usable_appliance_file
from schedappliance.web import guard, http
from schedappliance.web.guard import Guard
from schedappliance.web.refusal import html_refusal
from schedappliance.web.rendering import environment
from schedappliance.web.serving import open_doors, serve
from schedappliance.web.settings import web_settings
from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
CHUNK = b"x" * 65_536


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the viewer and the length of the body; `/stream` never ends."""
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
        host, _, port = self.place.rpartition(":")
        return socket.create_connection((host, int(port)), PATIENCE_SECONDS)

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
def page(folder: Path, web: str, *deadlines: str, pass_on: socket.socket | None = None) -> Iterator[Page]:
    """A page with this section `web`. `pass_on`: a socket that it gets as systemd passes sockets on."""
    file = folder / "appliance.yaml"
    file.write_text(f"config: sched.conf\nweb: {{ {web} }}\n")
    command = [sys.executable, "-m", "tests.support.doors", str(file), *deadlines]
    lines = 1 if "sock" in web or (pass_on and pass_on.family == socket.AF_UNIX) else 2
    if pass_on:
        # The shell knows the number of the process.
        command = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0', "sh", *command]
    with subprocess.Popen(
        command, stdin=pass_on.fileno() if pass_on else None, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout
        try:
            yield Page(process, [process.stdout.readline().strip() for _ in range(lines)])
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def main() -> None:
    for deadline in sys.argv[2:]:
        name, _, value = deadline.partition("=")
        module = http if hasattr(http, name) else guard
        setattr(module, name, type(getattr(module, name))(value))
    settings = web_settings(usable_appliance_file(Path(sys.argv[1])))
    with open_doors(settings, lambda line: print(line, flush=True)) as doors:
        serve(Guard(application, doors, html_refusal(environment())), doors)


if __name__ == "__main__":
    os.umask(0o022)
    main()
