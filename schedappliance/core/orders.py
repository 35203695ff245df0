"""Orders: carries out the commands of lines, drops, signals and due jobs, all in one way. Also claims due jobs.

Commands and jobs share this file, since each calls the other. A due job can carry out a command. A command can claim a job. It
can also change the options, and with them the declared jobs.

Rule: only this module performs commands. A rejected command gives an answer, never an exception.
"""

# The way of a command. Example: the line `sched run nightly`.
#
#   line_typed      The line is read. With roles, it waits until its user is looked up. It becomes an Order.
#   carry_out       Asks the roles (`_authorize`). The command writes its rows and returns an Outcome (`_perform`).
#   _apply_outcome  Makes the changes that the Outcome wants: here, it claims the job (`_claim_now`). The answer names the run.
#   _audit_order    Logs the line. Then `line_typed` replies.
#
# Other ways to the same functions:
#
#   a job is due          `tick` (core/turn.py) calls `claim_runs`. `_begin_run` starts a program (core/runs.py), or
#                         calls `carry_out`.
#   a drop, a signal      core/drops.py and core/reload.py call `carry_out`.
#   a device must answer  `_park` keeps the order and asks the device. The handler of the event with the answer replies,
#                         for example `answer_parked`.
#   options have changed  `take_options` makes them active. `follow_declared` makes the stored jobs agree with the declared ones
#                         (core/declared.py), and claims what was due before.

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING

from schedappliance.commands import PERFORM
from schedappliance.commands.outcome import (
    AfterPreview,
    AfterReading,
    AfterReload,
    AfterRetry,
    AfterRun,
    Outcome,
    Rejected,
)
from schedappliance.commands.output import show_output
from schedappliance.commands.phrases import hold_data
from schedappliance.commands.preview import preview_answer
from schedappliance.commands.sched import answer_of_claim
from schedappliance.commands.view import Order, View
from schedappliance.core.alerts import close_outdated_incidents, end_incidents_of_gone, note_acknowledgement
from schedappliance.core.audit import audit, audit_rollback, is_change, part_of
from schedappliance.core.authorization import (
    defer_for_users,
    denial_of_order,
    mistake_of_quiet,
    rejection_of_stranger,
    represented_user,
    user_now,
    why_forbidden,
)
from schedappliance.core.declared import take_jobs
from schedappliance.core.run_stops import stop_run
from schedappliance.core.runs import (
    advance_by_claim,
    answer_failure,
    call_off,
    claim_program,
    count_end_at_claim,
    miss_and_advance,
    not_started,
    replace_after_hold,
    share_of_runs,
)
from schedappliance.core.stopping import stop
from schedappliance.core.waits import forget_waits
from schedappliance.diagnostics import Source, command_diagnostic
from schedappliance.engine.attempts import has_other_waits
from schedappliance.engine.declared import Overdue, Reconciliation, changed_jobs
from schedappliance.engine.effects import Answer, Effect, MakePreview, PutBack, PutOff, ReadFiles, ReadOutput, rejection
from schedappliance.engine.events import ConnectionClosed, LineTyped, OutputRead, PreviewMade
from schedappliance.engine.metrics import LATENESS
from schedappliance.engine.options import Options
from schedappliance.engine.output_parts import LEAST_BYTES, PART_BYTES, READ_BYTES
from schedappliance.engine.reasons import STOPPED, SWITCHED_OFF, UNREADABLE, WHILE_PAUSED, Reason, held, rejected
from schedappliance.engine.records import Job, RunKey, User
from schedappliance.engine.schedule import (
    Claim,
    catch_up_of,
    claim,
    claim_now,
    what_is_due,
)
from schedappliance.engine.states import RunState, Statistics
from schedappliance.model.command_file import MAY_BE_COSTLY, cost_of
from schedappliance.model.commands import FORMS, Command, is_json, read_command
from schedappliance.model.references import command_mistakes
from schedappliance.store.runs import NewRun

if TYPE_CHECKING:
    from schedappliance.core.state import State

# The most characters of an answer that the store keeps.
MAX_STORED_ANSWER = 64 * 1024
# When a turn has cost more than answers with so many bytes, the other lines and due jobs wait for the next turn.
MOST_SPENT = 1024 * 1024
# A costly command takes up to a few milliseconds, so it counts as an answer of this size: 32 share a turn.
COSTLY_BYTES = 32 * 1024


# Lines


def line_typed(state: State, event: LineTyped) -> None:
    """Reads a console line, carries it out and replies.

    With roles, the line waits until its user has been looked up.
    """
    if state.spent > MOST_SPENT:
        state.effects.append(PutOff(event))
        return
    line = event.line.strip(" \t")
    read = read_command(line)
    guarded = state.configuration.authorization is not None
    if guarded and not state.stopping and defer_for_users(state, event, *([read.command] if read.command else [])):
        return
    state.statistics.commands += 1
    if state.stopping:
        remedy = "try again when it has started"
        mistake = command_diagnostic("E505", "the appliance is stopping", remedy, line)
        _reject_line(state, event, line, rejection([mistake]))
        return

    # For whom the line is
    if guarded:
        event = event._replace(user=user_now(state, event.user))
    by = None
    if event.on_behalf_of is not None:
        by = event.user
        user = represented_user(state, event.user, event.on_behalf_of, line)
        if isinstance(user, Answer):
            _reject_line(state, event, line, user)
            return
        event = event._replace(user=user)

    # What it orders
    if read.command is None:
        _reject_line(state, event, line, rejection(read.diagnostics), by)
        return
    order = Order(event.user, "console", line, read.command, state.moment.wall, event.reply_to, event.connection, by=by)
    if event.instead is not None:
        meant = _meant(state, order, event.instead)
        if isinstance(meant, Answer):
            _reject_line(state, event, line, meant, by)
            return
        order = meant

    if event.quiet and (too_loud := mistake_of_quiet(order)):
        _reject_line(state, event, line, too_loud, by)
        return

    # Its answer
    if order.command.bare.form in MAY_BE_COSTLY:
        state.spent += cost_of(order.command) * COSTLY_BYTES
    unlogged = _authorize(state, order) if event.quiet else None
    answer = unlogged.answer if unlogged else carry_out(state, order)
    outcome = "ok" if answer is None or answer.error is None else "rejected"
    state.count("commands_total", FORMS[order.command.bare.form].name, outcome)
    if answer:
        is_repeatable = answer.error is None and not is_change(order.command)
        state.reply(event, answer, order.as_json, is_repeatable)


def _meant(state: State, order: Order, line: str) -> Order | Answer:
    """The order that the client means: the one of its first line, or that of its second `line`.

    The first one is meant if it runs a job that exists, and is allowed. Otherwise the second one is, if it is allowed. Only
    `run` beside `sched run` is accepted: whether a request writes rows, and whose jobs it runs, is judged by its first line alone.
    """
    other = read_command(line).command
    bare = order.command.bare
    if other is None or other.bare.form != "run" or bare.form != "sched_run":
        message, remedy = (
            "`or` is allowed only for `run`, beside `sched run`",
            "send each command as a request of its own",
        )
        return rejection([command_diagnostic("E507", message, remedy, line)])
    instead = replace(order, text=line, command=other)
    number = state.store.jobs.meant_by(state.store.node, bare.words[0])
    has_job = number is not None and state.store.jobs.get(number) is not None
    is_meant = has_job and _authorize(state, order) is None
    return order if is_meant or _authorize(state, instead) is not None else instead


def _reject_line(state: State, event: LineTyped, line: str, answer: Answer, by: User | None = None) -> None:
    """Rejects a line that became no order. A user without any role does not learn why."""
    if not state.stopping:
        answer = rejection_of_stranger(state, event.user, line) or answer
    state.count("commands_total", "", "rejected")
    audit(state, event.user, "console", line, answer, by)
    state.reply(event, answer, is_json(line))


def connection_closed(state: State, event: ConnectionClosed) -> None:
    """Rolls back the open transaction of a connection that was closed, after the lines of that connection."""
    if state.spent > MOST_SPENT:
        state.effects.append(PutOff(event))
        return
    if state.users.put_closing_off(event):
        return
    forget_waits(state, event.connection)
    if transaction := state.close_transaction(event.connection):
        audit_rollback(state, transaction.user, transaction.by)


# Orders


def carry_out(state: State, order: Order) -> Answer | None:
    """Carries out an order in the current transaction. Returns None if an event answers the order later.

    The command of a due job is not authorized here: `_begin_run` did that for its run.
    """
    view = _view(state, order)
    # Permission comes first: without it, a command must neither read nor write.
    outcome = _authorize(state, order) or _perform(view)
    # The changes come before the audit line: they may claim a run, whose result is the answer that the line shows.
    answer = _apply_outcome(state, view, outcome)
    if answer is None:
        return None
    _audit_order(state, view, outcome, answer)
    if outcome.stops:
        # The stop comes last: the log shows the command before its effect.
        stop(state, _who(state, order), keeps=outcome.keeps)
    return answer if outcome.pending is None else None


def _view(state: State, order: Order) -> View:
    """What a command may read."""
    connection = order.connection
    return View(
        order=order,
        store=state.store,
        options=state.options,
        status=state.status,
        moment=state.moment,
        transaction=state.transactions.get(connection) if connection is not None else None,
        version=state.version,
        schedules=state.schedules,
        ask=state.questions,
    )


def _authorize(state: State, order: Order) -> Outcome | None:
    """The rejection of a command that no role of its user allows; None if the command is allowed."""
    if order.arrived_ms is None or state.options.configuration.authorization is None:
        return None
    denied = denial_of_order(state, order)
    return Outcome(denied) if denied else None


def _perform(view: View) -> Outcome:
    """Performs a command, which writes its own rows. The other changes are in the outcome."""
    order = view.order
    bare = order.command.bare
    try:
        if order.reply_to is not None:
            _check_programs(view, bare)
        return PERFORM[bare.form](view, bare)
    except Rejected as error:
        return Outcome(error.answer)


def _check_programs(view: View, command: Command) -> None:
    """Raises Rejected if a command that a person typed runs a program that is not declared, or with wrong arguments."""
    command = command.inner or command
    if _all_declared(view, command):
        return
    # Places are those in the whole line.
    tree = read_command(view.order.text).tree
    assert tree is not None
    mistakes = command_mistakes(tree, Source.of_command(view.order.text), view.options.configuration)
    raise Rejected([mistake for mistake in mistakes if mistake.is_error])


def _all_declared(view: View, command: Command) -> bool:
    """Whether all programs are declared, and their arguments fit. This does not find the places of mistakes, but is fast."""
    programs = view.options.configuration.programs
    for level in command.nest():
        if level.form == "run":
            name, *arguments = level.words
            program = programs.get(name)
            # Most programs declare no arguments and are given none.
            if program is None or ((arguments or program.args) and program.wrong_arguments(tuple(arguments))):
                return False
    return True


def _apply_outcome(state: State, view: View, outcome: Outcome) -> Answer | None:
    """Makes the changes that a command wants: to options, transactions, statistics, and runs.

    Returns the answer, which may depend on a claimed run; None if the order was parked until an event answers it.
    """
    # Options and transactions
    if (options := outcome.options) is not None:
        take_options(state, options)
    if (connection := view.order.connection) is not None:
        if outcome.transaction is not None:
            state.transactions = {**state.transactions, connection: outcome.transaction}
        elif outcome.ends_transaction:
            state.close_transaction(connection)

    # The appliance
    if outcome.watches:
        state.watch(True)
    if outcome.hold is not None:
        state.set_hold(outcome.hold)
        replace_after_hold(state)
        state.tell("hold", held=hold_data(state.status.hold))
    if outcome.acknowledged:
        note_acknowledgement(state, outcome.acknowledged)
    if outcome.resets:
        state.statistics = Statistics(state.moment)

    # Runs
    if outcome.call_off is not None:
        _call_off(state, *outcome.call_off)
    if outcome.stops_run is not None:
        stop_run(state, outcome.stops_run, view.order.user.name)
    if isinstance(outcome.pending, AfterRun):
        # Before the claim, since the claim may end the run at once.
        state.await_run(view.order, outcome.pending)
    if outcome.claim is not None:
        _claim_now(state, outcome.claim.job, view.order)
    for job, due in outcome.missed:
        miss_and_advance(state, job, due, WHILE_PAUSED)

    # The answer
    if outcome.pending is None:
        return answer_of_claim(view, outcome.claim) if outcome.claim is not None else outcome.answer
    if isinstance(outcome.pending, AfterRun):
        return outcome.answer
    _park(state, view.order, outcome.pending)
    return None


def _call_off(state: State, jobs: tuple[int, ...] | None, reason: Reason) -> None:
    """Calls the runs of jobs off (None: of all, but deliveries of alerts). This turn claims these jobs no more."""
    concerned = (*state.queue.jobs(), *state.running.jobs) if jobs is None else jobs
    for number in concerned if state.queue.number or state.running else ():
        if jobs is not None or not state.store.incidents.is_alert(number):
            call_off(state, number, reason)
    if jobs is None:
        state.is_tick_over = True
        state.tell("gap")
    else:
        state.handled.update(jobs)
    close_outdated_incidents(state, jobs)


def _claim_now(state: State, number: int, order: Order) -> None:
    job = state.store.jobs.get(number)
    assert job is not None, number
    marked = job._replace(on_failure_of=order.on_failure_of or job.on_failure_of)
    if order.on_failure_of is not None and _is_parallel(state, job):
        # Both are of the files. The run takes the places and the shares of the user whose run failed; see `answer_failure`.
        # Not that of another declared job: while it waited for a place of a guest, the due times of the job would be skipped.
        marked = marked._replace(user=order.user)
    claim_runs(state, marked, claim_now(job, state.moment.wall))
    state.handled.add(number)


def _is_parallel(state: State, job: Job) -> bool:
    """Whether the job is a declared one whose runs do not wait for each other."""
    command = job.command.bare if job.declared is not None and job.command is not None else None
    return command is not None and command.form == "run" and state.runs_in_parallel(command.words[0])


def _audit_order(state: State, view: View, outcome: Outcome, answer: Answer) -> None:
    order = view.order
    # Diagnostics show a rejection. An error does not: `sched wait` for a run that has failed gives one, and was carried out.
    if answer.diagnostics or is_change(order.command):
        is_pending = view.transaction is not None and outcome.transaction is not None
        audit(state, order.user, order.source, order.text, answer, order.by, is_pending)


def _who(state: State, order: Order) -> str:
    if order.run is None:
        return f"user {order.user.name} at the console"
    return f"job {state.named(order.run)} of user {order.user.name}"


# Answers of devices


def _park(state: State, order: Order, pending: AfterReload | AfterRetry | AfterReading | AfterPreview) -> None:
    """Lets an order wait for its answer, and asks a device for it."""
    number = state.park(order)
    effect: Effect
    match pending:
        case AfterPreview():
            effect = MakePreview(number, order.user.uid, *pending, (state.version, state.store.writes))
        case AfterReading():
            # The more orders wait, the shorter is a part: a client may ask for many parts before it reads one.
            most = min(PART_BYTES, max(LEAST_BYTES, READ_BYTES // len(state.parked)))
            effect = ReadOutput(number, pending.attempt, pending.begin, most)
        case AfterReload():
            effect = ReadFiles(number, pending.typed)
        case AfterRetry():
            effect = PutBack(number, pending.name, pending.uid)
    state.effects.append(effect)


def answer_parked(state: State, event: OutputRead | PreviewMade) -> None:
    """Answers the order that waits for this event: a `preview`, or a `sched output`."""
    parked = state.parked.pop(event.reply_to, None)
    if parked is None:
        return
    order = parked.order
    view = _view(state, order)
    try:
        outcome = (
            preview_answer(view, event)
            if isinstance(event, PreviewMade)
            else show_output(view, order.command.bare, event)
        )
    except Rejected as error:
        outcome = Outcome(error.answer)
    if isinstance(outcome.pending, AfterReading):
        _park(state, order, outcome.pending)
        return
    _audit_order(state, view, outcome, outcome.answer)
    state.reply(order, outcome.answer, order.as_json, outcome.answer.ok)


# Due jobs


def claim_runs(state: State, job: Job, decision: Claim) -> None:
    """Advances a due job and records its runs. Both are in one transaction, so each occurrence is claimed exactly once."""
    advance_by_claim(state, job, decision)
    _begin_runs(state, job, decision)
    end_incidents_of_gone(state, job.number)


def _begin_runs(state: State, job: Job, decision: Claim) -> None:
    catching_up = len(decision.runs) > 1
    for occurrence in decision.runs:
        _begin_run(state, job, RunKey(job.number, occurrence.number), occurrence.due_ms, catching_up)


def _begin_run(state: State, job: Job, key: RunKey, due_ms: int, catching_up: bool) -> None:
    """Begins a run: starts or queues a program, or carries out an internal command at once."""
    command = job.command
    if command is None:
        not_started(state, job, key, due_ms, RunState.FAILED, UNREADABLE)
        return
    bare = command.bare
    state.measure(LATENESS, state.moment.wall - due_ms)
    guarded = state.options.configuration.authorization is not None
    if guarded and (reason := why_forbidden(state, job.user, job.origin, command)):
        not_started(state, job, key, due_ms, RunState.FAILED, reason)
        if bare.form == "run":
            answer_failure(state, key, bare.words[0], RunState.FAILED)
    elif bare.form == "run":
        claim_program(state, job, key, due_ms, bare, catching_up)
    else:
        if bare.form in MAY_BE_COSTLY:
            state.spent += cost_of(bare) * COSTLY_BYTES
        _carry_out_run(state, job, key, due_ms, command)


def _carry_out_run(state: State, job: Job, key: RunKey, due_ms: int, command: Command) -> None:
    """Carries out an internal command in the transaction that claims its run, so it takes effect exactly once."""
    now = state.moment.wall
    order = Order(job.user, job.origin, command.text, command, run=key, on_failure_of=job.on_failure_of)
    answer = carry_out(state, order)
    if answer is None:
        # An event will answer it and end the run, as for `config reload`.
        run = NewRun(key, due_ms, RunState.STARTED)
    elif answer.error is None:
        run = NewRun(key, due_ms, RunState.SUCCEEDED, ended_ms=now, answer=stored_output(answer) or None)
    else:
        why = rejected(answer.error)
        run = NewRun(key, due_ms, RunState.FAILED, why, ended_ms=now, answer=stored_output(answer) or None)
        text = f"sched: command: {part_of(command.text)} returned: {part_of(why)}"
        state.log("warning", text, share_of_runs(state, job.user.uid))
    state.store.runs.record(job, run, now)
    state.note_claim(key, run.state)
    if run.ended_ms is not None:
        count_end_at_claim(state, job, run)


def stored_output(answer: Answer) -> str:
    """The part of an answer that the store keeps."""
    if isinstance(answer.output, str):
        return answer.output[:MAX_STORED_ANSWER]
    text = StringIO()
    for piece in islice(answer.output, 1000):
        text.write(piece)
        if text.tell() >= MAX_STORED_ANSWER:
            # Making the others would take 70 ms for a long configuration.
            break
    return text.getvalue()[:MAX_STORED_ANSWER]


# Options and declared jobs


def take_options(state: State, options: Options) -> None:
    """Makes options the active ones."""
    before = state.options.configuration
    state.options = options
    state.version += 1
    if state.is_watched:
        # Counting takes as long as setting an option.
        state.tell("override", overrides=len(options.overrides))
    after = options.configuration
    if after is before:
        return
    if before.jobs is not after.jobs or before.days is not after.days:
        changes = follow_declared(state, frozenset(changed_jobs(before, after)), is_reload=False)
        state.log("info", str(changes))
    if state.queue.number and has_other_waits(before, after):
        state.read_queue(state.running.jobs)


def follow_local_times(state: State) -> None:
    """Makes the declared jobs agree with other time zone data, which can give their local times other instants."""
    before, options = state.options.configuration, state.options.in_zones(state.schedules.zones)
    names = frozenset(changed_jobs(before, options.configuration))
    if names:
        state.options = options
        state.version += 1
        changes = follow_declared(state, names, is_reload=False)
        state.log(
            "warning", f"local times have other instants: {changes}: time zone data {state.schedules.zones.version}"
        )


def follow_declared(
    state: State, names: frozenset[str] | None, *, is_new_boot: bool = False, is_reload: bool = True
) -> Reconciliation:
    """Makes the stored jobs agree with the declared ones, and claims what was due before; returns the changes.

    `names`: the jobs that may have changed, so that the others are not looked at; None: any. `is_new_boot`: the appliance
    starts for the first time since the machine has started. `is_reload` False: only overrides have changed.
    """
    changes = take_jobs(state, names, is_new_boot, is_reload)
    _claim_overdue(state)
    return changes


def _claim_overdue(state: State) -> None:
    """Claims the due times that passed under the old schedules of changed jobs, with their new commands and `catch_up`.

    The command of a claimed job can change, pause or hold the jobs behind it, so each is judged when its turn comes.
    """
    if state.overdue.is_claiming:
        # A command of a claimed job has changed the jobs. The call that claimed it goes on with them.
        return
    state.overdue.is_claiming = True
    may_differ = False
    while overdue := state.overdue.take():
        job = state.store.jobs.get(overdue.job.number) if may_differ else overdue.job
        if job is not None:
            _claim_one_overdue(state, overdue._replace(job=job))
            may_differ |= job.command is None or job.command.bare.form != "run"
    state.overdue.is_claiming = False


def _claim_one_overdue(state: State, overdue: Overdue) -> None:
    job, due_ms, schedule = overdue
    passed = job._replace(next_run_ms=due_ms)
    now = state.moment.wall
    # During a stop or a hold, the run of a program can be claimed and then waits. A command cannot wait.
    can_wait = job.command is not None and job.command.bare.form == "run"
    if state.stopping and not can_wait and job.recurrent and job.enabled and not job.paused:
        # The next start catches it up. A job that is due once has only the time in its row, which may be a new one.
        advance_by_claim(state, job, Claim((), None, job.occurrence, due_ms))
    elif reason := _why_not_now(state, job, can_wait):
        miss_and_advance(state, passed, what_is_due(schedule, due_ms, now)._replace(next_ms=job.next_run_ms), reason)
    else:
        started, status = state.status.started.wall, state.status
        catch_up = catch_up_of(state.configuration, job)
        decision = claim(passed, schedule, now, started, catch_up, status.degraded, status.last_hold)
        claim_runs(state, passed, decision._replace(next_run_ms=job.next_run_ms))


def _why_not_now(state: State, job: Job, can_wait: bool) -> Reason | None:
    """Why the passed due times of a changed job are missed; None if they can be claimed now."""
    if job.paused:
        return WHILE_PAUSED
    if not job.enabled:
        return SWITCHED_OFF
    if can_wait:
        return None
    if state.stopping:
        return STOPPED
    return None if state.status.hold is None else held(state.status.hold.reason)
