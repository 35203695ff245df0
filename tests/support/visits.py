"""Visits of the page on a machine of its own: the answer that the page gives a user on its Unix socket."""

from __future__ import annotations

from tests.support.machine import Machine

SOCKET = "/run/schedappliance-web/web.sock"
# Prints the answer of the page. A change comes from the page itself.
_VISIT = f"""\
import socket, sys
method, path = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect("{SOCKET}")
headers = "Host: localhost\\r\\nOrigin: http://localhost\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n"
connection.sendall(f"{{method}} {{path}} HTTP/1.1\\r\\n{{headers}}\\r\\n".encode())
while data := connection.recv(65536):
    sys.stdout.buffer.write(data)
"""


def visit(machine: Machine, python: str, user: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of the answer to a user; 0: the user may not connect. `python`: its path on the machine."""
    command = ("runuser", "-u", user, "--", python, "-c", _VISIT, method, path)
    done = machine.run(*command, check=False)
    if "PermissionError" in done.stderr:
        return 0, ""
    # Line ends are those of text.
    head, _, body = done.stdout.partition("\n\n")
    assert head, done
    return int(head.split()[1]), body
