"""The audit continues after a check that could not be made."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schedappliance.boot.audit import Audit
from schedappliance.clock import ManualClock
from schedappliance.edge.loop import AUDIT_MS, Alarms
from schedappliance.edge.threads import Inbox
from schedappliance.engine.events import AuditDue


def test_a_link_to_another_directory_of_logs_is_a_trouble(tmp_path: Path) -> None:
    first, second, link = (tmp_path / name for name in ("first", "second", "link"))
    for directory in (first, second):
        directory.mkdir()
    link.symlink_to(first)
    inbox, clock = Inbox(), ManualClock(0, boot=0)
    log = SimpleNamespace(logger=logging.getLogger("test_audit"), audit=lambda: None, trouble=None)
    file = SimpleNamespace(links={link: first}, log_file=first / "app.log")
    frame = SimpleNamespace(log=log, loop=SimpleNamespace(inbox=inbox, alarms=Alarms(), clock=clock), file=file)
    nothing = cast(Any, SimpleNamespace(check=lambda: None))
    audit = Audit(cast(Any, frame), cast(Any, SimpleNamespace(path=None)), None, None, nothing)
    audit.run()
    link.unlink()
    link.symlink_to(second)
    audit.run()
    log.trouble = "it cannot be written"
    audit.run()
    remedy = "restart the appliance, or let them lead back"
    assert inbox.take(100) == [
        AuditDue(),
        AuditDue(f"the links in {link} lead to {second} now, and the log goes on in {first}; {remedy}"),
        AuditDue("it cannot be written"),
    ]
    inbox.close()


def test_a_check_that_fails_is_told_once_and_made_again(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[OSError | None] = [OSError(24, "Too many open files"), OSError(24, "Too many open files")]

    def check() -> None:
        if error := errors.pop(0):
            raise error

    inbox, alarms, audits, clock = Inbox(), Alarms(), list[str](), ManualClock(0, boot=0)
    log = SimpleNamespace(logger=logging.getLogger("test_audit"), audit=lambda: audits.append("log"), trouble=None)
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
