"""What the appliance answered to an action, until the page that follows shows it. Rule: each answer is shown once."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import NamedTuple

from schedappliance.web.access.viewer import Viewer

MOST_MESSAGES = 1000


class Answer(NamedTuple):
    """What the appliance answered. `details`: lines of diagnostics. `href`, `label`: where to look next.

    `job`: the id of the job that has changed.
    """

    is_error: bool
    line: str
    text: str
    details: tuple[str, ...] = ()
    href: str = ""
    label: str = ""
    job: str = ""


class Messages:
    """The answers that wait for the page which shows them. Each is shown once, to its viewer only."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    def put(self, viewer: Viewer, answer: Answer) -> str:
        key = secrets.token_urlsafe(12)
        self._waiting[viewer.name, key] = answer
        if len(self._waiting) > MOST_MESSAGES:
            self._waiting.popitem(last=False)
        return key

    def take(self, viewer: Viewer, key: str) -> Answer | None:
        return self._waiting.pop((viewer.name, key), None)
