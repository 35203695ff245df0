"""What a request says about its viewer: the facts of its connection, or a secret that it holds.

Rule: pure. Each request has one claim, and a claim that does not hold is not replaced by another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from schedappliance.web.access.refusal import Refused
from schedappliance.web.settings import WebSettings

Headers = Iterable[tuple[bytes, bytes]]
LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    `uid`: of the process that connected to a Unix socket; None: the connection is TCP, and `address` is that of its other
    end, empty if it is not known.
    """

    uid: int | None = None
    is_loopback: bool = False
    address: str = ""

    @property
    def owner(self) -> str:
        """Who answers for the connection, before a request has said more."""
        return self.address if self.uid is None else f"uid {self.uid}"


@dataclass(frozen=True, slots=True)
class PeerClaim:
    """The viewer is the user of the process at the other end."""

    uid: int


@dataclass(frozen=True, slots=True)
class ProxyClaim:
    """The viewer is the user whom a proxy names."""

    name: str


@dataclass(frozen=True, slots=True)
class TokenClaim:
    """The viewer holds an API token."""

    token: str


@dataclass(frozen=True, slots=True)
class CookieClaim:
    """The viewer holds the cookie of a link that was opened."""

    cookie: str


Claim = PeerClaim | ProxyClaim | TokenClaim | CookieClaim


def claim(peer: Peer, headers: Headers, settings: WebSettings, cookie_name: str) -> Claim:
    """Raises Refused."""
    pairs = [(name.decode("latin-1").lower(), value) for name, value in headers]
    if authorization := _values(pairs, "authorization"):
        return _token(authorization)
    if peer.uid is not None and peer.uid == settings.stranger:
        sentence = "Your user is not mapped into the user namespace of the page."
        raise Refused(HTTPStatus.FORBIDDEN, "Unknown user", sentence)
    if settings.user_header and (names := _values(pairs, settings.user_header.lower())):
        return _named(peer, names, settings)
    if peer.uid is not None:
        if peer.uid in settings.proxies:
            sentence = f"The proxy has not named a user in the header {settings.user_header}."
            raise Refused(HTTPStatus.FORBIDDEN, "Nobody is logged in", sentence)
        return PeerClaim(peer.uid)
    if not peer.is_loopback:
        sentence = "Requests from other machines need an API token in the header Authorization."
        raise Refused(HTTPStatus.UNAUTHORIZED, "A token is needed", sentence)
    for cookie in _cookies(pairs, cookie_name):
        return CookieClaim(cookie)
    raise needs_link("Open the link that was printed when the page was started. It works once.")


def needs_link(sentence: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, "Open the link", sentence, link=True)


def _values(pairs: list[tuple[str, bytes]], name: str) -> list[bytes]:
    return [value for a_name, value in pairs if a_name == name]


def _token(values: list[bytes]) -> TokenClaim:
    scheme, _, token = values[0].partition(b" ")
    if len(values) != 1 or scheme.lower() != b"bearer" or not token.strip().isascii():
        sentence = "The header Authorization must be `Bearer` and an API token."
        raise Refused(HTTPStatus.UNAUTHORIZED, "Unknown token", sentence)
    return TokenClaim(token.strip().decode("ascii"))


def _named(peer: Peer, names: list[bytes], settings: WebSettings) -> ProxyClaim:
    """The name that a proxy gives. From anybody else the header is a forgery, or a proxy that somebody forgot to list."""
    if peer.uid is None or peer.uid not in settings.proxies:
        sentence = f"Only the users in `web.proxies` may send the header {settings.user_header}."
        raise Refused(HTTPStatus.FORBIDDEN, "Not a proxy", sentence)
    name = names[0].decode(errors="replace").strip()
    if len(names) != 1 or not name or len(name) > LONGEST_NAME or not name.isprintable() or "\ufffd" in name:
        sentence = f"The header {settings.user_header} must name one user."
        raise Refused(HTTPStatus.BAD_REQUEST, "Unreadable user", sentence)
    return ProxyClaim(name)


def _cookies(pairs: list[tuple[str, bytes]], wanted: str) -> Iterable[str]:
    for value in _values(pairs, "cookie"):
        for part in value.decode("latin-1").split(";"):
            name, _, content = part.strip().partition("=")
            if name == wanted:
                yield content
