"""Makes previews for the console in child processes, with a deadline and a bounded answer.

One preview is made at a time for root and the user of the appliance, and one for all other users, who take turns.
The files of a preview are those that the appliance has accepted: its store keeps them.

Rule: equal requests share an answer. The daemon ends the children before it ends itself.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import InitVar, dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.engine.events import PreviewMade
from schedappliance.engine.rotation import Rotation

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop
    from schedappliance.edge.threads import Worker
    from schedappliance.engine.effects import MakePreview

# A day of many thousand due times takes a few seconds. The limit is on processor time, because on a busy machine a small
# preview may wait for minutes. A child that waits for something other than the processor is ended at the deadline.
CPU_SECONDS = 60
DEADLINE_MS = 300_000
FRESH_MS = 30_000
MOST_BYTES = 1024 * 1024
# The most bytes that are read from the standard error of the child.
MOST_ERRORS = 16 * 1024
# How many different previews of one user, and of all users, may be unfinished.
MOST_OF_USER = 4
MOST_OF_ALL = 32
# A preview gives way to the daemon and to jobs: its nice value is so much above that of the daemon. With 10, it got 3 % of a
# processor beside three busy programs, and a small one took a minute.
NICE = 5
AGAIN, LESS = "try again", "give a shorter time or a smaller limit"


@dataclass(slots=True)
class _Lane:
    """The unfinished previews of some users, of which one is made at a time. `worker` waits for its child.

    `asked`: for each preview, the users who have asked for it, each with the orders that wait.
    """

    worker: Worker
    asked: dict[MakePreview, dict[int, list[int]]] = field(default_factory=dict)
    being_made: MakePreview | None = None
    process: subprocess.Popen[bytes] | None = None

    def why_full(self, uid: int) -> str:
        """Why a user may not ask for another preview; empty if the user may."""
        if sum(uid in users for users in self.asked.values()) >= MOST_OF_USER:
            return f"{MOST_OF_USER} others of this user are being made"
        return f"{MOST_OF_ALL} others are being made" if len(self.asked) >= MOST_OF_ALL else ""


@dataclass(slots=True)
class Previews:
    """`store`: where the jobs and the accepted files are; None: in memory, and a child reads the files on the disk.

    `config`: the appliance file. `workers`: for the previews of trusted users, and for those of all others.

    Requests that differ only in who has asked share an answer. As keys and in kept answers, `reply_to` and `uid` are 0.
    """

    config: Path
    store: Path | None
    loop: Loop
    workers: InitVar[tuple[Worker, Worker]]
    # The users whose previews others do not delay.
    trusted: frozenset[int] = field(default_factory=lambda: frozenset({0, os.geteuid()}))
    _of_trusted: _Lane = field(init=False)
    _of_guests: _Lane = field(init=False)
    _made: dict[MakePreview, tuple[int, PreviewMade]] = field(default_factory=dict)
    _rotation: Rotation = field(default_factory=Rotation)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_closed: bool = False

    def __post_init__(self, workers: tuple[Worker, Worker]) -> None:
        self._of_trusted, self._of_guests = map(_Lane, workers)

    def make(self, effect: MakePreview) -> None:
        """Performs the effect MakePreview."""
        wanted = replace(effect, reply_to=0, uid=0)
        now = self.loop.clock.moment().boot
        self._made = {key: row for key, row in self._made.items() if row[0] + FRESH_MS > now}
        lane = self._of_trusted if effect.uid in self.trusted else self._of_guests
        users = lane.asked.get(wanted, {})
        if wanted in self._made:
            self._reply([effect.reply_to], self._made[wanted][1])
        elif effect.uid not in users and (why := lane.why_full(effect.uid)):
            self._reply([effect.reply_to], PreviewMade(0, "", problem=why, remedy=AGAIN))
        else:
            users.setdefault(effect.uid, []).append(effect.reply_to)
            lane.asked[wanted] = users
            self._make_next(lane)

    def close(self) -> None:
        """Ends the children. Call it before the workers are closed."""
        with self._lock:
            self._is_closed = True
            for lane in (self._of_trusted, self._of_guests):
                if lane.process is not None:
                    lane.process.kill()

    def _make_next(self, lane: _Lane) -> None:
        """Begins the next preview of a lane, unless one is being made: the oldest of the user who is next."""
        if lane.being_made is not None or not lane.asked:
            return
        wanted = lane.being_made = min(lane.asked, key=lambda key: min(map(self._rotation.last, lane.asked[key])))
        for uid in lane.asked[wanted]:
            self._rotation.take(uid)
        lane.worker.submit(partial(self._make, lane, wanted))

    def _make(self, lane: _Lane, wanted: MakePreview) -> None:
        """Runs on the worker of the lane."""
        try:
            made = self._run(lane, self._command(wanted))
        except OSError as error:
            made = PreviewMade(0, "", problem=f"its process cannot be started: {error.strerror}", remedy=AGAIN)
        self.loop.inbox.post(partial(self._finish, lane, wanted, made))

    def _finish(self, lane: _Lane, wanted: MakePreview, made: PreviewMade) -> None:
        if made.problem is None:
            self._made[wanted] = self.loop.clock.moment().boot, made
        for numbers in lane.asked.pop(wanted).values():
            self._reply(numbers, made)
        lane.being_made = None
        self._make_next(lane)

    def _reply(self, numbers: list[int], made: PreviewMade) -> None:
        for number in numbers:
            self.loop.inbox.put(replace(made, reply_to=number))

    def _command(self, wanted: MakePreview) -> list[str]:
        form = "json" if wanted.as_json else "table"
        period = f"{max(1, wanted.period_ms // 1000)}"
        limit = str(wanted.limit)
        source = ["--config", str(self.config)] if self.store is None else ["--store", str(self.store)]
        words = ["preview", *source, "--for", period, "--limit", limit, "--format", form]
        words += [f"--job={wanted.job}"] if wanted.job is not None else []
        return [sys.executable, "-P", "-X", "utf8", "-m", "schedappliance", *words]

    def _run(self, lane: _Lane, command: list[str]) -> PreviewMade:
        """Runs the child on the worker of the lane. Raises OSError."""
        errors = os.memfd_create("preview")
        try:
            with self._lock:
                if self._is_closed:
                    return PreviewMade(0, "", problem="the appliance is stopping")
                # The child finds the same modules, wherever this process has them from.
                env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
                process = lane.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd="/",
                    env=env,
                    start_new_session=True,
                )
            # A daemon with a lower limit of its own keeps that one.
            with suppress(OSError, ValueError):
                of_daemon = os.getpriority(os.PRIO_PROCESS, process.pid)
                os.setpriority(os.PRIO_PROCESS, process.pid, of_daemon + NICE)
                _, hard = resource.prlimit(process.pid, resource.RLIMIT_CPU)
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (CPU_SECONDS, hard))
            return self._read(lane, process, errors)
        finally:
            os.close(errors)

    def _read(self, lane: _Lane, process: subprocess.Popen[bytes], errors: int) -> PreviewMade:
        """Reads what the child writes until it ends, or until it is ended."""
        ended: list[str] = []

        def end(why: str) -> None:
            ended.append(why)
            process.kill()

        late = partial(end, f"it took longer than {DEADLINE_MS // 1000} seconds")
        alarm = self.loop.alarms.at(self.loop.clock.moment().boot + DEADLINE_MS, late)
        output = bytearray()
        assert process.stdout is not None
        with process.stdout:
            while chunk := os.read(process.stdout.fileno(), 65_536):
                output += chunk
                if len(output) > MOST_BYTES:
                    end(f"its rows are longer than {MOST_BYTES:,} bytes")
                    break
        self.loop.alarms.cancel(alarm)
        with self._lock:
            lane.process = None
        status = process.wait()
        lines = os.pread(errors, MOST_ERRORS, 0).decode(errors="replace").splitlines()
        return _result(status, ended[0] if ended else None, output.decode(errors="replace"), lines)


def _result(status: int, why_ended: str | None, text: str, lines: list[str]) -> PreviewMade:
    """The answer of a child. `why_ended`: why the daemon has ended it. `lines`: what it wrote to standard error."""
    if status == -signal.SIGXCPU:
        why_ended = f"it took more than {CPU_SECONDS} seconds of processor time"
    if why_ended:
        return PreviewMade(0, "", problem=why_ended, remedy=LESS)
    if status < 0:
        return PreviewMade(0, "", problem=f"its process was ended by signal {-status}", remedy=AGAIN)
    if status:
        return PreviewMade(0, "", problem=_first_error(lines))
    notes = [line.removeprefix("note: ") for line in lines if line.startswith("note: ")]
    # An answer in JSON is one line. Only the layout has line ends; those in a text are escaped.
    return PreviewMade(0, text.replace("\n", "") if text.startswith("[") else text, "; ".join(notes) or None)


def _first_error(lines: list[str]) -> str:
    """What is wrong according to the standard error of a child, on one line with its remedy.

    Notes and warnings may come before the error for which the files are rejected.
    """
    start = next((number for number, line in enumerate(lines) if line.startswith("error")), None)
    if start is None:
        return next((line for line in reversed(lines) if line), "its process failed")
    title, _, message = lines[start].partition(": ")
    code = title.removeprefix("error").strip("[]")
    details = [line.strip() for line in takewhile(lambda line: line.startswith(" "), lines[start + 1 :])]
    places = [f"{line.removeprefix('--> ')}:" for line in details if line.startswith("--> ")]
    remedies = [line.removeprefix("help: ") for line in details if line.startswith("help: ")]
    return "; ".join([" ".join(filter(None, (*places[:1], code, message))), *remedies[:1]])
