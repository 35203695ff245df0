"""Sends reports to systemd, if it started the daemon, as sd_notify(3) describes.

Rule: a report neither blocks nor fails, since the work of the daemon does not depend on it.
"""

from __future__ import annotations

import socket
from collections.abc import MutableMapping
from contextlib import suppress

from schedappliance.visible import visible

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class NotifySocket:
    """The socket that takes the reports. `address`: its path; a leading `@` stands for the null byte of an abstract one.

    `watchdog_ms`: systemd restarts the daemon if no report arrives for this long; None: it waits for ever.
    """

    def __init__(self, address: str, watchdog_ms: int | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_ms = watchdog_ms
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, **variables: str | int) -> None:
        """Sends variables such as `READY=1` as one report."""
        # A line feed, such as that of a file name in a trouble, would begin another variable.
        lines = [f"{name}={visible(str(value))}" for name, value in variables.items()]
        with suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(), self._address)

    def close(self) -> None:
        self._socket.close()


def notify_socket(environ: MutableMapping[str, str], pid: int) -> NotifySocket | None:
    """The socket that the environment names; None without one. Its variables are removed from the environment.

    `pid`: of this process. A watchdog that belongs to another process is ignored.
    """
    address, watchdog_us, watchdog_pid = [environ.pop(name, "") for name in _VARIABLES]
    if not address.startswith(("/", "@")):
        return None
    is_watched = watchdog_us.isdecimal() and watchdog_pid in ("", str(pid))
    return NotifySocket(address, int(watchdog_us) // 1000 if is_watched else None)
