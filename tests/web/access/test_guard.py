"""The guard, request by request: who is let in, what other sites cannot do, and what each answer says to the browser."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schedappliance.clock import ManualClock
from schedappliance.model.token_file import Token
from schedappliance.web.access import guard
from schedappliance.web.access.accounts import Accounts
from schedappliance.web.access.capacity import SHARE
from schedappliance.web.access.doors import Doors
from schedappliance.web.access.guard import BODY_BYTES, PEER, SECURITY_HEADERS, Guard
from schedappliance.web.access.identity import Peer
from schedappliance.web.access.links import LINK_MS, PAUSE_MS, SESSION_S, LinkDoor
from schedappliance.web.access.tokens import TokenFile, hash_of
from schedappliance.web.server.listening import Listening
from schedappliance.web.settings import WebSettings
from tests.support.doors import application
from tests.web.access.test_identity import PROXIED

OWN = pwd.getpwuid(os.geteuid())
NOBODY = pwd.getpwnam("nobody")
COOKIE = "schedappliance-1"
# A part of a body that never arrives.
NOTHING_MORE = b"..."
LOOPBACK, NOBODYS = Peer(is_loopback=True), Peer(uid=NOBODY.pw_uid)
SAME = ("sec-fetch-site", "same-origin")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def viewer(self) -> dict[str, Any] | None:
        """The viewer that the application has seen. The test fails if the request did not reach it."""
        assert self.status == 200, self
        viewer: dict[str, Any] | None = json.loads(self.body)["viewer"]
        return viewer


class Site:
    """A guard with an application behind it. `printed`: the lines for the person who has started the page."""

    def __init__(self, tmp_path: Path, settings: WebSettings) -> None:
        self.clock, self.printed = ManualClock(0), list[str]()
        self.tokens = tmp_path / "web-tokens"
        self.doors = Doors(
            settings,
            Listening((), ()),
            Accounts(self.clock),
            TokenFile(self.tokens, self.printed.append),
            LinkDoor("http://127.0.0.1:1", self.clock, self.printed.append),
            COOKIE,
        )
        self.guard = Guard(application, self.doors)

    @property
    def key(self) -> str:
        return self.printed[-1].partition("key=")[2].split()[0]

    def ask(
        self,
        path: str = "/",
        *headers: tuple[str, str],
        method: str = "GET",
        peer: Peer | None = NOBODYS,
        host: str | None = "localhost",
        body: Iterable[bytes] = (),
        app: ASGIApp | None = None,
    ) -> Answer:
        """The answer of the guard, or of `app`."""
        target, _, query = path.partition("?")
        pairs = [*([("host", host)] if host is not None else []), *headers]
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": target,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
            "state": {},
            **({PEER: peer} if peer else {}),
        }
        return asyncio.run(_ask(app or self.guard, scope, list(body)))

    def enter(self) -> str:
        """Opens the link. Returns the header with the cookie."""
        assert self.doors.link
        self.doors.link.print_link()
        answer = self.ask(f"/enter?key={self.key}", peer=LOOPBACK)
        assert answer.status == 200
        return answer.headers["set-cookie"].partition(";")[0]


async def _ask(app: ASGIApp, scope: Scope, parts: list[bytes]) -> Answer:
    messages: list[Message] = []
    requests = iter(
        [
            {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
            for index, part in enumerate(parts)
        ]
        or [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        message = next(requests, {"type": "http.disconnect"})
        if message.get("body") == NOTHING_MORE:
            await asyncio.Event().wait()
        return message

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start, *rest = messages
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(one.get("body", b"") for one in rest))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    settings = replace(PROXIED, hosts=frozenset(("localhost", "127.0.0.1", "[::1]", "sched.example.com")))
    return Site(tmp_path, settings)


# Who looks


def test_the_peer_of_the_unix_socket_is_the_viewer(site: Site) -> None:
    assert site.ask().viewer == {"name": "nobody", "uid": NOBODY.pw_uid, "way": "socket"}


def test_a_number_without_a_user_is_refused(site: Site) -> None:
    answer = site.ask(peer=Peer(uid=54_321))
    assert answer.status == 403 and b"no user with the number 54321" in answer.body


def test_root_is_a_viewer_only_if_the_page_is_roots_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert site.ask(peer=Peer(uid=0)).viewer == {"name": "root", "uid": 0, "way": "socket"}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    answer = site.ask(peer=Peer(uid=0))
    assert answer.status == 403 and b"on behalf of root" in answer.body


def test_a_proxy_names_any_user_but_root(site: Site) -> None:
    proxy = Peer(uid=33)
    assert site.ask("/", ("x-user", "nobody"), peer=proxy).viewer == {
        "name": "nobody",
        "uid": NOBODY.pw_uid,
        "way": "proxy",
    }
    assert site.ask("/", ("x-user", "root"), peer=proxy).status == 403
    assert site.ask("/", ("x-user", "no-such-user"), peer=proxy).status == 403
    assert site.ask("/", ("x-user", "0"), peer=proxy).status == 403
    assert site.ask("/", peer=proxy).status == 403


def test_a_forged_header_of_a_foreign_user_is_refused(site: Site) -> None:
    for peer in (NOBODYS, LOOPBACK, Peer(), None):
        answer = site.ask("/", ("X-User", "daemon"), peer=peer)
        assert answer.status == 403 and b"web.proxies" in answer.body


def test_without_facts_about_the_connection_nobody_is_let_in(site: Site) -> None:
    assert site.ask(peer=None).status == 401
    assert site.ask("/", ("cookie", site.enter()), peer=None).status == 401


def _token(site: Site, user: str = "nobody") -> str:
    site.tokens.write_text(Token("one", user, hash_of("sched_secret"), "now").line)
    return "sched_secret"


@pytest.mark.parametrize("peer", [Peer(), LOOPBACK, Peer(uid=1)])
def test_a_token_names_its_user_wherever_it_comes_from(site: Site, peer: Peer) -> None:
    bearer = ("authorization", f"Bearer {_token(site)}")
    assert site.ask("/", bearer, peer=peer).viewer == {"name": "nobody", "uid": NOBODY.pw_uid, "way": "token"}
    assert site.ask("/", bearer, peer=peer, method="POST").status == 200


@pytest.mark.parametrize("token", ["", "sched_secre", "sched_secret2", hash_of("sched_secret"), "one"])
def test_an_unknown_token_is_refused_even_if_the_connection_would_be_enough(site: Site, token: str) -> None:
    _token(site)
    answer = site.ask("/", ("authorization", f"Bearer {token}"))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("peer", [Peer(), LOOPBACK])
def test_a_token_in_the_address_is_no_token(site: Site, peer: Peer) -> None:
    token = _token(site)
    for path in (f"/?token={token}", f"/?access_token={token}", f"/api/v1/jobs?token={token}", f"/enter?key={token}"):
        assert site.ask(path, peer=peer).status == 401


def test_a_token_of_root_is_refused(site: Site) -> None:
    token = _token(site, "root")
    assert site.ask("/", ("authorization", f"Bearer {token}"), peer=Peer()).status == 403


# The one-time link


def test_the_link_begins_a_session_of_the_user_of_the_page(site: Site) -> None:
    cookie = ("cookie", site.enter())
    assert site.ask("/", cookie, peer=LOOPBACK).viewer == {"name": OWN.pw_name, "uid": OWN.pw_uid, "way": "link"}
    assert site.ask("/", peer=LOOPBACK).status == 401
    assert site.ask("/", cookie, peer=Peer()).status == 401


@pytest.mark.parametrize(
    ("host", "is_secure"), [("localhost:1", False), ("127.0.0.1", False), ("sched.example.com", True)]
)
def test_the_cookie_is_for_this_page_alone(site: Site, host: str, is_secure: bool) -> None:
    """Safari keeps no `Secure` cookie of a loopback name. Under another name there may be TLS."""
    assert site.doors.link
    site.doors.link.print_link()
    answer = site.ask(f"/enter?key={site.key}", peer=LOOPBACK, host=host)
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=") and len(name) > len(COOKIE) + 40
    assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(attributes)
    assert ("Secure" in attributes) == is_secure
    assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_the_link_works_once(site: Site) -> None:
    site.enter()
    answer = site.ask(f"/enter?key={site.key}", peer=LOOPBACK)
    assert answer.status == 401 and "set-cookie" not in answer.headers


def test_neither_a_look_at_the_link_nor_another_key_uses_it_up(site: Site) -> None:
    assert site.doors.link
    site.doors.link.print_link()
    for path in ("/enter", "/enter?key=", "/enter?key=x", f"/enter?key={site.key}&key={site.key}"):
        assert site.ask(path, peer=LOOPBACK).status == 401
    assert site.ask(f"/enter?key={site.key}", method="HEAD", peer=LOOPBACK).status == 401
    assert site.ask(f"/enter?key={site.key}", peer=LOOPBACK).status == 200


def test_the_link_and_the_session_end(site: Site) -> None:
    assert site.doors.link
    site.doors.link.print_link()
    site.clock.advance(LINK_MS)
    assert site.ask(f"/enter?key={site.key}", peer=LOOPBACK).status == 401
    cookie = ("cookie", site.enter())
    site.clock.advance(SESSION_S * 1000 - 1)
    assert site.ask("/", cookie, peer=LOOPBACK).status == 200
    site.clock.advance(1)
    assert site.ask("/", cookie, peer=LOOPBACK).status == 401


def test_a_new_link_is_printed_on_request_and_not_in_the_answer(site: Site) -> None:
    cookie = ("cookie", site.enter())
    site.clock.advance(PAUSE_MS)
    answer = site.ask("/enter", SAME, method="POST", peer=LOOPBACK)
    assert answer.status == 202 and site.key.encode() not in answer.body
    assert len(site.printed) == 2 and site.key not in site.printed[0]
    assert site.ask(f"/enter?key={site.key}", peer=LOOPBACK).status == 200
    assert site.ask("/", cookie, peer=LOOPBACK).status == 200, "the first session goes on"


def test_requests_for_links_do_not_flood_the_log(site: Site) -> None:
    for _ in range(100):
        site.ask("/enter", SAME, method="POST", peer=LOOPBACK)
    assert len(site.printed) == 1
    assert site.ask(f"/enter?key={site.key}", peer=LOOPBACK).status == 200, "the first link still works"


def test_another_site_cannot_use_the_link_or_ask_for_one(site: Site) -> None:
    assert site.doors.link
    site.doors.link.print_link()
    foreign = ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")
    assert site.ask(f"/enter?key={site.key}", *foreign, peer=LOOPBACK).status == 403
    site.clock.advance(PAUSE_MS)
    assert site.ask("/enter", ("sec-fetch-site", "cross-site"), method="POST", peer=LOOPBACK).status == 403
    assert site.ask("/enter", ("origin", "http://evil.example"), method="POST", peer=LOOPBACK).status == 403
    assert site.ask("/enter", method="POST", peer=LOOPBACK).status == 403
    assert len(site.printed) == 1
    assert site.ask(f"/enter?key={site.key}", peer=LOOPBACK, host="evil.example").status == 421


def test_a_unix_socket_has_no_link(site: Site) -> None:
    assert site.doors.link
    site.doors.link.print_link()
    assert site.ask(f"/enter?key={site.key}").viewer == {"name": "nobody", "uid": NOBODY.pw_uid, "way": "socket"}
    assert site.ask(f"/enter?key={site.key}", peer=Peer()).status == 401
    assert site.ask(f"/enter?key={site.key}", peer=LOOPBACK).status == 200, "nobody has used it"


def test_the_oldest_of_too_many_sessions_ends(site: Site) -> None:
    first = ("cookie", site.enter())
    for _ in range(100):
        site.clock.advance(PAUSE_MS)
        last = ("cookie", site.enter())
    assert [site.ask("/", cookie, peer=LOOPBACK).status for cookie in (first, last)] == [401, 200]


# Other sites


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8385", "localhost.evil.example", "127.0.0.1.evil.example", "", None, "[::2]"]
)
@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/v1/jobs", "/enter?key=x"])
def test_a_foreign_name_of_the_page_is_refused(site: Site, host: str | None, path: str) -> None:
    assert site.ask(path, host=host, peer=LOOPBACK).status == 421
    assert site.ask(path, host=host).status == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:8385", "[::1]:8385", "sched.example.com.", "sched.example.com:443"]
)
def test_the_own_names_of_the_page_are_accepted(site: Site, host: str) -> None:
    assert site.ask(host=host).status == 200


def test_two_names_of_the_page_are_refused(site: Site) -> None:
    assert site.ask("/", ("host", "localhost")).status == 421


def test_a_token_does_not_excuse_a_foreign_name(site: Site) -> None:
    bearer = ("authorization", f"Bearer {_token(site)}")
    assert site.ask("/", bearer, host="evil.example").status == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "FOO"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("sec-fetch-site", "same-origin")], 200),
        ([("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")], 200),
        ([("sec-fetch-site", "same-site"), ("origin", "http://localhost:9")], 403),
        ([("sec-fetch-site", "cross-site"), ("origin", "http://localhost")], 403),
        ([("sec-fetch-site", "none")], 403),
        ([("origin", "http://localhost")], 200),
        ([("origin", "https://localhost")], 200),
        ([("origin", "http://localhost:81")], 403),
        ([("origin", "http://evil.example")], 403),
        ([("origin", "null")], 403),
        ([("origin", "localhost")], 403),
        ([("origin", "ftp://localhost")], 403),
        ([("referer", "http://localhost/")], 403),
        ([], 403),
    ],
)
def test_only_the_page_itself_changes_something(
    site: Site, method: str, headers: list[tuple[str, str]], status: int
) -> None:
    assert site.ask("/", *headers, method=method).status == status
    cookie = ("cookie", site.enter())
    assert site.ask("/", cookie, *headers, method=method, peer=LOOPBACK).status == status
    proxy = ("x-user", "nobody")
    assert site.ask("/", proxy, *headers, method=method, peer=Peer(uid=33)).status == status


def test_the_public_address_of_the_page_is_its_own_origin(tmp_path: Path) -> None:
    settings = replace(PROXIED, hosts=frozenset(("sched.example.com",)), url="https://sched.example.com")
    site = Site(tmp_path, settings)
    for origin, status in (("https://sched.example.com", 200), ("https://sched.example.org", 403)):
        answer = site.ask("/", ("origin", origin), method="POST", host="sched.example.com:8385")
        assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], 200),
        ([("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], 200),
        ([("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], 403),
        ([("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")], 403),
        ([("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], 403),
        ([("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], 200),
    ],
)
def test_another_site_may_lead_to_the_page_but_not_load_parts_of_it(
    site: Site, headers: list[tuple[str, str]], status: int
) -> None:
    assert site.ask("/jobs", *headers).status == status


# What is open, what is closed, and what answers say


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_viewer_and_no_name(site: Site, path: str) -> None:
    assert site.ask(path, peer=Peer(), host="10.0.0.7:8385").viewer is None


def test_static_files_need_no_viewer(site: Site) -> None:
    assert site.ask("/static/style.css", peer=LOOPBACK).viewer is None


@pytest.mark.parametrize(
    "path", ["/static", "/staticx", "/healthz/", "/healthz/x", "//healthz", "/x/static/", "/metrics"]
)
def test_everything_else_needs_a_viewer(site: Site, path: str) -> None:
    assert site.ask(path, peer=LOOPBACK).status == 401


def test_a_page_that_only_shows_refuses_every_change(tmp_path: Path) -> None:
    site = Site(tmp_path, replace(PROXIED, read_only=True))
    assert site.ask().status == 200
    for method in ("POST", "DELETE", "PUT", "PATCH", "FOO"):
        answer = site.ask("/", SAME, method=method)
        assert answer.status == 403 and b"web.read_only" in answer.body
    token = ("authorization", f"Bearer {_token(site)}")
    assert site.ask("/api/v1/command", token, method="POST", peer=Peer()).status == 403


@pytest.mark.parametrize("path", ["/", "/static/a", "/healthz", "/api/v1/jobs", "/enter"])
@pytest.mark.parametrize("peer", [NOBODYS, LOOPBACK])
def test_each_answer_has_the_security_headers(site: Site, path: str, peer: Peer) -> None:
    assert site.ask(path, peer=peer).headers.items() >= SECURITY_HEADERS.items()


def test_an_answer_that_may_be_cached_says_so(tmp_path: Path) -> None:
    async def cached(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=9")]})
        await send({"type": "http.response.body"})

    site = Site(tmp_path, PROXIED)
    site.guard = Guard(cached, site.doors)
    assert site.ask("/static/a").headers["cache-control"] == "max-age=9"


def test_a_failure_of_the_page_has_the_security_headers(tmp_path: Path) -> None:
    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError

    site = Site(tmp_path, PROXIED)
    guard = Guard(fail, site.doors)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        # The server logs it.
        with pytest.raises(ZeroDivisionError):
            await guard(scope, receive, send)

    answer = site.ask(app=guarded)
    assert answer.status == 500 and answer.headers.items() >= SECURITY_HEADERS.items()


def test_one_viewer_cannot_take_the_places_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_REQUESTS", SHARE)
    site = Site(tmp_path, PROXIED)
    statuses: list[int] = []

    async def ask_again(scope: Scope, receive: Receive, send: Send) -> None:
        """While a request of nobody is carried out, nobody and another user ask for something."""
        if scope["path"] == "/first":
            for peer in (NOBODYS, Peer(uid=1)):
                answer = await asyncio.to_thread(site.ask, peer=peer)
                statuses.append(answer.status)
                assert answer.headers.items() >= SECURITY_HEADERS.items()
        await application(scope, receive, send)

    site.guard = Guard(ask_again, site.doors)
    assert site.ask("/first").status == 200
    assert statuses == [503, 200]
    assert site.ask().status == 200, "there is room again"


def test_the_api_gets_its_refusals_as_problems(site: Site) -> None:
    answer = site.ask("/api/v1/jobs", peer=Peer())
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["type"], problem["status"], problem["title"]) == ("about:blank", 401, "A token is needed")
    assert "Authorization" in problem["detail"]


# Bodies


def test_a_body_up_to_the_limit_reaches_the_application(site: Site) -> None:
    for parts in ([b"x" * BODY_BYTES], [b"x" * 1024] * 64):
        head = SAME, ("transfer-encoding", "chunked")
        assert json.loads(site.ask("/", *head, method="POST", body=parts).body)["body"] == BODY_BYTES


def test_a_longer_body_is_refused_whether_announced_or_in_chunks(site: Site) -> None:
    announced = site.ask("/", SAME, ("content-length", str(BODY_BYTES + 1)), method="POST")
    chunked = site.ask(
        "/", SAME, ("transfer-encoding", "chunked"), method="POST", body=[b"x" * 1024] * 64 + [b"x", b"never read"]
    )
    for answer in (announced, chunked):
        assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_request_with_two_lengths_is_refused_and_ends_the_connection(site: Site) -> None:
    head = SAME, ("content-length", "5"), ("transfer-encoding", "chunked")
    answer = site.ask("/", *head, method="POST", body=[b"abc"])
    assert (answer.status, answer.headers["connection"]) == (400, "close")


def test_a_body_that_does_not_arrive_ends_the_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.01)
    answer = site.ask("/", SAME, ("content-length", "5"), method="POST", body=[b"abc", NOTHING_MORE])
    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_a_request_that_breaks_off_leaves_its_place(site: Site) -> None:
    async def broken() -> Message:
        raise ConnectionResetError

    async def send(_message: Message) -> None:
        pass

    headers = [(b"host", b"localhost"), (b"sec-fetch-site", b"same-origin"), (b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers, PEER: NOBODYS}
    with pytest.raises(ConnectionResetError):
        asyncio.run(site.guard(scope, broken, send))
    assert not site.guard._capacity._taken
