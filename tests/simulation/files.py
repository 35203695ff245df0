"""The stanza file of a history: random programs, jobs and policies, and their edits."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

from tests.simulation.dice import DAY, Dice
from tests.support.core import START_MS

PROGRAMS = ("p1", "p2", "p3", "p4")
JOBS = ("j1", "j2", "j3", "j4", "j5")
PERIODS = ("3h", "7h30m", "12h", "43201", "1d", "1d", "1d", "36h", "2d", "2d", "3d", "5d")
# In a fast history, about as long as its programs run. Such a history ends sooner, since it has no more occurrences.
FAST_PERIODS = (*PERIODS, "1m", "3m", "10m", "10m")
# The values of each policy. An empty value leaves the option out.
SCHED = {
    "catch_up": ("", "once", "none", "all"),
    "catch_up_within": ("", "", "90", "1h", "1d"),
    "max_running": ("", "", "1", "2", "4"),
    "history": ("", "0", "3", "50"),
    "max_jobs": ("", "", "", "30"),
}
PROGRAM = {
    "timeout": ("", "", "30", "10m", "3h"),
    "kill_after": ("", "0", "5", "2m"),
    "overlap": ("skip", "queue", "parallel", "replace"),
    "max_running": ("", "1", "1", "2"),
    "retries": ("", "", "1", "3"),
    "retry_delay": ("", "0", "60", "1h"),
    "on_interrupt": ("report", "rerun"),
    "success": ("", "( 0 3 )"),
    "on_failure": ("", "", '"run p1"', '"run p2 x"', '"sched in 60 run p3 x"', '"config set noted 2"'),
    "env": ("", "", "", '[ PACE = "%{pace}" ]'),
}
# Due at least every 40 days. The files name no simulated zone, since the appliance checks names on its machine.
CALENDARS: tuple[dict[str, str], ...] = (
    {"cron": '"30 2 * * *"'},
    {"cron": '( "30 2 * * MON-FRI" "0 0 L * *" )', "spread": "10m"},
    {"cron": '"~ 3 * * *"', "jitter": "1h", "each": "2w", "from": "2023-01-02T00:00:00Z"},
    {"calendar": '"*:0/30"', "within": '"08:00..18:00"'},
    {"calendar": '"*-*-* 02:30"', "dst_skipped": "shift", "dst_repeated": "last", "except": "off", "move": "nearest"},
    {"calendar": '"*-*-1..15 14:45"', "only": "off", "nth": "( 1 -1 )"},
    {"every": "90m", "within": '( "Mon..Fri 22:00..04:00" "Sat" )', "spread": "20m"},
    {"every": "1d", "offset": "1h", "jitter": "5m"},
    {"at": "boot"},
    {"at": "boot", "delay": "6h"},
    {"at": "boot", "delay": "3d"},
)
# What programs and jobs with `argv` take when they do not say otherwise.
DEFAULTS = ("timeout", "retries", "retry_delay", "on_failure", "env")
# Alerts of all declared jobs. No dice decide about them.
TELL = 'program "tell" { argv = ( "/bin/work" ) retries = 3 retry_delay = 60 }'
AFTER = 2
NOTIFY = f'notify "ops" {{ when = ( failed timed_out interrupted recovered ) after = {AFTER} again = 1d command = "run tell" }}'
SLOW = 'notify "slow" { when = late incidents = no command = "run tell" }'
DATES = ('"Sat..Sun"', '"Mon..Wed"', '( "Sat..Sun" "*-*-1..10" )')
JOB = {"every": PERIODS, "enabled": ("", "yes", "no")}


@dataclass(slots=True)
class Files:
    """The content of the file, by stanza."""

    sched: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    programs: dict[str, dict[str, str]] = field(default_factory=dict)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    # The days that calendars name; empty: there are no calendars.
    dates: str = ""
    has_alerts: bool = False

    def text(self) -> str:
        lines = [f"sched {{ {_body(self.sched)} }}", _body(self.options)]
        lines += [f'program "{name}" {{ {_body(body)} }}' for name, body in self.programs.items()]
        lines += [f'job "{name}" {{ {_body(body)} }}' for name, body in self.jobs.items()]
        if self.dates:
            lines.append(f"defaults {{ {_body(self.defaults)} }}")
            lines.append(f'days "off" {{ dates = {self.dates} }}')
        if self.has_alerts:
            lines += [TELL, NOTIFY, SLOW]
        return "\n".join(lines) + "\n"


def periods(dice: Dice) -> tuple[str, ...]:
    """The possible periods of a job."""
    return FAST_PERIODS if dice.fast else PERIODS


def _body(options: dict[str, str]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in options.items() if value)


def new_files(dice: Dice, has_calendars: bool = False, has_alerts: bool = False) -> Files:
    files = Files(dates=DATES[0] if has_calendars else "", has_alerts=has_alerts)
    files.sched = _drawn(dice, SCHED)
    files.options = {"pace": "1"}
    files.programs = {name: _program(dice) for name in PROGRAMS}
    files.jobs = {name: _job(dice, files) for name in dice.sample(JOBS, 4)}
    if has_calendars:
        files.defaults = _defaults(dice)
    return files


def edited(files: Files, dice: Dice) -> Files:
    """One to three changes. Each changes, adds or removes a policy, a program, a job or an option."""
    files = deepcopy(files)
    if files.dates:
        files.dates, files.defaults = dice.choice(DATES), _defaults(dice)
    for _ in range(dice.randint(1, 3)):
        what = dice.randrange(6)
        if what == 0:
            name = dice.choice(list(SCHED))
            files.sched[name] = dice.choice(SCHED[name])
        elif what == 1:
            policy = dice.choice(list(PROGRAM))
            files.programs.setdefault(dice.choice(PROGRAMS), _program(dice))[policy] = dice.choice(PROGRAM[policy])
        elif what == 2 and len(files.programs) > 1:
            del files.programs[dice.choice(list(files.programs))]
        elif what == 3:
            files.jobs[dice.choice(JOBS)] = _job(dice, files)
        elif what == 4 and files.jobs:
            del files.jobs[dice.choice(list(files.jobs))]
        elif what == 5:
            files.options = dice.choice(({}, {"pace": "1"}, {"pace": str(dice.randrange(100))}))
    return files


def without(files: Files, program: str) -> Files:
    """Removes a program, unless it is the last, and everything in the file that runs it."""
    files = deepcopy(files)
    if files.programs.keys() <= {program}:
        return files
    files.programs.pop(program, None)
    files.jobs = {name: job for name, job in files.jobs.items() if f"run {program}" not in job.get("command", "")}
    for other in (*files.programs.values(), *files.jobs.values(), files.defaults):
        if f"run {program}" in other.get("on_failure", ""):
            other["on_failure"] = ""
    return files


def with_all(files: Files, dice: Dice) -> Files:
    """Adds every removed program again."""
    files = deepcopy(files)
    for name in PROGRAMS:
        files.programs.setdefault(name, _program(dice))
    return files


def _drawn(dice: Dice, table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: dice.choice(values) for name, values in table.items()}


def _defaults(dice: Dice) -> dict[str, str]:
    return {name: value for name, value in _drawn(dice, PROGRAM).items() if name in DEFAULTS}


def _program(dice: Dice) -> dict[str, str]:
    return {"argv": '( "/bin/work" )', "args": "any", **_drawn(dice, PROGRAM)}


def _job(dice: Dice, files: Files) -> dict[str, str]:
    due: dict[str, str]
    if files.dates and dice.maybe(0.6):
        due = dice.choice(CALENDARS)
        if "cron" in due or "calendar" in due or "within" in due:
            due = {**due, "zone": dice.choice(("UTC", "local"))}
    elif dice.maybe(0.2):
        due = {"at": str(START_MS // 1000 + dice.randrange(30 * DAY // 1000))}
    else:
        due = {"every": dice.choice(periods(dice)), "offset": dice.choice(("", "", "30", "1h", "100d"))}
    if files.dates and dice.maybe(0.3):
        return {**due, **_program(dice), "args": "", "enabled": dice.choice(("", "", "", "no"))}
    program = dice.choice(list(files.programs))
    command = dice.choice(
        (f"run {program}", f"run {program}", f"run {program} x", "config set noted 1", f"sched in 90 run {program}")
    )
    return {**due, "command": f'"{command}"', "enabled": dice.choice(("", "", "", "no"))}
