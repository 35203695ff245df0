"""Where the page listens: on the sockets of systemd, on a Unix socket, or on a loopback address.

Rule: beyond the loopback address, every request must hold a token. Without tokens, the page does not listen there.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.model.appliance_file import Address
from schedappliance.web.settings import WebSettings

DEFAULT = Address("127.0.0.1", 8385)
# The first socket that systemd passes on; see sd_listen_fds(3).
FIRST_DESCRIPTOR = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
BACKLOG = 128
# How often the page looks whether its Unix socket is in its place.
AUDIT_SECONDS = 10.0


class Listening(NamedTuple):
    """The sockets, and where each listens. `unix`: the one that the page has made at a path, and makes again."""

    sockets: tuple[socket.socket, ...]
    addresses: tuple[Address | Path, ...]
    unix: ListeningSocket | None = None


@contextmanager
def listening(settings: WebSettings, environ: MutableMapping[str, str], pid: int) -> Iterator[Listening]:
    """The sockets, which are closed at the end. `pid`: of this process. Raises Unusable."""
    sockets = sockets_of_systemd(environ, pid)
    if not sockets and isinstance(settings.listen, Path):
        unix = ListeningSocket(settings.listen, settings.mode, _group(settings), False, "web.listen")
        try:
            yield Listening((unix.socket,), (unix.path,), unix)
        finally:
            unix.close()
        return
    sockets = sockets or (_tcp(settings.listen),)
    try:
        yield Listening(sockets, tuple(map(_address, sockets)))
    finally:
        for one in sockets:
            one.close()


def sockets_of_systemd(environ: MutableMapping[str, str], pid: int) -> tuple[socket.socket, ...]:
    """The sockets that systemd has opened for this process; none if it has not. The variables are removed."""
    receiver, number, _names = [environ.pop(name, "") for name in _VARIABLES]
    if receiver != str(pid) or not number.isdecimal():
        return ()
    sockets = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(number)):
        try:
            one = socket.socket(fileno=descriptor)
        except OSError as error:
            raise Unusable(f"systemd's socket {descriptor} cannot be used: {error.strerror}", "see the unit") from None
        if one.type != socket.SOCK_STREAM or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise Unusable(f"systemd's socket {descriptor} is not a stream that listens", "write `ListenStream=`")
        os.set_inheritable(descriptor, False)
        sockets.append(one)
    return tuple(sockets)


def _address(listener: socket.socket) -> Address | Path:
    if listener.family == socket.AF_UNIX:
        return Path(os.fsdecode(listener.getsockname()))
    host, port = listener.getsockname()[:2]
    return Address(host.partition("%")[0], port)


def check_reach(addresses: tuple[Address | Path, ...], has_tokens: bool) -> None:
    """Raises Unusable if other machines can reach the page and there are no tokens."""
    for address in addresses:
        if isinstance(address, Address) and not address.is_loopback and not has_tokens:
            remedy = (
                "put a proxy with TLS before a Unix socket (`web.listen`, `web.proxies`), or add a token with "
                "`schedappliance web token add`"
            )
            raise Unusable(f"other machines can reach the page at {address}, and there is no token", remedy)


def _group(settings: WebSettings) -> int | None:
    if settings.group is None:
        return None
    try:
        return grp.getgrnam(settings.group).gr_gid
    except KeyError:
        raise Unusable(f"no group `{settings.group}`", "create it, or change `web.group`") from None


def _tcp(address: Path | Address | None) -> socket.socket:
    """A socket on an address, or on the default one. If this is in use, on another port: then nobody has chosen the port."""
    assert not isinstance(address, Path)
    with suppress(_InUse):
        return _bound(address or DEFAULT)
    if address is None:
        # 0: the kernel chooses.
        return _bound(Address(DEFAULT.host, 0))
    raise Unusable(f"another process listens on {address}", "stop it, or change `web.listen`")


class _InUse(Exception):
    """Another process listens on the address."""


def _bound(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _InUse from None
        raise Unusable(f"cannot listen on {address}: {error.strerror}", "change `web.listen`") from None
    return listener
