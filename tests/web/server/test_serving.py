"""What the server of the page logs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from schedappliance.cli.main import main
from schedappliance.clock import SystemClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.application import application
from schedappliance.web.server.serving import TRACEBACK_SECONDS, FewTracebacks


def test_one_traceback_a_second_is_logged_with_the_number_of_the_others() -> None:
    now = [0.0]
    tracebacks = FewTracebacks(lambda: now[0])

    def logged(failure: Exception | None = None) -> str | None:
        info = None if failure is None else (type(failure), failure, None)
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "it has failed", (), info)
        return record.getMessage() if tracebacks.filter(record) else None

    assert logged(ValueError()) == "it has failed"
    assert [logged(ValueError()), logged(KeyError())] == [None, None]
    assert logged() == "it has failed"
    now[0] += TRACEBACK_SECONDS
    assert logged(ValueError()) == "it has failed (2 more were left out)"
    now[0] += TRACEBACK_SECONDS
    assert logged(ValueError()) == "it has failed"


@pytest.mark.parametrize("path", ["/do", "/api/v1/command"])
def test_a_client_that_leaves_within_a_body_is_no_bug(tmp_path: Path, path: str) -> None:
    """Seventy lines in the log said that the page had failed."""
    gateway = Gateway(tmp_path / "c.sock", SystemClock())
    feed = Feed(gateway.endpoint, SystemClock(), 0, gateway.forget_rights)
    app = application("page", False, gateway, feed, SystemClock())
    received: list[Message] = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{", "more_body": True}]
    statuses: list[int] = []

    async def receive() -> Message:
        return received.pop()

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    scope: Scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "query_string": b"", "headers": []}
    scope["state"] = {"viewer": Viewer("root", 0, "socket")}
    asyncio.run(app(scope, receive, send))
    assert statuses[0] == 400


@pytest.mark.parametrize(
    ("keys", "listen", "both"),
    [
        ("web: { listen: c.sock }", None, "`console.listen` and `web.listen` both use the path of `c.sock`"),
        ("", "c.sock", "`console.listen` and `web.listen` both use the path of `c.sock`"),
        ("log: { file: x }", "x", "`web.listen` and `log.file` both use the path of `x`"),
    ],
)
def test_the_page_listens_on_no_path_of_the_appliance(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keys: str,
    listen: str | None,
    both: str,
) -> None:
    """It took the place of the console, which `lint` calls an error."""
    monkeypatch.setattr("os.nice", lambda _: 0)
    monkeypatch.setattr("schedappliance.web.server.serving.serve_page", lambda *_: pytest.fail("it serves"))
    file = tmp_path / "appliance.yaml"
    file.write_text(f"config: sched.conf\nconsole: {{ listen: c.sock }}\n{keys}\n")
    words = ["--listen", str(tmp_path / listen)] if listen else []
    assert main(["web", "--config", str(file), *words]) == 78
    assert both in capsys.readouterr().err
