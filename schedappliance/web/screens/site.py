"""What all requests of the page share, and what all screens show.

Rule: an error of the appliance is a screen too, so that every address answers.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from jinja2 import Environment
from starlette.datastructures import URL
from starlette.requests import Request

from schedappliance.client.errors import NotAuthorized, Rejected, Unavailable
from schedappliance.clock import Clock
from schedappliance.diagnostics import counted, joined, shortened
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway, Ground
from schedappliance.web.rendering.templates import environment, rendered
from schedappliance.web.rendering.times import Times
from schedappliance.web.rendering.zones import CHOICES, ViewerZones
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.messages import Messages
from schedappliance.web.screens.parts import Part

# The screens that every page links: the address, the name, the picture, and the command that the screen needs.
NAVIGATION = (
    ("/", "Now", "now", ""),
    ("/jobs", "Jobs", "jobs", "sched list"),
    ("/runs", "Runs", "runs", "sched history"),
    ("/month", "Month", "calendar", "sched history"),
    ("/incidents", "Incidents", "incidents", "sched incidents"),
    ("/preview", "Preview", "preview", "preview"),
    ("/files", "Files", "files", "config status"),
    ("/spool", "Spool", "spool", "spool list"),
    ("/about", "About", "about", ""),
)
# What a viewer must be allowed to ask before the page says that there is no trouble.
SAYING_TROUBLES = ("health", "sched incidents", "sched list", "sched history")
MOST_PARTS, MOST_SHOWN = 50, 50
# So many jobs in trouble have their names in the line at the top.
MOST_NAMED = 3
# The diagnostics of what does not exist: a job or a run, a generation, a drop.
NOT_FOUND = ("E501", "E511", "E513")


class Screen(NamedTuple):
    """`name`: that of the screen in the navigation to which this one belongs."""

    path: str
    name: str
    template: str
    collect: Callable[[Look], Awaitable[dict[str, Any]]]


class Shown(NamedTuple):
    """What a page shows that has no stream yet.

    `version`: of the feed. `boot_ms`: when it was made, in boot time. `parts`: HTML by the ids of the elements.
    """

    version: int
    boot_ms: int
    template: str
    parts: dict[str, str]


class Site:
    """What all requests share."""

    def __init__(self, title: str, is_read_only: bool, gateway: Gateway, feed: Feed, clock: Clock) -> None:
        self.title, self.is_read_only = title, is_read_only
        self.gateway, self.feed, self.clock = gateway, feed, clock
        self.templates: Environment = environment()
        self.messages = Messages()
        self._zones = ViewerZones()
        self._parts: dict[Any, asyncio.Task[tuple[str, list[Part]]]] = {}
        self._shown: dict[str, Shown] = {}

    def look(self, request: Request) -> Look:
        times = self._zones.times(self.clock.moment(), request.cookies, self.feed.zone)
        return Look(request, self.gateway, self.feed, request.state.viewer, times, self.is_read_only)

    async def page(self, look: Look, screen: Screen) -> tuple[str, int]:
        """The HTML and the status. The address of its stream has a token, so that the stream knows what the page shows."""
        version, token = self.feed.version, secrets.token_urlsafe(12)
        template, values, status = await self.values(look, screen)
        values["message"] = self.messages.take(look.viewer, look.query("message"))
        values["stream_address"] = str(URL(values["stream_address"]).include_query_params(shown=token))
        page = rendered(self.templates, template, values)
        if status == 200:
            discard_oldest(self._shown, MOST_SHOWN)
            self._shown[token] = Shown(version, self.clock.moment().boot, template, page.parts)
        return page.html, status

    def take_shown(self, request: Request) -> Shown | None:
        """What the page of a stream shows. Only the first stream gets it: by the time of a later one, the page has changed."""
        return self._shown.pop(request.query_params.get("shown", ""), None)

    async def values(self, look: Look, screen: Screen) -> tuple[str, dict[str, Any], int]:
        """The name of the template, its values, and the status."""
        common = self._common(look, screen)
        try:
            return screen.template, await self.feed.unless_silent(self._collected(look, screen, common)), 200
        except (Unavailable, Rejected) as error:
            values, status = _problem(error, here(look.request))
            if status == 503:
                common["troubles"] = [self._silence(look.times, str(error))]
            return "problem.html", common | values, status

    async def _collected(self, look: Look, screen: Screen, common: dict[str, Any]) -> dict[str, Any]:
        """All values. Those that all screens show are put into `common`: the page of an error shows them too. Raises Error."""
        await self.gateway.learn(look.viewer, [*SAYING_TROUBLES, *(one[3] for one in NAVIGATION if one[3])])
        common["navigation"] = [one[:3] for one in NAVIGATION if await self._may_visit(look, one[0], one[3])]
        common["troubles"] = await self._troubles(look)
        common["may_see_troubles"] = all([await look.may(line) for line in SAYING_TROUBLES])
        return common | await screen.collect(look)

    async def _may_visit(self, look: Look, path: str, command: str) -> bool:
        """Whether a screen has something for the viewer. Roles may show single jobs, and no list of all. Raises Unavailable."""
        return not command or await look.may(command) or (path == "/jobs" and bool(await look.jobs()))

    async def parts(self, look: Look, screen: Screen) -> tuple[str, list[Part]]:
        """The template and the changing parts of a screen. Viewers with the same roles share them for a second.

        Without an answer of the appliance, there is no template: the page keeps what it shows, and says that this is old.
        """
        key = (
            await self._ground(look.viewer),
            here(look.request),
            look.times.zone_name,
            look.times.boot_ms // 1000,
            self.feed.version,
        )
        if key not in self._parts:
            discard_oldest(self._parts, MOST_PARTS)
            self._parts[key] = asyncio.create_task(self._made_parts(look, screen))
        return await asyncio.shield(self._parts[key])

    async def _ground(self, viewer: Viewer) -> Ground | str:
        """What decides about the rights of a viewer; the name of the viewer while it is not known."""
        try:
            return await self.feed.unless_silent(self.gateway.ground(viewer))
        except Unavailable:
            return viewer.name

    async def _made_parts(self, look: Look, screen: Screen) -> tuple[str, list[Part]]:
        template, values, status = await self.values(look, screen)
        return "" if status == 503 else template, [
            Part(*one) for one in rendered(self.templates, template, values).parts.items()
        ]

    def _common(self, look: Look, screen: Screen) -> dict[str, Any]:
        address = here(look.request)
        return {
            "title": self.title,
            "screen": screen.name,
            "here": address,
            "stream_address": address,
            "viewer": look.viewer,
            "times": look.times,
            "zone": self._zones.choice(look.request.cookies),
            "zones": CHOICES,
            "navigation": [one[:3] for one in NAVIGATION if not one[3]],
            "troubles": [],
            "may_see_troubles": False,
            "held": self.feed.health["held"],
            "is_silent": self.feed.silent_since_ms is not None,
            "is_read_only": self.is_read_only,
            "message": None,
            "allowed": frozenset(),
        }

    def _silence(self, times: Times, reason: str) -> dict[str, str]:
        if not reason:
            return {"kind": "info", "text": "The page has just started, and reads the jobs and the runs.", "href": ""}
        since = self.feed.silent_since_ms
        known = f" since {times.absolute(since)}" if since is not None else ""
        return {"kind": "bad", "text": f"The appliance has not answered{known}: {reason}", "href": ""}

    async def _troubles(self, look: Look) -> list[dict[str, str]]:
        """What is wrong, as far as the viewer may know it. Raises Unavailable."""
        feed, troubles = self.feed, []
        if feed.silent_since_ms is not None:
            return [self._silence(look.times, feed.silent_reason)]
        refused = feed.refused if feed.refused and await look.may("config status") else None
        if await look.may("health"):
            troubles += [
                {
                    "kind": "bad",
                    "text": text[:1].upper() + text[1:],
                    "href": "/files" if _tells_of(refused, text) else "",
                }
                for text in feed.health["troubles"]
            ]
            if hold := feed.health["held"]:
                troubles.append({"kind": "warn", "text": _hold_words(hold, look.times), "href": ""})
        if refused and not any(one["href"] for one in troubles):
            troubles.append({"kind": "bad", "text": _refusal_words(refused), "href": "/files"})
        with_incident: set[str | None] = set()
        if incidents := await look.incidents():
            names = list(dict.fromkeys(one["subject"] for one in incidents))
            text = f"{_named(names)} {'has' if len(names) == 1 else 'have'} failed and not recovered"
            troubles.append({"kind": "bad", "text": text, "href": "/incidents"})
            with_incident = {one["id"] for one in incidents}
        if await look.may("sched list") and await look.may_see_runs() and (failing := feed.failing() - with_incident):
            names = [job["name"] or job["command"] for job in map(feed.jobs.__getitem__, failing)]
            text = f"The last {'run' if len(names) == 1 else 'runs'} of {_named(names)} failed"
            troubles.append({"kind": "bad", "text": text, "href": "/jobs?show=failing"})
        return troubles


def _named(names: list[str]) -> str:
    """Some jobs by their names, and many by their number."""
    if len(names) > MOST_NAMED:
        return counted(len(names), "job")
    return joined([shortened(name) for name in sorted(names)])


def discard_oldest(entries: dict[Any, Any], most: int) -> None:
    """Makes room for another entry."""
    while len(entries) >= most:
        del entries[next(iter(entries))]


def _problem(error: Unavailable | Rejected, address: str) -> tuple[dict[str, Any], int]:
    """What the page of an error says, where it leads, and its status."""
    again = address, "Try again"
    if isinstance(error, Unavailable):
        text = "It may be busy, or not run." if error.unanswered else ""
        return {
            "head": "The appliance does not answer",
            "text": _sentence(str(error)),
            "help": text,
            "way_out": again,
        }, 503
    first = next(iter(error.diagnostics), None)
    text, remedy = (first.message, first.help or "") if first else (str(error), "")
    values = {"text": _sentence(text), "help": _sentence(remedy)}
    if isinstance(error, NotAuthorized):
        return values | {"head": "Your roles do not allow this", "way_out": again}, 403
    if first and first.code in NOT_FOUND:
        return values | {
            "head": "Not found",
            "way_out": ("/spool", "All files") if address.startswith("/spool") else ("/jobs", "All jobs"),
        }, 404
    return values | {"head": "The appliance has rejected this", "way_out": again}, 404


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text and not text.endswith((".", "?")) else text


def _hold_words(hold: dict[str, Any], times: Times) -> str:
    until = "" if hold["ends_ms"] is None else f" until {times.absolute(hold['ends_ms'])}"
    reason = f": {hold['reason']}" if hold["reason"] else ""
    return f"Held since {times.absolute(hold['since_ms'])}{until} by {hold['user']}{reason}. Nothing new starts."


def _tells_of(attempt: dict[str, Any] | None, text: str) -> bool:
    """Whether a trouble is that the stanza files are rejected: it names the place of the first mistake."""
    first = next(iter(attempt["diagnostics"]), None) if attempt else None
    return first is not None and f"{first['file']}:{first['line']}:" in text


def _refusal_words(attempt: dict[str, Any]) -> str:
    first = next(iter(attempt["diagnostics"]), None)
    place = f": {first['file']}:{first['line']}: {first['message']}" if first else ""
    return f"The stanza files on disk are rejected{place}"


def here(request: Request) -> str:
    """The address of the request, without the message of the last action and what belongs to a stream."""
    url = request.url.remove_query_params(["message", "position", "shown"])
    return url.path + (f"?{url.query}" if url.query else "")
