"""Limits what waits for its delivery, for each `notify` stanza: the oldest alerts give way, and a later one says so.

Rule: no event is left out silently. However long a transport fails, what waits takes a bounded space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.core.alerts import end_delivery
from schedappliance.core.runs import call_off
from schedappliance.engine.incidents import LEFT_OUT, left_out, summary
from schedappliance.engine.reasons import TOO_MANY_ALERTS
from schedappliance.engine.records import RunKey

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
    number, size = incidents.waiting(notify)
    if number <= MOST_WAITING and size <= MOST_WAITING_BYTES:
        return
    alerts = incidents.waiting_alerts(notify)
    leaving: dict[int, WaitingAlert] = {}
    for alert in alerts[:-1]:
        if number <= MOST_WAITING and size <= MOST_WAITING_BYTES:
            break
        if RunKey(alert.job, 1) not in state.running:
            leaving[alert.job] = alert
            number, size = number - alert.events, size - alert.size
    # A delivery that has begun must not change: a later attempt gets the same alert. So the next one that has not begun says
    # how many events are left out. If all have begun, the next event makes one.
    heir = next((one.job for one in alerts if one.job not in leaving and not one.has_begun), None)
    if not leaving or heir is None:
        return
    events = [event for job in leaving for event in incidents.events(job)]
    place = incidents.first_place(next(iter(leaving)))
    if (first := incidents.events(heir)[0])["kind"] == LEFT_OUT:
        events.append(first)
        incidents.remove_event(incidents.first_place(heir))
    for job in leaving:
        _give_up(state, job)
    event = left_out(events, state.moment.wall, TOO_MANY_ALERTS)
    event["summary"] = summary(event, state.zone)
    incidents.add_alert(heir, notify, event, place)
    state.log("error", f"notify {notify}: {event['summary']}")


def _give_up(state: State, job: int) -> None:
    """Cancels the run of an alert, or removes its job, and forgets the alert."""
    alert = state.store.incidents.alert(job)
    if not state.store.jobs.delete(job):
        call_off(state, job, TOO_MANY_ALERTS)
    elif alert:
        state.handled.add(job)
        end_delivery(state, job, alert, is_delivered=False)
