"""What a viewer sees whose roles name single jobs, or whose appliance has more jobs than the page keeps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from schedappliance.client.errors import Unavailable
from schedappliance.clock import ManualClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.feed import Feed, Row
from schedappliance.web.appliance.gateway import Gateway, Ground
from schedappliance.web.pictures.drawing import about
from schedappliance.web.pictures.durations import durations
from schedappliance.web.pictures.lanes import Span
from schedappliance.web.pictures.timeline import timeline
from schedappliance.web.rendering.addresses import job_href_of
from schedappliance.web.rendering.times import Times, _Utc
from schedappliance.web.screens import job as one_job
from schedappliance.web.screens import jobs, month, now, runs
from schedappliance.web.screens.look import BRIEF, Look
from schedappliance.web.screens.site import Screen, Site
from tests.web.appliance.test_feed import DAY_MS, JOB, RUN

HOUR_MS = 3_600_000
ALICE = Viewer("alice", None, "socket")
BACKUP = JOB | {"name": "backup", "command": "run backup"}
OTHER = JOB | {"id": "n-000000002", "name": "other"}
SINGLE = "^sched (show|run|history) backup\\b"


class Roles(Gateway):
    """A gateway whose appliance allows what a pattern matches. `asked`: the commands. `listed`: what `sched list` answers."""

    def __init__(self, pattern: str, listed: list[Row]) -> None:
        super().__init__(Path("/nowhere"), ManualClock(0), "own")
        self._pattern, self._listed, self.asked = re.compile(pattern), listed, list[str]()

    async def may(self, _viewer: Viewer, line: str) -> bool:
        return bool(self._pattern.search(line))

    async def data(self, _viewer: Viewer, line: str, reads_failures: bool = False) -> Any:  # noqa: ARG002
        self.asked.append(line)
        return self._listed

    async def learn(self, _viewer: Viewer, _lines: Iterable[str]) -> None:
        pass

    async def ask_all(self, viewer: Viewer, lines: Sequence[str]) -> list[Row]:
        return [{"ok": True, "data": await self.data(viewer, line)} for line in lines]


def _look(pattern: str, address: str = "/", listed: list[Row] | None = None) -> tuple[Look, Roles]:
    feed, roles = Feed(Path("/nowhere"), ManualClock(0), DAY_MS, lambda: None), Roles(pattern, listed or [])
    feed.jobs = {job["id"]: job for job in (BACKUP, OTHER)}
    for number, job in enumerate((BACKUP, OTHER)):
        feed.columns.put(RUN | {"run": f"{job['id']}/1", "id": job["id"], "sequence": number, "state": "failed"})
    path, _, query = address.partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    return Look(Request(scope), roles, feed, ALICE, Times(5000, 5000, _Utc(), "UTC"), False), roles


def test_a_role_for_a_job_shows_this_job_alone() -> None:
    look, _ = _look(SINGLE, "/jobs")
    values = asyncio.run(jobs.collect(look))
    assert values["may_list"]
    assert [row["name"] for row in values["rows"]] == ["backup"]
    (row,) = values["rows"]
    assert row["last"].state == "failed" and row["lines"]["run"] == "sched run backup"
    assert values["allowed"] == {"sched run backup"}


def test_a_role_may_name_a_job_by_its_id() -> None:
    look, _ = _look("^sched (show|pause) n-000000001", "/jobs")
    values = asyncio.run(jobs.collect(look))
    assert [row["name"] for row in values["rows"]] == ["backup"]
    assert values["allowed"] == {"sched pause n-000000001"}
    assert values["rows"][0]["last"] is None, "the role does not show runs"


@pytest.mark.parametrize("name", ["w[1]", "w*", "w?", "--all", "n-000000002", "n-000000002/1", "5"])
def test_a_job_whose_name_has_another_meaning_is_called_by_its_id(name: str) -> None:
    look, _ = _look(".", "/jobs")
    look.feed.jobs = {"n-000000001": BACKUP | {"name": name}}
    values = asyncio.run(jobs.collect(look))
    assert values["allowed"] >= {"sched run n-000000001", "sched pause n-000000001"}
    assert [row["word"] for row in values["rows"]] == ["n-000000001"]
    assert job_href_of(BACKUP | {"name": name}) == "/jobs/n-000000001"


def test_a_name_like_an_id_shows_no_other_job_as_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stanzas = [{"stanza": "job", "name": name} for name in ("n-000000001", "off")]
    look, roles = _look(".", "/jobs?show=off", stanzas)
    shown = {"sched show n-000000001": BACKUP, "sched show off": BACKUP | {"id": "n-000000003", "name": "off"}}

    async def ask_all(_viewer: Viewer, lines: Sequence[str]) -> list[Row]:
        return [{"ok": True, "data": shown[line.removesuffix(BRIEF)]} for line in lines]

    monkeypatch.setattr(roles, "ask_all", ask_all)
    assert [row["name"] for row in asyncio.run(jobs.collect(look))["rows"]] == ["off"]


def test_results_are_no_filter_for_those_who_may_not_see_runs() -> None:
    for pattern, shown in (("^sched list", False), ("^sched (list|history)", True)):
        look, _ = _look(pattern, "/jobs?show=failing")
        values = asyncio.run(jobs.collect(look))
        assert ("failing" in [name for name, *_ in values["filters"]]) == shown


def test_the_first_screen_shows_when_a_single_job_is_due_and_no_run_to_those_who_may_not_see_it() -> None:
    look, _ = _look("^sched show backup")
    values = asyncio.run(now.collect(look))
    assert [job["name"] for job in values["due"]] == ["backup"]
    assert (values["may_see_runs"], values["timeline"], values["failed"], values["running"]) == (False, "", [], [])


def _with_runs(look: Look) -> None:
    """A run of each job that goes on, one that waits, and more failures of the other job than the feed keeps."""
    feed = look.feed
    for number, job in enumerate((BACKUP, OTHER)):
        for occurrence, state in enumerate(("started", "queued"), 2):
            row = RUN | {"run": f"{job['id']}/{occurrence}", "id": job["id"], "name": job["name"], "state": state}
            feed._take_run(row | {"sequence": 10 + 2 * number + occurrence, "claimed_ms": 0, "reason": None})
    for occurrence in range(4, 34):
        row = RUN | {
            "run": f"{OTHER['id']}/{occurrence}",
            "id": OTHER["id"],
            "name": "other",
            "reason": "exit status 1",
        }
        feed._take_run(row | {"sequence": 20 + occurrence, "state": "failed", "ended_ms": 4500})


def test_the_first_screen_shows_the_runs_of_a_single_job_and_nothing_of_others() -> None:
    look, _ = _look(SINGLE)
    _with_runs(look)
    values = asyncio.run(now.collect(look))
    for kind, number in (("running", 2), ("waiting", 3), ("failed", 1)):
        assert [run["run"] for run in values[kind]] == [f"{BACKUP['id']}/{number}"]
    assert [label for label, *_ in values["tiles"]] == ["Jobs", "Paused"], "the others lead to the history of all jobs"
    assert values["timeline"].count('class="lane"') == 1
    assert 'id="timeline-n-000000001"' in values["timeline"] and OTHER["id"] not in values["timeline"]


def test_a_role_for_the_runs_of_a_job_does_not_show_when_it_is_due() -> None:
    look, _ = _look("^sched history backup\\b", "/?span=1h&at=5000")
    values = asyncio.run(now.collect(look))
    assert (values["due"], [run["run"] for run in values["failed"]]) == ([], [f"{BACKUP['id']}/1"])
    with_due_times = asyncio.run(now.collect(_look(SINGLE, "/?span=1h&at=5000")[0]))
    assert "next due" not in values["timeline"] and "next due" in with_due_times["timeline"]


def test_no_viewer_gets_the_timeline_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def count(*arguments: Any) -> Any:
        drawn.append("a timeline")
        return timeline(*arguments)

    monkeypatch.setattr(now, "timeline", count)
    patterns = (
        *(".", "^sched (list|history)$", SINGLE, SINGLE.replace("backup", "other"), "^sched history backup\\b"),
        *("^sched (list$|history backup\\b)", "^sched (show|history) (backup|other)\\b", "^sched show backup\\b"),
    )
    look, _ = _look(".")
    _with_runs(look)

    def pictures(order: tuple[str, ...]) -> dict[str, str]:
        look.feed.pictures.clear()
        looks = [(pattern, replace(look, gateway=Roles(pattern, []))) for pattern in order]
        return {pattern: asyncio.run(now.collect(one))["timeline"] for pattern, one in looks}

    alone = {pattern: pictures((pattern,))[pattern] for pattern in patterns}
    assert pictures(patterns) == alone == pictures(patterns[::-1])
    drawn.clear()
    assert pictures((SINGLE, SINGLE))[SINGLE] == alone[SINGLE] and len(drawn) == 1, "the same rights share it"


def test_a_timeline_is_drawn_again_when_something_has_changed_or_now_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[Span] = []

    def note(columns: Any, heads: Any, span: Span, *more: Any) -> Any:
        spans.append(span)
        return timeline(columns, heads, span, *more)

    monkeypatch.setattr(now, "timeline", note)
    look, _ = _look(".")
    _with_runs(look)

    def drawn(now_ms: int) -> int:
        asyncio.run(now.collect(replace(look, times=replace(look.times, now_ms=now_ms))))
        return len(spans)

    assert [drawn(now_ms) for now_ms in (20_000, 20_500, 29_999)] == [1, 1, 1]
    look.feed.version += 1
    assert [drawn(now_ms) for now_ms in (29_999, 30_000)] == [2, 3]
    assert [span.now_ms for span in spans] == [20_000, 20_000, 30_000]


def test_the_history_of_a_single_job_is_shown() -> None:
    for job, shown in (("backup", True), ("other", False), ("", False)):
        look, _ = _look("^sched history backup\\b", f"/runs?job={job}")
        if shown:
            with pytest.raises(Unavailable):
                asyncio.run(runs.collect(look))
        else:
            assert asyncio.run(runs.collect(look)) == {"may_see_runs": False}


def test_the_navigation_leads_to_what_a_role_for_a_job_shows() -> None:
    look, roles = _look(SINGLE)
    site = Site("t", False, roles, look.feed, ManualClock(0))

    async def nothing(_look: Look) -> Row:
        return {}

    _, values, _ = asyncio.run(site.values(look, Screen("/", "Now", "now.html", nothing)))
    assert [name for _, name, _ in values["navigation"]] == ["Now", "Jobs", "About"]


def test_the_appliance_lists_the_jobs_that_the_page_does_not_keep() -> None:
    listed = [JOB | {"id": f"n-{number:09d}", "name": None, "next_run_ms": number} for number in range(31)]
    look, roles = _look(".", "/jobs?find=a+b&after=0000000000000007.n-000000007", listed)
    look.feed.has_more_jobs = True
    values = asyncio.run(jobs.collect(look))
    assert roles.asked == ['sched list find "a b" limit 31 after n-000000007@7']
    assert [row["id"] for row in values["rows"]] == [job["id"] for job in listed[:30]]
    assert "after=0000000000000029.n-000000029" in values["older"]
    tiles = {label: value for label, value, *_ in asyncio.run(now.collect(_look(".")[0]))["tiles"]}
    assert tiles["Jobs"] == 2
    values = asyncio.run(now.collect(look))
    assert {label: value for label, value, *_ in values["tiles"]}["Jobs"] == "2+"


def test_a_figure_that_the_viewer_may_not_see_is_left_out() -> None:
    for pattern, labels in (
        ("^sched list", ["Jobs", "Paused"]),
        ("^sched history", ["Running", "Waiting", "Failed", "Missed"]),
    ):
        look, _ = _look(pattern)
        assert [label for label, *_ in asyncio.run(now.collect(look))["tiles"]] == labels


def test_a_timeline_of_a_fixed_time_shows_how_time_passes() -> None:
    look, _ = _look(".", "/?span=1h&at=5000")
    before = asyncio.run(now.collect(look))["timeline"]
    later = replace(look, times=replace(look.times, now_ms=600_000))
    assert asyncio.run(now.collect(later))["timeline"] != before


def test_cells_are_drawn_again_only_when_the_results_have_changed() -> None:
    look, _ = _look(".", "/jobs")

    def drawn(now_ms: int) -> Any:
        later = replace(look, times=replace(look.times, boot_ms=now_ms))
        return asyncio.run(jobs.collect(later))["rows"][0]["cells"]

    first = drawn(6000)
    assert drawn(7000) is first
    look.feed.columns.put(RUN | {"run": f"{BACKUP['id']}/2", "id": BACKUP["id"], "sequence": 9, "began_ms": 7000})
    second = drawn(8000)
    assert second != first and drawn(9000) != second, "its cell says for how long it goes on"
    stranger = replace(look, gateway=Roles("^sched list", []))
    assert "no runs yet" in asyncio.run(jobs.collect(stranger))["rows"][0]["cells"]
    assert "no runs yet" not in drawn(9000)


@pytest.mark.parametrize("step_ms", [0, -3 * HOUR_MS, 3 * HOUR_MS])
def test_a_step_of_the_clock_changes_no_duration(step_ms: int) -> None:
    """The appliance says for how long a program runs, and the page goes on with boot time."""
    look, gateway = _look(".")
    clock = ManualClock(100 * HOUR_MS, 50_000)
    look = replace(look, feed=Feed(Path("/nowhere"), clock, DAY_MS, lambda: None))
    look.feed._take_run(RUN | {"started_ms": 100 * HOUR_MS - 42_000, "took_ms": 42_000})
    clock.advance(60_000)
    clock.step(step_ms)
    look = replace(look, times=Times(*clock.moment(), _Utc(), "UTC"))
    site = Site("t", False, gateway, look.feed, clock)
    shown, _ = asyncio.run(site.page(look, Screen("/", "Now", "now.html", now.collect)))
    assert '<span class="num">1 min 42 s</span>' in shown
    assert step_ms or "running for 1 min 42 s" in shown, "in the timeline"
    (run,) = look.feed.columns.live()
    assert about(run, look.times).endswith("running for 1 min 42 s")
    assert "at most 1 min 42 s" in durations([run], str, look.times)


def test_due_times_are_not_shared_with_those_who_may_not_ask_for_them() -> None:
    times: Any = {"next": [{"due_ms": 5000 + at} for at in (0, 600_000, 1_200_000)], "words": "every hour"}
    for patterns in ((".", "^sched (list|history)$"), ("^sched (list|history)$", ".")):
        look, _ = _look(patterns[0], listed=times)
        look.feed.jobs = {BACKUP["id"]: BACKUP | {"calendar": ["0 * * * *"], "interval_ms": None}}
        other = replace(look, gateway=Roles(patterns[1], times))
        pictures = {one.gateway: asyncio.run(now.collect(one))["timeline"] for one in (look, other)}
        assert len(set(pictures.values())) == 2


def test_the_due_times_of_a_job_are_asked_for_once_until_it_has_another_next_one() -> None:
    def details(next_run_ms: int) -> Any:
        rows = [{"due_ms": next_run_ms, "due": "", "note": None}]
        return JOB | {"words": None, "state": "waiting", "next_run_ms": next_run_ms, "next": rows}

    look, first = _look("^sched (show|next)", "/jobs/backup", details(5000))
    look.request.scope["path_params"] = {"job": "backup"}
    later, stranger = Roles("^sched (show|next)", details(9000)), Roles("^sched show", details(9000))
    for roles, due, asked in ((first, [5000], 1), (first, [5000], 1), (later, [9000], 1), (stranger, [], 0)):
        values = asyncio.run(one_job.collect(replace(look, gateway=roles)))
        assert [one["due_ms"] for one in values["due"]] == due
        assert sum(line.startswith("sched next") for line in roles.asked) == asked


def test_the_screen_of_a_job_says_nothing_of_runs_to_those_who_may_not_see_them() -> None:
    for pattern, shown in (("^sched show", False), ("^sched (show|history)", True)):
        details: Any = JOB | {"words": None, "state": "paused"}
        look, _ = _look(pattern, "/jobs/backup", details)
        look.request.scope["path_params"] = {"job": "backup"}
        values = asyncio.run(one_job.collect(look))
        assert (values["may_see_runs"], bool(values["runs"]), 'class="share"' in values["calendar"]) == (
            shown,
            shown,
            shown,
        )


@pytest.mark.parametrize(("roles_of_bob", "made"), [(("staff",), 1), (("guests",), 2)])
def test_viewers_with_the_same_roles_share_what_a_stream_sends(roles_of_bob: tuple[str, ...], made: int) -> None:
    look, gateway = _look("^sched list")
    site, makings = Site("t", False, gateway, look.feed, ManualClock(0)), list[str]()

    async def ground(viewer: Viewer) -> Ground:
        return "digest", ("staff",) if viewer == ALICE else roles_of_bob, ("page",)

    async def collect(of_viewer: Look) -> Row:
        makings.append(of_viewer.viewer.name)
        return await now.collect(of_viewer)

    async def both() -> None:
        for viewer in (ALICE, Viewer("bob", None, "socket")):
            await site.parts(replace(look, viewer=viewer), Screen("/", "Now", "now.html", collect))

    gateway.ground = ground  # type: ignore[method-assign]
    asyncio.run(both())
    assert len(makings) == made


def test_the_options_are_those_of_the_job_and_of_its_program() -> None:
    for command, program in (('run "my report" -x', 'program "my report"'), ("RUN hello", "program hello")):
        assert one_job.scopes(JOB | {"command": command}) == ["job greeting", program]
    assert one_job.scopes(JOB | {"name": None, "command": "sched pause other"}) == []


class Counted(Gateway):
    """A gateway that counts how often it asks the appliance. The roles allow what a pattern matches."""

    def __init__(self, pattern: str) -> None:
        super().__init__(Path("/nowhere"), ManualClock(0), "own")
        self._pattern, self.exchanges = re.compile(pattern), 0

    async def ask_all(self, _viewer: Viewer, lines: Sequence[str]) -> list[Row]:
        self.exchanges += bool(lines)
        return [{"ok": True, "data": self._data(line)} for line in lines]

    async def ask(self, viewer: Viewer, line: str) -> Row:
        return (await self.ask_all(viewer, [line]))[0]

    def _data(self, line: str) -> Any:
        if line.startswith("authz may "):
            allowed = bool(self._pattern.search(line.removeprefix("authz may ")))
            return {"allowed": allowed, "roles": [], "delegate_roles": None, "digest": ""}
        return {"words": "at noon", "next": []} if line.startswith(("sched show", "sched next")) else []


@pytest.mark.parametrize("pattern", [".", "^sched (list|history)$", "^sched (show|history|next) j7( |$)", "^nothing$"])
def test_a_first_view_asks_about_all_jobs_together(pattern: str) -> None:
    for screen, path in (
        (jobs.collect, "/jobs"),
        (jobs.collect, "/jobs?show=off"),
        (now.collect, "/"),
        (month.collect, "/month"),
    ):
        look, _ = _look(".", path)
        for number in range(100):
            key, calendar = f"n-{number:09d}", ["0 12 * * *"] if number % 2 else None
            look.feed.jobs[key] = JOB | {"id": key, "name": f"j{number}", "calendar": calendar, "interval_ms": None}
        site = Site("t", False, counted := Counted(pattern), look.feed, ManualClock(0))
        asyncio.run(site.values(replace(look, gateway=counted), Screen("/", "Now", "now.html", screen)))
        assert counted.exchanges <= 20, path
