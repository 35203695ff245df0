"""`help`, `version`, `pid`, `health`, `summary`, `watch`, `shutdown`, `quit`: commands about the appliance itself.

Rule: the texts are Momentum's where it has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import hold_data, hold_text
from schedappliance.commands.view import View, why_full
from schedappliance.diagnostics import did_you_mean, shortened
from schedappliance.engine.effects import ONLY_LATER, Answer
from schedappliance.model.commands import FORMS, Command

if TYPE_CHECKING:
    from schedappliance.store.tables import Store


def help_on(view: View, command: Command) -> Outcome:
    wanted = tuple(word.lower() for word in command.words)
    forms = [form for form in FORMS.values() if tuple(form.name.split())[: len(wanted)] == wanted]
    if not forms:
        typed = " ".join(command.words)
        names = [form.name for form in FORMS.values()]
        raise view.reject(
            "E110",
            f"no command begins with `{shortened(typed)}`",
            did_you_mean(typed, names, "`help` lists all commands"),
        )
    text = "".join(f"{form.usage}\n\t{form.help}\n" for form in forms)
    return Outcome(view.answer(text, [{"usage": form.usage, "help": form.help} for form in forms]))


def version(view: View, _command: Command) -> Outcome:
    number = view.status.version
    return Outcome(view.answer(f"# schedappliance version: {number}", {"version": number}))


def pid(view: View, _command: Command) -> Outcome:
    return Outcome(view.answer(str(view.status.pid), {"pid": view.status.pid}))


def health(view: View, _command: Command) -> Outcome:
    """What is wrong, one line for each trouble, and a hold. An answer shows that the deciding thread works."""
    status, troubles = view.status, view.status.trouble_list
    if (reload := status.last_reload).outcome == "rejected":
        reason = reload.lines[0] if reload.lines else "see `config status`"
        troubles = (*troubles, f"the stanza files were rejected: {reason}")
    if loss := view.store.loss:
        troubles = (*troubles, loss)
    if full := view.unless_degraded(lambda: why_full(view, user=None)):
        troubles = (*troubles, f"no more jobs are accepted: {'; '.join(full)}")
    lines = [*troubles, *([f"held {hold_text(status.hold, view.zone)}"] if status.hold else [])]
    text = "".join(f"{line}\n" for line in lines) or "ok\n"
    data = {"live": True, "ready": status.is_ready, "troubles": list(troubles), "held": hold_data(status.hold)}
    answer = view.answer(text, data)
    return Outcome(answer._replace(exit_status=0 if status.is_ready else 1))


def summary(view: View, _command: Command) -> Outcome:
    status, (running, queued, statistics) = view.status, view.ask.counts()
    now = view.moment.boot
    spool = status.spool
    jobs = view.unless_degraded(lambda: _count_jobs(view.store)) or {}
    done, failed = (view.unless_degraded(view.store.drops.counts) if spool else None) or (None, None)
    rows = {
        "Jobs": jobs.get("all"),
        "Jobs paused": jobs.get("paused"),
        "Jobs switched off": jobs.get("disabled"),
        "Programs running": running,
        "Runs queued": queued,
        **{f"Runs {state}": count for state, count in sorted(statistics.ended.items())},
        "Commands": statistics.commands,
        "Drops": statistics.drops,
        "Spool waiting": spool.waiting if spool else None,
        "Spool in progress": spool.in_progress if spool else None,
        "Spool done": done,
        "Spool failed": failed,
        "Held": hold_text(status.hold, view.zone) if status.hold else None,
        "Degraded": status.troubles,
        "Data loss": view.store.loss,
        "Store": str(view.store.path or "memory; lost at a restart"),
        "Configuration": status.digest[:12],
    }
    reset_s, uptime_s = (now - statistics.since.boot) // 1000, (now - status.started.boot) // 1000
    shown = {label: value for label, value in rows.items() if value is not None}
    shown |= {"Statistics Last Reset": f"{reset_s} seconds", "Uptime": f"{uptime_s} seconds"}
    text = "Summary Statistics\n" + "".join(f"\t{label}:  {value}\n" for label, value in shown.items())
    data = {label.lower().replace(" ", "_"): value for label, value in rows.items()}
    data |= {"statistics_last_reset_s": reset_s, "uptime_s": uptime_s}
    data |= {"started_ms": status.started.wall, "ready": status.is_ready}
    return Outcome(view.answer(text, {**data, "held": hold_data(status.hold)}))


def _count_jobs(store: Store) -> dict[str, int]:
    jobs = store.jobs
    paused, disabled = jobs.count_paused_and_disabled()
    return {"all": jobs.count(), "paused": paused, "disabled": disabled}


def summary_reset(view: View, _command: Command) -> Outcome:
    return Outcome(view.answer("statistics cleared.", {"reset": True}), resets=True)


def watch(_view: View, command: Command) -> Outcome:
    """Lets the client watch. The console server adds the number of the last event to the answer."""
    after = int(command.words[0]) if command.words else ONLY_LATER
    return Outcome(Answer("{}", is_json=True, events_after=after), watches=True)


def shutdown(view: View, command: Command) -> Outcome:
    return Outcome(view.answer("", {"shutdown": True}), stops=True, keeps=bool(command.words))


def leave(view: View, _command: Command) -> Outcome:
    """Answers `quit` with an empty text. The console client never sends it; another program may."""
    return Outcome(view.answer("", {"quit": True}))
