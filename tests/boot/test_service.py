"""What is reported to systemd after a turn, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from schedappliance.boot.service import REPORT_MS, ServiceReports, status_text
from schedappliance.engine.events import ReloadRequested, StopRequested
from tests.support.core import Appliance, has_pid

STANZAS = """\
program "sleep" { argv = ( "/bin/sleep" "9" ) kill_after = 90 }
job "nightly" { every = 1h command = "run sleep" }
"""


class Reports:
    """Takes the place of the socket."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, **variables: str | int) -> None:
        self.sent.append(variables)


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    appliance = Appliance(None, STANZAS)
    yield appliance
    appliance.close()


def test_each_phase_is_reported_once_and_then_that_the_daemon_lives(appliance: Appliance) -> None:
    socket = Reports()
    reports = ServiceReports(cast(Any, socket))
    reports.after_turn(appliance.state)
    reports.after_turn(appliance.state)
    assert socket.sent == [{"READY": 1, "WATCHDOG": 1, "STATUS": "1 job, 0 running, next `nightly` in 46 min 40 s"}]
    appliance.after(REPORT_MS)
    reports.after_turn(appliance.state)
    assert socket.sent[1:] == [{"WATCHDOG": 1, "STATUS": "1 job, 0 running, next `nightly` in 46 min 35 s"}]


def test_a_reload_is_reported_until_it_is_done(appliance: Appliance) -> None:
    socket = Reports()
    reports = ServiceReports(cast(Any, socket))
    reports.after_turn(appliance.state)
    appliance.turn(ReloadRequested("SIGHUP"))
    reports.after_turn(appliance.state)
    (number,) = appliance.state.parked
    appliance.turn(appliance.read(STANZAS, reply_to=number, typed=True))
    reports.after_turn(appliance.state)
    phases = [set(report) & {"READY", "RELOADING"} for report in socket.sent]
    assert phases == [{"READY"}, {"RELOADING"}, {"READY"}]


def test_a_stop_asks_for_the_time_until_its_last_kill(appliance: Appliance) -> None:
    socket = Reports()
    reports = ServiceReports(cast(Any, socket))
    appliance.say("run sleep")
    (start,) = appliance.started()
    appliance.turn(has_pid(start))
    reports.after_turn(appliance.state)
    appliance.turn(StopRequested("SIGTERM"))
    reports.after_turn(appliance.state)
    last = socket.sent[-1]
    assert last["STOPPING"] == 1 and last["EXTEND_TIMEOUT_USEC"] >= 90_000_000
    assert last["STATUS"] == "stopping, 1 job, 1 running"


def test_the_line_tells_what_is_wrong_first_and_no_job_that_will_not_run(appliance: Appliance) -> None:
    appliance.say('sched hold "new disk"')
    for _ in range(2):
        appliance.say("run sleep")
    assert status_text(appliance.state) == "held, 1 job, 0 running, 2 queued"
