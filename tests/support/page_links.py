"""The one-time link that a page prints when it listens on a loopback address, and what a browser sees behind it."""

from __future__ import annotations

import re
from contextlib import closing
from http.client import HTTPConnection

from tests.support.waiting import PATIENCE_SECONDS

_LINK = re.compile(r"http://(127\.0\.0\.1:\d+)(/enter\?key=\S+)")


def link_in(log: str) -> tuple[str, str] | None:
    """The address of the page and the path of its link, if it has printed one."""
    found = _LINK.search(log)
    return (found[1], found[2]) if found else None


def screen_behind(link: tuple[str, str], path: str) -> str:
    """A screen as a browser gets it that has opened the link."""
    address, entry = link
    with closing(HTTPConnection(address, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", entry)
        with connection.getresponse() as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            answer.read()
        connection.request("GET", path, headers={"Cookie": cookie})
        with connection.getresponse() as answer:
            assert answer.status == 200, answer.read()
            return answer.read().decode()
