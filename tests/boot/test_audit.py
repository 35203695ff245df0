"""The audit continues after a check that could not be made."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schedappliance.boot.audit import Audit
from schedappliance.clock import ManualClock
from schedappliance.edge.loop import AUDIT_MS, Alarms
from schedappliance.edge.threads import Inbox


def test_a_check_that_fails_is_told_once_and_made_again(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[OSError | None] = [OSError(24, "Too many open files"), OSError(24, "Too many open files")]

    def check() -> None:
        if error := errors.pop(0):
            raise error

    inbox, alarms, audits, clock = Inbox(), Alarms(), list[str](), ManualClock(0, boot=0)
    log = SimpleNamespace(logger=logging.getLogger("test_audit"), audit=lambda: audits.append("log"))
    loop = SimpleNamespace(inbox=inbox, alarms=alarms, clock=clock)
    frame = SimpleNamespace(log=log, loop=loop, file=SimpleNamespace(links={}))
    store = SimpleNamespace(path=None)
    audit = Audit(
        cast(Any, frame),
        cast(Any, store),
        None,
        cast(Any, SimpleNamespace(audit=check)),
        cast(Any, SimpleNamespace(check=check)),
    )
    audit.run()
    assert [record.getMessage() for record in caplog.records] == ["the audit is incomplete: Too many open files"]
    # The same trouble, none, and the same again.
    errors += [None, OSError(24, "Too many open files"), None, None, OSError(24, "Too many open files"), None]
    for _ in range(3):
        clock.advance(AUDIT_MS)

        alarms.ring(clock.moment().boot)
    assert len(caplog.records) == 2 and not errors
    assert (len(audits), len(inbox.take(100))) == (4, 4)
    inbox.close()
