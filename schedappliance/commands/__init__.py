"""The console commands: one module for each family, and PERFORM, which maps each form in model/commands.py to its function.

Rule: each form has exactly one performer, and an assertion checks it.
"""

from __future__ import annotations

from collections.abc import Callable

from schedappliance.commands import (
    authz,
    calendar,
    config,
    daemon,
    hold,
    incidents,
    metrics,
    output,
    pause,
    preview,
    run,
    sched,
    show,
    spool,
    why,
)
from schedappliance.commands.outcome import Outcome
from schedappliance.commands.view import View
from schedappliance.model.commands import FORMS, Command

# Carries out a command in the current transaction. If it raises Rejected, it has changed nothing.
Perform = Callable[[View, Command], Outcome]

PERFORM: dict[str, Perform] = {
    "sched_at": sched.schedule_at,
    "sched_in": sched.schedule_in,
    "sched_every": sched.schedule_every,
    "sched_cron": calendar.schedule_cron,
    "sched_calendar": calendar.schedule_calendar,
    "sched_next": calendar.next_due_times,
    "sched_list": sched.list_jobs,
    "sched_delete": sched.delete,
    "sched_history": sched.history,
    "sched_show": show.show_job,
    "sched_output": output.show_output,
    "sched_why": why.explain,
    "sched_run": sched.run_now,
    "sched_stop": run.stop,
    "sched_wait": run.wait,
    "sched_pause": pause.pause,
    "sched_resume": pause.resume,
    "sched_hold": hold.hold,
    "sched_release": hold.release,
    "sched_incidents": incidents.incidents,
    "sched_ack": incidents.acknowledge,
    "run": run.run_program,
    "run_wait": run.run_and_wait,
    "config_get": config.get,
    "config_eval": config.evaluate,
    "config_set": config.set_option,
    "config_unset": config.unset,
    "config_show": config.show,
    "config_showrecurse": config.show_recursively,
    "config_begin": config.begin,
    "config_commit": config.commit,
    "config_rollback": config.rollback,
    "config_reload": config.reload,
    "config_status": config.status,
    "config_history": config.history,
    "config_diff": config.diff,
    "authz_id": authz.identity,
    "authz_roles_list": authz.roles,
    "authz_may": authz.may,
    "spool_list": spool.list_drops,
    "spool_why": spool.explain,
    "spool_retry": spool.retry,
    "help": daemon.help_on,
    "version": daemon.version,
    "pid": daemon.pid,
    "health": daemon.health,
    "summary": daemon.summary,
    "summary_reset": daemon.summary_reset,
    "metrics": metrics.show_metrics,
    "preview": preview.show_preview,
    "watch": daemon.watch,
    "shutdown": daemon.shutdown,
    "quit": daemon.leave,
}

# `json` only decides the form in which another command answers.
assert PERFORM.keys() | {"json"} == FORMS.keys(), "every command form has its performer"
