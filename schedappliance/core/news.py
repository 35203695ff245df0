"""What a turn tells the clients that watch: the events of the command `watch`.

Rule: this runs after the commit, and only while somebody watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schedappliance.commands.phrases import job_state, run_data
from schedappliance.engine.effects import Happened
from schedappliance.engine.records import RunKey, job_id
from schedappliance.store.failures import StoreFailed

if TYPE_CHECKING:
    from schedappliance.clock import Moment
    from schedappliance.store.tables import Store

# A turn that changes more, such as a reload, tells only that there is a gap. Reading a row takes 30 µs.
MOST_CHANGES = 500

News = dict[str, Any]


def news_of_turn(store: Store, others: list[News], now: Moment) -> list[Happened]:
    """The effect with the news of a turn: about the jobs and runs that it has changed, and `others`; empty without news."""
    changes = store.take_changes()
    try:
        news = (
            [_news_of(store, key, now.boot) for key in changes] if len(changes) <= MOST_CHANGES else [{"kind": "gap"}]
        )
    except StoreFailed:
        news = [{"kind": "gap"}]
    news += others
    return [Happened(tuple([{"at_ms": now.wall, **one} for one in news]))] if news else []


def _news_of(store: Store, key: int | RunKey, boot_ms: int) -> News:
    if isinstance(key, RunKey):
        run = store.runs.past(key)
        # A run that was pruned in the turn of its end has no row any more.
        return {"kind": "run", **run_data(store.node, run, boot_ms)} if run else {"kind": "gap"}
    job = store.jobs.get(key)
    text = job_id(store.node, key)
    if job is None:
        return {"kind": "job", "id": text, "state": "gone"}
    return {
        "kind": "job",
        "id": text,
        "name": job.declared,
        "command": job.text,
        "state": job_state(job),
        "next_run_ms": job.next_run_ms,
        "user": job.user.name,
        "origin": job.origin,
    }
