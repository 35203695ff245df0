"""What each console command does: one file per family, registered by the one list below."""

from __future__ import annotations

from collections.abc import Callable

from schedappliance.commands import authz, config, daemon, generations, jobs, run, sched, show, spool, transactions, why
from schedappliance.commands.context import Awaited, Claimed, Context, Deferred, Retried
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import FORMS, Command

Perform = Callable[[Context, Command], Answer | Deferred | Awaited | Claimed | Retried]

PERFORM: dict[str, Perform] = {
    "sched_at": sched.schedule_at,
    "sched_in": sched.schedule_in,
    "sched_every": sched.schedule_every,
    "sched_list": sched.list_jobs,
    "sched_delete": sched.delete,
    "sched_history": sched.history,
    "sched_show": show.show,
    "sched_why": why.why,
    "sched_run": jobs.run_now,
    "sched_pause": jobs.pause,
    "sched_resume": jobs.resume,
    "run": run.run,
    "run_wait": run.run_and_wait,
    "config_get": config.get,
    "config_eval": config.evaluate,
    "config_set": config.set_option,
    "config_unset": config.unset,
    "config_show": config.show,
    "config_showrecurse": config.show_recursively,
    "config_begin": transactions.begin,
    "config_commit": transactions.commit,
    "config_rollback": transactions.rollback,
    "config_reload": config.reload,
    "config_status": generations.status,
    "config_history": generations.history,
    "config_diff": generations.diff,
    "authz_id": authz.identity,
    "authz_roles_list": authz.roles,
    "spool_list": spool.list_drops,
    "spool_why": spool.why,
    "spool_retry": spool.retry,
    "help": daemon.help_on,
    "version": daemon.version,
    "pid": daemon.pid,
    "summary": daemon.summary,
    "summary_reset": daemon.summary_reset,
    "shutdown": daemon.shutdown,
    "quit": daemon.leave,
}

assert PERFORM.keys() | {"json"} == FORMS.keys(), "every command form has its performer"


def perform(context: Context, command: Command) -> Answer | Deferred | Awaited | Claimed | Retried:
    """Carries a command out inside the current transaction; raises Rejected when nothing was done."""
    bare = command.bare
    return PERFORM[bare.form](context, bare)
