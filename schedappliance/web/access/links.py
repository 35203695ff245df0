"""One-time links and the sessions that they begin, for a page on the loopback address.

Rule: only hashes are kept, and only in memory. Who reads the log later finds links that no longer work.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from schedappliance.clock import Clock
from schedappliance.web.access.tokens import hash_of

LINK_MS = 60 * 60 * 1000
SESSION_S = 30 * 86_400
MOST_SESSIONS = 100
# Whoever reaches the page can ask for a new link.
PAUSE_MS = 10_000


class LinkDoor:
    """The link that works at present, and the open sessions. `announce` prints a line where the page was started."""

    def __init__(self, address: str, clock: Clock, announce: Callable[[str], None]) -> None:
        self._address = address
        self._clock = clock
        self._announce = announce
        self._link: str | None = None
        self._printed_ms: int | None = None
        self._sessions: dict[str, int] = {}

    def print_link(self) -> None:
        """Prints a new link, and the last one stops working. One that was printed a moment ago and not used stays."""
        now = self._clock.moment().boot
        if self._link is not None and self._printed_ms is not None and now < self._printed_ms + PAUSE_MS:
            return
        key = secrets.token_urlsafe(24)
        self._link, self._printed_ms = hash_of(key), now
        self._announce(f"open {self._address}/enter?key={key}  (once, within an hour)")

    def redeem(self, key: str) -> str | None:
        """The cookie of a new session; None if the key is not that of the present link."""
        now = self._clock.moment().boot
        if self._link is None or not secrets.compare_digest(hash_of(key), self._link):
            return None
        is_fresh = self._printed_ms is not None and now < self._printed_ms + LINK_MS
        self._link = None
        if not is_fresh:
            return None
        cookie = secrets.token_urlsafe(32)
        self._sessions[hash_of(cookie)] = now + SESSION_S * 1000
        while len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return cookie

    def is_open(self, cookie: str) -> bool:
        """Whether a cookie is that of a session."""
        ends_ms = self._sessions.get(hash_of(cookie))
        return ends_ms is not None and self._clock.moment().boot < ends_ms
