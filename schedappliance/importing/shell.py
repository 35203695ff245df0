"""What a shell command of a crontab runs: a name for it, its arguments if it needs no shell, and tips.

Rule: nothing is executed. A name or a tip that does not fit does no harm: the command itself stays word for word.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import PurePosixPath

from schedappliance.model.calendars.cron_fields import WEEKDAY
from schedappliance.model.values import duration_text

# The kernel takes no longer argument (MAX_ARG_STRLEN, with the NUL byte behind it).
LONGEST_ARGUMENT = 128 * 1024 - 1

# Names and tips come from the beginning of a command: a longer one would take seconds.
_LONGEST_LOOK = 2000

# Words that the simple shells leave as they are. `~`, `*`, `{`, `$`, `#` and others are not among them.
_PLAIN = re.compile(r"""(?:[A-Za-z0-9_./:=,@+%-]|'[^'\n]*'|"[^"$`\\\n]*")++""")
_PLAIN_COMMAND = re.compile(rf"/{_PLAIN.pattern}(?:[ \t]+{_PLAIN.pattern})*+", re.ASCII)
_SIMPLE_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "mksh", "ash"})

_SUBSTITUTION = re.compile(r"\$\(\([^()]*\)\)|\$\([^()]*\)|`[^`]*`")
_OPERATOR = re.compile(r"[;&|()<>\n]+")
_OPERATORS = re.compile(r"[<>]+[&|]?|&>>?|&&|\|\||[;&|()\n]")
_SEPARATORS = frozenset({"&&", "||", ";", "&", "|", "(", "\n"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_KEYWORDS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "time", "exec"})
_OPENING = frozenset({"if", "case", "while", "until", "for", "{"})
_INNER = frozenset({"then", "else", "elif", "do", "!"})
_CLOSING = frozenset({"fi", "esac", "done", "}"})
# Commands whose exit status is an answer. The shells disagree whether `command -v` says 1 or 127.
_TEST = re.compile(r"\[\[?|test|command|which|type|hash|[ef]?grep|pgrep")
# Commands that prepare others, or that say nothing about a job.
_PREPARING = re.compile(
    r"cd|command|test|\[\[?|export|set|umask|sleep|true|:|source|\.|for|mkdir|echo|printf|unset|exit|fi|done|touch"
)
# They run another program, after options and values.
_RUNNERS = re.compile(
    r"nice|ionice|nohup|env|sudo|doas|timeout|flock|chronic|cronic|setsid|chrt|su|runuser|systemd-cat|stdbuf|lckdo|setlock"
    r"|choom|taskset|torsocks|run-one|systemd-inhibit"
)
_INTERPRETER = re.compile(r"(?:ba|da|k|z|a)?sh|perl|python[\d.]*|php[\d.]*|ruby[\d.]*|node|nodejs|Rscript|tclsh|lua")
_SUFFIXES = frozenset({".sh", ".bash", ".py", ".pl", ".php", ".rb", ".js", ".cron"})
_LOCKERS = frozenset({"flock", "lckdo", "setlock"})
# As in `sudo -u NAME`, `timeout -s KILL` and `systemd-cat -t NAME`.
_OPTION_WITH_WORD = re.compile(r"-[ugstU]")
# Names that say nothing without their directory.
_COMMON_NAMES = frozenset({"cron", "run", "main", "index", "start", "job", "script"})
_VALUE = re.compile(r"-.*|[\d.]+[smhd]?|.*=.*")


def plain_argv(command: str, shell: str) -> list[str] | None:
    """The arguments of a command that means the same without a shell; None if it needs one."""
    command = command.strip(" \t")
    if PurePosixPath(shell).name not in _SIMPLE_SHELLS or not _PLAIN_COMMAND.fullmatch(command):
        return None
    return shlex.split(command)


def name_of(command: str) -> str:
    """A readable name for a command: usually that of the program or script that it runs."""
    commands = _simple_commands(command[:_LONGEST_LOOK])
    for words in commands:
        if words and not _is_preparing(words):
            return _name(words) or "job"
    first = next((words[0] for words in commands if words), "job")
    return PurePosixPath(first).name or "job"


def _is_preparing(words: list[str]) -> bool:
    is_sleep = any(" " in word and "sleep" in word for word in words)
    return bool(_PREPARING.fullmatch(PurePosixPath(words[0]).name)) or is_sleep


def _simple_commands(command: str) -> list[list[str]]:
    """The words of each simple command, without what stands before its program."""
    commands: list[list[str]] = [[]]
    is_target = False
    for word in _words(command):
        if _OPERATOR.fullmatch(word):
            is_target = word[-1] in "<>" or word.endswith((">&", ">|"))
            if not is_target:
                commands.append([])
        elif not is_target:
            commands[-1].append(word)
        else:
            is_target = False
    return [_without_runners(words) for words in commands]


def _words(command: str) -> list[str]:
    """The words and operators of a command, without the commands that it substitutes: it is not about them."""
    while (shorter := _SUBSTITUTION.sub("", command)) != command:
        command = shorter
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:
        # A quote that is not closed.
        return command.split()


def guard(command: str) -> list[str]:
    """A note if the exit status can be that of a test before `&&` which does not hold: cron ignores it."""
    depth, is_start = 0, True
    first, tests = "", set[str]()
    for word in _words(command[:_LONGEST_LOOK].rstrip(" \t;")):
        for part in _OPERATORS.findall(word) if _OPERATOR.fullmatch(word) else (word,):
            if is_start and word != "!":
                first = first if depth else PurePosixPath(part).name
                depth += (part in _OPENING) - (part in _CLOSING)
            depth += (part == "(") - (part == ")")
            is_start = part in _SEPARATORS or (is_start and (part in _OPENING | _INNER))
            if not depth and part in _SEPARATORS:
                tests = tests | {first} if part == "&&" else tests if part in ("|", "(") else set()
    tests = {name for name in tests if _TEST.fullmatch(name)}
    if not tests:
        return []
    statuses = "1 127" if tests & {"command", "type", "hash"} else "1"
    return [
        "a run in which the test before `&&` does not hold fails; cron ignores such a failure."
        f" `success = ( 0 {statuses} )` makes it a success, even if another command ends with this status"
    ]


def _without_runners(words: list[str]) -> list[str]:
    index = 0
    while index < len(words):
        word = words[index]
        name = PurePosixPath(word).name
        if _ASSIGNMENT.match(word) or word in _KEYWORDS:
            index += 1
        elif _RUNNERS.fullmatch(name):
            if text := _text_of_option(words[index:], name):
                return next((inner for inner in _simple_commands(text) if inner and not _is_preparing(inner)), [])
            index = _after_runner(words, index, name)
        else:
            break
    return words[index:]


def _text_of_option(words: list[str], name: str) -> str:
    """The command text in `su user -c "text"` and `flock file -c "text"`; empty if there is none, as in `ionice -c 3`."""
    texts = (text for option, text in pairwise(words) if option in ("-c", "--command"))
    return next((text for text in texts if " " in text or name in ("su", "runuser")), "")


def _after_runner(words: list[str], index: int, name: str) -> int:
    """The index of the word that a runner runs, as far as options and values can be told from it."""
    index += 1
    while index < len(words):
        word = words[index]
        if _OPTION_WITH_WORD.fullmatch(word) and name not in _LOCKERS:
            index += 2
        elif _VALUE.fullmatch(word):
            index += 1
        elif name in _LOCKERS:
            # The lock file.
            name, index = "", index + 1
        else:
            break
    return index


def _name(words: list[str]) -> str:
    path = PurePosixPath(words[0])
    arguments = [word for word in words[1:] if not word.startswith("-")]
    if path.name == "run-parts" and arguments:
        return PurePosixPath(arguments[-1]).name
    if _INTERPRETER.fullmatch(path.name):
        if "-c" in words[:-1] and path.name.endswith("sh"):
            return name_of(words[words.index("-c") + 1])
        if "-m" in words[:-1]:
            return words[words.index("-m") + 1]
        # A word with blanks is a program text, as after `perl -e`.
        scripts = [word for word in arguments if not re.search(r"[\s;(]", word)]
        if scripts:
            path = PurePosixPath(scripts[0])
    name = path.stem if path.suffix in _SUFFIXES else path.name
    return f"{path.parent.name}-{name}" if name in _COMMON_NAMES and path.parent.name else name


_RANDOM_SLEEP = re.compile(
    r"\bsleep\b.*?\b(?:RANDOM|rand|random|shuf|jot)\b|\b(?:RANDOM|rand|random|shuf)\b.*?\bsleep\b", re.S
)
_MOST_SECONDS = re.compile(
    r"\bRANDOM\s*\}?\s*%\s*(\d{1,6})|\brand[\s(]*(\d{1,6})|\brandom\(\)\s*\*\s*(\d{1,6})|\bshuf\b[^;|&)]*?-i\s*\d+-(\d{1,6})"
)
_MINUTES = re.compile(r"\bsleep\b[^;&|]*(?:\*\s*60|[)}]m\b)")
_FIRST_SLEEP = re.compile(r"\s*(?:/usr)?(?:/bin/)?sleep\s+(\d{1,6})\s*(?:;|&&)")
_DAY_OF_MONTH = re.compile(r"\bdate\s+[\"']?\+[\"']?%-?[de]\b")
_DAY_LIMIT = re.compile(r"-(le|lt|ge|gt)\s+[\"']?0?(\d{1,2})\b")
_TOMORROW = re.compile(r"\bdate\b[^;|&)`]*(?:tomorrow|\+ ?1 ?day|next day)", re.I)
_WEEK = re.compile(r"\bdate\s+[\"']?\+[\"']?%-?[VWU]\b|\b604800\b")
_WEEKDAY = re.compile(r"\bdate\s+[\"']?\+[\"']?%[uwaA]\b[^;&|]*?(?:-eq|==?)\s+[\"']?(\w{1,3})")
# A command that runs also, or only, if the test does not hold.
_OTHERWISE = re.compile(r"\|\||!|\s-o\s|\belse\b")
_NTH_DAYS = {"1-7": 1, "8-14": 2, "15-21": 3, "22-28": 4}
_NTH = {(0, 7): 1, (1, 7): 1, (8, 14): 2, (15, 21): 3, (22, 28): 4}


def random_sleep(command: str) -> str | None:
    """A tip for a command that sleeps for a random time."""
    command = command[:_LONGEST_LOOK]
    if not _RANDOM_SLEEP.search(command):
        return None
    match = _MOST_SECONDS.search(command)
    seconds = int(next(filter(None, match.groups()))) if match else 0
    if seconds and _MINUTES.search(command):
        seconds *= 60
    option = f"jitter = {duration_text(seconds * 1000)}" if seconds else "jitter"
    return f"`{option}` in place of the `sleep` lets `preview` and `history` show the real times"


def first_sleep(command: str) -> str | None:
    """The seconds that a command sleeps before all else."""
    match = _FIRST_SLEEP.match(command)
    return match.group(1) if match else None


def date_test(command: str, fields: list[str]) -> str | None:
    """A tip for a command that tests the date itself. `fields`: those of the cron expression."""
    command = command[:_LONGEST_LOOK]
    is_condition = not _OTHERWISE.search(command)
    schedule = "then `preview` and `history` show only the days on which it runs"
    if _TOMORROW.search(command):
        last_day = " ".join([*fields[:2], "L", fields[3], "*"])
        return f'if the test asks for the last day of the month, `cron = "{last_day}"` says so; {schedule}'
    if _DAY_OF_MONTH.search(command):
        limits = {"low": 0, "high": 31}
        for operator, number in _DAY_LIMIT.findall(command):
            day = int(number) + {"lt": -1, "gt": 1}.get(operator, 0)
            limits["high" if operator[0] == "l" else "low"] = day
        nth = _NTH.get((limits["low"], limits["high"]))
        if is_condition and nth and fields[2] == "*" and re.fullmatch(r"\w+", fields[4]):
            expression = " ".join([*fields[:4], f"{_weekday(fields[4])}#{nth}"])
            return f'`cron = "{expression}"` in place of the test of the date says the same; {schedule}'
        return f"`cron` can say which day of the month, such as `L`, `MON#1` or `+MON`; {schedule}"
    match = _WEEKDAY.search(command) if is_condition and fields[4] == "*" else None
    if match and (weekday := _weekday(match[1])) in WEEKDAY.names:
        hour, (days, month), nth = " ".join(fields[:2]), fields[2:4], _NTH_DAYS.get(fields[2])
        plus = "" if days == "*" else "+"
        expression = f"{hour} * {month} {weekday}#{nth}" if nth else f"{hour} {days} {month} {plus}{weekday}"
        return f'`cron = "{expression}"` in place of the test of the day of the week says the same; {schedule}'
    if _WEEK.search(command):
        return f"`each = 2w` and `from` in place of the test of the week mean every second week; {schedule}"
    return None


def _weekday(text: str) -> str:
    """The name of a day of the week that is written as a number or as a name."""
    return WEEKDAY.names[int(text) % 7] if re.fullmatch(r"[0-7]", text) else text.upper()
