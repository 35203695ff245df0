"""`help`, `version`, `pid`, `summary`, `shutdown`, `quit`: what concerns the appliance itself."""

from __future__ import annotations

from schedappliance.commands.context import Context, Statistics
from schedappliance.diagnostics import did_you_mean, shortened
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import FORMS, Command


def help_on(context: Context, command: Command) -> Answer:
    wanted = tuple(word.lower() for word in command.words)
    forms = [form for form in FORMS.values() if tuple(form.name.split())[: len(wanted)] == wanted]
    if not forms:
        typed = " ".join(command.words)
        names = [form.name for form in FORMS.values()]
        raise context.refuse(
            "E110", f"no command begins with `{shortened(typed)}`", did_you_mean(typed, names, "`help` lists all")
        )
    text = "".join(f"{form.usage}\n\t{form.help}\n" for form in forms)
    return context.answer(text, [{"usage": form.usage, "help": form.help} for form in forms])


def version(context: Context, _command: Command) -> Answer:
    number = context.status.version
    return context.answer(f"# schedappliance version: {number}", {"version": number})


def pid(context: Context, _command: Command) -> Answer:
    return context.answer(str(context.status.pid), {"pid": context.status.pid})


def summary(context: Context, _command: Command) -> Answer:
    status, statistics = context.status, context.status.statistics
    now = context.moment.boot
    spool = status.spool
    done, failed = context.store.drops.counts() if spool else (None, None)
    rows = {
        "Jobs": context.store.jobs.count(),
        "Programs running": status.running,
        "Runs queued": status.queued,
        **{f"Runs {state}": count for state, count in sorted(statistics.ended.items())},
        "Commands": statistics.commands,
        "Drops": statistics.drops,
        "Spool waiting": spool.waiting if spool else None,
        "Spool in progress": spool.in_progress if spool else None,
        "Spool done": done,
        "Spool failed": failed,
        "Degraded": status.troubles,
        "Store": str(context.store.path or "memory; forgotten at a restart"),
        "Configuration": status.digest[:12],
        "Statistics Last Reset": f"{(now - statistics.since.boot) // 1000} seconds",
        "Uptime": f"{(now - status.started.boot) // 1000} seconds",
    }
    shown = {label: value for label, value in rows.items() if value is not None}
    text = "Summary Statistics\n" + "".join(f"\t{label}:  {value}\n" for label, value in shown.items())
    return context.answer(text, {label.lower().replace(" ", "_"): value for label, value in rows.items()})


def summary_reset(context: Context, _command: Command) -> Answer:
    context.status.statistics = Statistics(context.moment)
    return context.answer("statistics cleared.", {"reset": True})


def shutdown(context: Context, _command: Command) -> Answer:
    context.stop = True
    return context.answer("", {"shutdown": True})


def leave(context: Context, _command: Command) -> Answer:
    """The client leaves by itself; a program that sends the word is told nothing."""
    return context.answer("", {"quit": True})
