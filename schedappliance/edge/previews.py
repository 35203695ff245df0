"""Makes previews for the console in child processes: one at a time, with a deadline and a bounded answer.

Rule: equal requests share an answer. The daemon ends the child before it ends itself.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.engine.events import PreviewMade

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop
    from schedappliance.edge.threads import Worker
    from schedappliance.engine.effects import MakePreview

# A day of many thousand due times takes a few seconds. The limit is on processor time, because on a busy machine a small
# preview may wait for minutes. A child that waits for something else than the processor is ended at the deadline.
CPU_SECONDS = 60
DEADLINE_MS = 300_000
FRESH_MS = 30_000
MOST_BYTES = 1024 * 1024
# The most bytes that are read from the standard error of the child.
MOST_ERRORS = 16 * 1024
# How many different previews may wait for one another.
MOST_WAITING = 8
# A preview gives way to jobs. With 10, it got 3 % of a processor beside three busy programs, and a small one took a minute.
NICE = 5


@dataclass(slots=True)
class Previews:
    """`config`: the appliance file. `worker` waits for the child.

    Requests that differ only in their `reply_to` share an answer. As keys and in kept answers, `reply_to` is 0.
    """

    config: Path
    loop: Loop
    worker: Worker
    _waiting: dict[MakePreview, list[int]] = field(default_factory=dict)
    _made: dict[MakePreview, tuple[int, PreviewMade]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: subprocess.Popen[bytes] | None = None
    _is_closed: bool = False

    def make(self, effect: MakePreview) -> None:
        """Performs the effect MakePreview."""
        wanted = replace(effect, reply_to=0)
        now = self.loop.clock.moment().boot
        self._made = {key: row for key, row in self._made.items() if row[0] + FRESH_MS > now}
        if wanted in self._made:
            self._reply([effect.reply_to], self._made[wanted][1])
        elif wanted in self._waiting:
            self._waiting[wanted].append(effect.reply_to)
        elif len(self._waiting) >= MOST_WAITING:
            self._reply([effect.reply_to], PreviewMade(0, "", problem=f"{MOST_WAITING} others are being made"))
        else:
            self._waiting[wanted] = [effect.reply_to]
            self.worker.submit(partial(self._make, wanted))

    def close(self) -> None:
        """Ends the child. Call it before the worker is closed."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def _make(self, wanted: MakePreview) -> None:
        """Runs on the worker."""
        try:
            made = self._run(self._command(wanted))
        except OSError as error:
            made = PreviewMade(0, "", problem=f"its process cannot be started: {error.strerror}")
        self.loop.inbox.post(partial(self._finish, wanted, made))

    def _finish(self, wanted: MakePreview, made: PreviewMade) -> None:
        if made.problem is None:
            self._made[wanted] = self.loop.clock.moment().boot, made
        self._reply(self._waiting.pop(wanted), made)

    def _reply(self, numbers: list[int], made: PreviewMade) -> None:
        for number in numbers:
            self.loop.inbox.put(replace(made, reply_to=number))

    def _command(self, wanted: MakePreview) -> list[str]:
        form = "json" if wanted.as_json else "table"
        period = f"{max(1, wanted.period_ms // 1000)}"
        limit = str(wanted.limit)
        words = ["preview", "--config", str(self.config), "--for", period, "--limit", limit, "--format", form]
        words += [f"--job={wanted.job}"] if wanted.job is not None else []
        return [sys.executable, "-X", "utf8", "-m", "schedappliance", *words]

    def _run(self, command: list[str]) -> PreviewMade:
        """Runs the child on the worker. Raises OSError."""
        errors = os.memfd_create("preview")
        try:
            with self._lock:
                if self._is_closed:
                    return PreviewMade(0, "", problem="the appliance is stopping")
                # The child finds the same modules, wherever this process has them from.
                env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
                process = self._process = subprocess.Popen(
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
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
                _, hard = resource.prlimit(process.pid, resource.RLIMIT_CPU)
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (CPU_SECONDS, hard))
            return self._read(process, errors)
        finally:
            os.close(errors)

    def _read(self, process: subprocess.Popen[bytes], errors: int) -> PreviewMade:
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
            self._process = None
        status = process.wait()
        lines = os.pread(errors, MOST_ERRORS, 0).decode(errors="replace").splitlines()
        return _result(status, ended[0] if ended else None, output.decode(errors="replace"), lines)


def _result(status: int, why_ended: str | None, text: str, lines: list[str]) -> PreviewMade:
    """The answer of a child. `why_ended`: why the daemon has ended it. `lines`: what it wrote to standard error."""
    if status == -signal.SIGXCPU:
        why_ended = f"it took more than {CPU_SECONDS} seconds of processor time"
    if why_ended or status:
        wrong = [line for line in lines if line and not line.startswith(("note: ", " "))]
        # Warnings about the files may come before the error for which they are rejected.
        errors = [line for line in wrong if line.startswith("error")]
        first = next(iter(errors or wrong), "its process was ended")
        return PreviewMade(0, "", problem=why_ended or first.removeprefix("error: "))
    notes = [line.removeprefix("note: ") for line in lines if line.startswith("note: ")]
    # An answer in JSON is one line. Only the layout has line ends; those in a text are escaped.
    return PreviewMade(0, text.replace("\n", "") if text.startswith("[") else text, "; ".join(notes) or None)
