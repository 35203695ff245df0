"""Programs that `at` and cron start at full minutes, by daemons of their own.

Rule: the jobs of this machine are neither read nor changed. The daemons run in a private mount namespace, in which their
directories are empty. So only root can measure them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import localtime, strftime

AT, CRON = "at", "cron"
# The submission of some hundred jobs takes less.
LEAD_SECONDS = 15
NEEDED = {AT: ("at", "atd"), CRON: ("cron", "crontab")}
# The daemons exist only here. A peer that is not installed has no jobs.
SCRIPT = """
mount -t tmpfs none /run
mount -t tmpfs none /var/spool/cron
[ ! -d /etc/cron.d ] || mount -t tmpfs none /etc/cron.d
[ ! -e /etc/crontab ] || { : >/run/crontab; mount --bind /run/crontab /etc/crontab; }
set -e
cd /var/spool/cron
if [ -s "$1/at" ]; then
  install -d -m 1770 -o daemon -g daemon atjobs atspool
  install -m 600 -o daemon -g daemon /dev/null atjobs/.SEQ
  while read -r minute command; do echo "$command" | at -t "$minute"; done <"$1/at" 2>/dev/null
  atd -f &
fi
if [ -s "$1/cron" ]; then
  install -d -m 1730 crontabs
  install -m 600 "$1/cron" crontabs/root
  cron -f &
fi
: >"$1/ready"
wait
"""


def absent(peer: str) -> str | None:
    """Why a peer cannot be measured."""
    if lacking := [program for program in (*NEEDED[peer], "unshare") if shutil.which(program) is None]:
        return f"{peer}: no {' and '.join(lacking)} here"
    can_mount = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return None if can_mount.returncode == 0 else f"{peer}: only root may mount directories of its own for it"


def next_minutes(now: float, count: int) -> list[int]:
    """The next full minutes, as Unix timestamps."""
    first = int(now + LEAD_SECONDS) // 60 * 60 + 60
    return [first + 60 * number for number in range(count)]


@contextmanager
def scheduled(folder: Path, program: Path, count: int, minutes: list[int]) -> Iterator[dict[str, list[Path]]]:
    """Lets each peer start a program so many times at each minute, and yields the files of its outputs, one a minute.

    `minutes`: Unix timestamps.
    """
    files: dict[str, list[Path]] = {}
    for peer, time in ((AT, "%Y%m%d%H%M"), (CRON, "%M %H %d %m *")):
        outputs = [] if absent(peer) else [folder / f"{peer}-{minute}" for minute in minutes]
        lines = [f"{strftime(time, localtime(int(file.name.split('-')[1])))} {program} >>{file}\n" for file in outputs]
        (folder / peer).write_text("".join(line * count for line in lines))
        files |= {peer: outputs} if outputs else {}
    command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", str(folder)]
    with (folder / "log").open("wb") as log:
        daemons = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield files
        finally:
            os.killpg(daemons.pid, signal.SIGKILL)
            daemons.wait()
