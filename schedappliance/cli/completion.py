"""`schedappliance completion`: a script that lets a shell complete subcommands, options, and names of jobs and programs.

Rule: the script is made from the parsers of the subcommands. It asks an appliance only for what may follow in a console
line, and shows nothing if none answers.
"""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from schedappliance.cli.appliance_file import add_config, add_endpoint, endpoint_of
from schedappliance.cli.arguments import parser, parser_of
from schedappliance.cli.errors import OK, USAGE

DESCRIPTION = """\
Print a script that lets a shell complete the subcommands, their options, and
the names of jobs and programs. Put this into ~/.bashrc:
  source <(schedappliance completion bash)
or this into ~/.zshrc, after compinit:
  source <(schedappliance completion zsh)"""

STATUSES = {OK: "printed", USAGE: "wrong usage"}
SHELLS = ("bash", "zsh")
# Console lines after which the names of jobs and of programs follow.
JOBS, PROGRAMS = "sched show ", "run "
# A word that a shell takes as it is.
_PLAIN = re.compile(r"[\w.,@%+:/=-]+")

SCRIPT = """\
_schedappliance() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} options= values= line IFS=$' \\t\\n'
    local lines=() path=${COMP_WORDS[1]} number
    if [ "$COMP_CWORD" -eq 1 ]; then
        values='SUBCOMMANDS'
    else
        for ((number = 2; number < COMP_CWORD; number++)); do
            case "$path ${COMP_WORDS[number]}" in
                ACTIONS) path="$path ${COMP_WORDS[number]}" ;;
            esac
        done
        case $path in
CASES
        esac
    fi
    if [ "${word#-}" != "$word" ]; then
        values=$options
    else
        for line in "${lines[@]}"; do
            values="$values $(schedappliance completion --after "$line" 2>/dev/null)"
        done
    fi
    COMPREPLY=($(compgen -W "$values" -- "$word"))
}
complete -o default -F _schedappliance schedappliance
"""
# The words after the subcommand and before the cursor.
TYPED = '"${COMP_WORDS[*]:2:$((COMP_CWORD - 2))} "'


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    completion = parser("completion", DESCRIPTION, STATUSES)
    add_config(completion)
    add_endpoint(completion)
    either = completion.add_mutually_exclusive_group(required=True)
    either.add_argument("shell", metavar="SHELL", nargs="?", choices=SHELLS, help=" or ".join(SHELLS))
    either.add_argument(
        "--after", metavar="TEXT", help="print the words that may follow TEXT in a console line instead"
    )
    return completion.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    if options.after is not None:
        print("\n".join(_following(options)))
        return OK
    from schedappliance.cli.main import SHORT, SUBCOMMANDS

    if options.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    cases = dict(case for name in SUBCOMMANDS for case in _cases_of(name, SHORT))
    script = SCRIPT.replace("SUBCOMMANDS", " ".join(SUBCOMMANDS)).replace("CASES", "\n".join(cases.values()))
    print(script.replace("ACTIONS", "|".join(f"'{path}'" for path in cases if " " in path)), end="")
    return OK


def _following(options: argparse.Namespace) -> list[str]:
    """What may follow in a console line; nothing if no appliance answers, or none is configured."""
    from schedappliance.cli.prompt import Completion
    from schedappliance.client.console import Session
    from schedappliance.diagnostics import Unusable

    try:
        endpoint = endpoint_of(options)
    except Unusable:
        return []
    with contextlib.closing(Session(endpoint)) as session:
        return [word for word in Completion(session).words(options.after) if _PLAIN.fullmatch(word)]


def _cases_of(name: str, short: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What may follow a subcommand and each of its actions. Each is a branch of `case`, by the words before it."""
    if name in short:
        console = import_module("schedappliance.cli.console")
        described = parser_of(lambda words: console.parse(words, name, short[name].split()))
    else:
        described = parser_of(import_module(f"schedappliance.cli.{name}").parse)
    lines = [f"'{short[name]} '"] if name in short else [TYPED] if name == "console" else []
    yield from _cases(name, described._actions, lines)


def _cases(path: str, arguments: list[argparse.Action], lines: list[str]) -> Iterator[tuple[str, str]]:
    """`lines`: the console lines that come before what follows the path."""
    yield path, _case(path, arguments, lines)
    for argument in arguments:
        if argument.option_strings or not argument.choices:
            continue
        for choice in argument.choices:
            if isinstance(argument, argparse._SubParsersAction):
                following = argument.choices[choice]._actions
            else:
                following = [other for other in arguments if other is not argument]
            yield from _cases(f"{path} {choice}", following, lines)


def _case(path: str, arguments: list[argparse.Action], lines: list[str]) -> str:
    values: list[str] = []
    # What may follow an option, and the options that it may follow. After most of them the shell completes a file.
    after_options: dict[str, list[str]] = {}
    for argument in arguments:
        choices = " ".join(map(str, argument.choices or ()))
        if not argument.option_strings:
            lines = lines + _lines_of(argument)
            values += choices.split()
        elif argument.nargs != 0:
            settings = f"options= values='{choices}' lines=({' '.join(_lines_of(argument))})"
            after_options.setdefault(settings, []).extend(argument.option_strings)
    options = " ".join(dict.fromkeys(option for argument in arguments for option in argument.option_strings))
    text = f"'{path}') options='{options}' values='{' '.join(values)}' lines=({' '.join(lines)})"
    branches = "".join(
        f"\n                {'|'.join(dict.fromkeys(names))}) {settings} ;;"
        for settings, names in after_options.items()
    )
    more = f"\n            case $previous in{branches}\n            esac" if branches else ""
    return f"        {text}{more} ;;"


def _lines_of(argument: argparse.Action) -> list[str]:
    """The console lines that are followed by the values of an argument, by its name in the help."""
    names = set(str(argument.metavar).split("|")) | set(argument.option_strings)
    return [f"'{line}'" for line, name in ((JOBS, {"JOB", "--job"}), (PROGRAMS, {"PROGRAM"})) if names & name]
