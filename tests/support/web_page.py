"""A real page of a real daemon, at an address of 127.0.0.1 as through `ssh -L`.

The page listens on a Unix socket, and socat passes connections on to it. So the viewer is the user of the test, also after
the page was killed and started again.
"""

from __future__ import annotations

import re
import signal
import subprocess

from tests.support.daemon import Daemon
from tests.support.daemon import begin as start_command
from tests.support.waiting import PATIENCE_SECONDS, eventually

_PORT = re.compile(r"listening on AF=2 127\.0\.0\.1:(\d+)")


class WebPage:
    """The page of a daemon. `url`: its address, without a slash at the end."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._socket = daemon.var / "web.sock"
        self._log = daemon.root / "web.log"
        self._relay_log = daemon.root / "relay.log"
        self.process: subprocess.Popen[str] | None = None
        self._relay: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> WebPage:
        """Starts the page and waits until it listens. Its address is the same each time."""
        begin = len(self.log)
        options = ("--config", str(self._daemon.etc / "appliance.yaml"), "--listen", str(self._socket))
        with self._log.open("ab") as log:
            self.process = start_command("web", *options, stdout=log, stderr=log)
        process = self.process
        eventually(lambda: "listens on" in self.log[begin:] or process.poll() is not None, "the page")
        assert process.poll() is None, self.log
        if self._relay is None:
            self._open_relay()
        return self

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _open_relay(self) -> None:
        listen, connect = "TCP-LISTEN:0,bind=127.0.0.1,fork,backlog=128", f"UNIX-CONNECT:{self._socket}"
        with self._relay_log.open("wb") as log:
            self._relay = subprocess.Popen(["socat", "-d", "-d", listen, connect], stderr=log)
        port = eventually(lambda: _PORT.search(self._relay_log.read_text()), "the relay")[1]
        self.url = f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        """Ends the page by SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        for process in (self._relay, self.process):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE_SECONDS)
