"""What a request says about its viewer: every way, and every forgery."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest

from schedappliance.web.access.identity import Claim, CookieClaim, Peer, PeerClaim, ProxyClaim, TokenClaim, claim
from schedappliance.web.access.refusal import Refusal, Refused
from schedappliance.web.settings import WebSettings

SETTINGS = WebSettings(
    listen=None,
    mode=0o660,
    group=None,
    user_header=None,
    proxies=frozenset(),
    hosts=frozenset(("localhost",)),
    read_only=False,
    url=None,
    title="node",
    history_ms=1,
    tokens=Path("/nowhere/web-tokens"),
)
PROXIED = replace(SETTINGS, user_header="X-User", proxies=frozenset((33,)))
LOOPBACK, FAR = Peer(is_loopback=True), Peer()


def _claim(peer: Peer, *headers: tuple[str, str], settings: WebSettings = SETTINGS) -> Claim:
    return claim(peer, [(name.encode(), value.encode()) for name, value in headers], settings, "__Host-x-1")


def _refusal(peer: Peer, *headers: tuple[str, str], settings: WebSettings = SETTINGS) -> Refusal:
    with pytest.raises(Refused) as refused:
        _claim(peer, *headers, settings=settings)
    return refused.value.refusal


def test_the_viewer_of_a_unix_socket_is_the_user_at_its_other_end() -> None:
    assert _claim(Peer(uid=1000)) == PeerClaim(1000)
    assert _claim(Peer(uid=1000), settings=PROXIED) == PeerClaim(1000)


def test_a_cookie_does_not_change_who_the_user_of_a_unix_socket_is() -> None:
    assert _claim(Peer(uid=1000), ("Cookie", "__Host-x-1=abc")) == PeerClaim(1000)


def test_a_proxy_names_the_viewer() -> None:
    assert _claim(Peer(uid=33), ("x-user", " alice "), settings=PROXIED) == ProxyClaim("alice")


def test_a_proxy_that_names_nobody_is_not_a_viewer() -> None:
    assert _refusal(Peer(uid=33), settings=PROXIED).status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("peer", [Peer(uid=1000), Peer(uid=0), LOOPBACK, FAR])
def test_nobody_else_may_send_the_header_of_the_proxy(peer: Peer) -> None:
    refusal = _refusal(peer, ("X-User", "alice"), ("Cookie", "__Host-x-1=abc"), settings=PROXIED)
    assert (refusal.status, refusal.title) == (HTTPStatus.FORBIDDEN, "Not a proxy")


def test_a_user_whom_the_namespace_does_not_map_is_neither_a_viewer_nor_a_proxy() -> None:
    settings = replace(PROXIED, stranger=33)
    for headers in ((), (("X-User", "alice"),)):
        assert _refusal(Peer(uid=33), *headers, settings=settings).title == "Unknown user"
    assert _claim(Peer(uid=1000), settings=settings) == PeerClaim(1000)
    assert _claim(Peer(uid=33), ("Authorization", "Bearer a"), settings=settings) == TokenClaim("a")


def test_a_header_means_nothing_without_a_proxy() -> None:
    assert _claim(Peer(uid=1000), ("X-User", "root")) == PeerClaim(1000)


@pytest.mark.parametrize("names", [("alice", "bob"), ("",), ("a\tb",), ("x" * 257,), ("a\u202eb",)])
def test_a_proxy_names_one_user(names: tuple[str, ...]) -> None:
    refusal = _refusal(Peer(uid=33), *(("X-User", name) for name in names), settings=PROXIED)
    assert refusal.status == HTTPStatus.BAD_REQUEST


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(Refused):
        claim(Peer(uid=33), [(b"x-user", b"\xff")], PROXIED, "c")


@pytest.mark.parametrize("peer", [Peer(uid=1000), Peer(uid=33), LOOPBACK, FAR])
def test_a_token_comes_first(peer: Peer) -> None:
    headers = ("Authorization", "bearer  sched_x "), ("X-User", "alice"), ("Cookie", "__Host-x-1=abc")
    assert _claim(peer, *headers, settings=PROXIED) == TokenClaim("sched_x")


@pytest.mark.parametrize("values", [("Basic YTpi",), ("Bearer a", "Bearer b"), ("Bearer ü",)])
def test_another_authorization_is_not_replaced_by_another_claim(values: tuple[str, ...]) -> None:
    refusal = _refusal(Peer(uid=1000), *(("Authorization", value) for value in values))
    assert (refusal.status, refusal.title) == (HTTPStatus.UNAUTHORIZED, "Unknown token")


def test_a_cookie_counts_on_the_loopback_address() -> None:
    assert _claim(LOOPBACK, ("Cookie", "a=b; __Host-x-1=abc; c=d")) == CookieClaim("abc")
    assert _claim(LOOPBACK, ("Cookie", "a=b"), ("Cookie", "__Host-x-1=a=b")) == CookieClaim("a=b")


def test_without_a_cookie_the_link_is_needed() -> None:
    refusal = _refusal(LOOPBACK, ("Cookie", "__Host-x-2=abc"))
    assert (refusal.status, refusal.link) == (HTTPStatus.UNAUTHORIZED, True)


def test_other_machines_need_a_token() -> None:
    refusal = _refusal(FAR, ("Cookie", "__Host-x-1=abc"))
    assert (refusal.status, refusal.link) == (HTTPStatus.UNAUTHORIZED, False)
