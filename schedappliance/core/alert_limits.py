"""Limits what waits for its delivery, for each `notify` stanza: the oldest alerts of the user whose runs have caused the most
give way, and a later one says so.

Rule: no event is left out silently. However long a transport fails, what waits takes a bounded space.
"""

from __future__ import annotations

from collections import deque
from functools import reduce
from typing import TYPE_CHECKING

from schedappliance.core.alerts import end_delivery
from schedappliance.core.runs import call_off, turn_of_alert
from schedappliance.engine.incidents import left_out, summary
from schedappliance.engine.reasons import TOO_MANY_ALERTS
from schedappliance.engine.records import NO_UID, RunKey
from schedappliance.store.incidents import Share

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.store.incidents import WaitingAlert

# The most events of one stanza that wait for their delivery, and their bytes. What is being delivered, the last alert, and
# alerts that have all begun may exceed them.
MOST_WAITING, MOST_WAITING_BYTES = 1000, 8 * 1024 * 1024


def limit_alerts(state: State) -> None:
    """Limits the alerts of the stanzas that have told something since the last call."""
    names = state.alerted
    state.alerted = frozenset()
    for name in sorted(names):
        _limit(state, name)


def _limit(state: State, notify: str) -> None:
    incidents = state.store.incidents
    if not _are_too_many(Share(*incidents.waiting(notify))):
        return
    alerts = incidents.waiting_alerts(notify)
    leaving = _leaving(alerts, [one for one in alerts[:-1] if RunKey(one.job, 1) not in state.running])
    # A delivery that has begun must not change: a later attempt gets the same alert. So the next one that has not begun says
    # how many events are left out. If all have begun, the next event makes one.
    heir = next((one.job for one in alerts if one.job not in leaving and not one.has_begun), None)
    if not leaving or heir is None:
        return
    for job, uid in leaving.items():
        incidents.move_events(job, uid, heir)
    state.queue.change_turn(RunKey(heir, 1), turn_of_alert(state, heir))
    events = [event for job in leaving for event in incidents.events(job)]
    if (others := incidents.take_left_out(heir)) is not None:
        events.append(others)
    for job in leaving:
        _give_up(state, job)
    event = left_out(events, state.moment.wall, TOO_MANY_ALERTS)
    event["summary"] = summary(event, state.zone)
    incidents.add_alert(heir, notify, event, NO_UID)
    state.log("error", f"notify {notify}: {event['summary']}")


def _leaving(alerts: list[WaitingAlert], removable: list[WaitingAlert]) -> dict[int, int]:
    """The alerts that give way, the oldest first, each with the user whose events are left out.

    These are always the oldest of the user who has the most, so that no user's runs make the alerts of others go.
    """
    used: dict[int, Share] = {}
    for alert in alerts:
        for uid, share in alert.shares.items():
            used[uid] = _sum(used.get(uid, Share()), share)
    # An event that stands for others goes when its alert goes, and then another one follows.
    used.pop(NO_UID, None)
    total = reduce(_sum, used.values(), Share())
    of_owner: dict[int, deque[WaitingAlert]] = {}
    for alert in removable:
        owner = max(alert.shares.keys() - {NO_UID}, key=lambda uid: (_weight(alert.shares[uid]), uid))
        of_owner.setdefault(owner, deque()).append(alert)
    leaving = {}
    while _are_too_many(total) and of_owner:
        owner = max(of_owner, key=lambda uid: (_weight(used[uid]), uid))
        alert = of_owner[owner].popleft()
        leaving[alert.job] = owner
        less = Share(*(-number for number in alert.shares[owner]))
        used[owner], total = _sum(used[owner], less), _sum(total, less)
        if not of_owner[owner]:
            del of_owner[owner]
    return dict(sorted(leaving.items()))


def _are_too_many(share: Share) -> bool:
    return share.events > MOST_WAITING or share.size > MOST_WAITING_BYTES


def _weight(share: Share) -> float:
    """Which part of the limits a share takes."""
    return max(share.events / MOST_WAITING, share.size / MOST_WAITING_BYTES)


def _sum(one: Share, other: Share) -> Share:
    return Share(one.events + other.events, one.size + other.size)


def _give_up(state: State, job: int) -> None:
    """Cancels the run of an alert, or removes its job, and forgets the alert."""
    alert = state.store.incidents.alert(job)
    if not state.store.jobs.delete(job):
        call_off(state, job, TOO_MANY_ALERTS)
    elif alert:
        state.handled.add(job)
        end_delivery(state, job, alert, is_delivered=False)
