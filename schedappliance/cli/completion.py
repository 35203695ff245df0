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
    local lines=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        values='SUBCOMMANDS'
    else
        case ${COMP_WORDS[1]} in
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
    cases = "\n".join(_case(name, SHORT) for name in SUBCOMMANDS)
    print(SCRIPT.replace("SUBCOMMANDS", " ".join(SUBCOMMANDS)).replace("CASES", cases), end="")
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


def _case(name: str, short: Mapping[str, str]) -> str:
    """What may follow a subcommand, as a branch of `case`."""
    if name in short:
        console = import_module("schedappliance.cli.console")
        described = parser_of(lambda words: console.parse(words, name, short[name].split()))
    else:
        described = parser_of(import_module(f"schedappliance.cli.{name}").parse)
    actions = list(_actions(described))
    lines = [f"'{short[name]} '"] if name in short else [TYPED] if name == "console" else []
    values: list[str] = []
    # What may follow an option, and the options that it may follow. After most of them the shell completes a file.
    after_options: dict[str, list[str]] = {}
    for action in actions:
        choices = " ".join(map(str, action.choices or ()))
        if not action.option_strings:
            lines += _lines_of(action)
            values += choices.split()
        elif action.nargs != 0:
            settings = f"options= values='{choices}' lines=({' '.join(_lines_of(action))})"
            after_options.setdefault(settings, []).extend(action.option_strings)
    options = " ".join(dict.fromkeys(option for action in actions for option in action.option_strings))
    text = f"{name}) options='{options}' values='{' '.join(values)}' lines=({' '.join(lines)})"
    branches = "".join(
        f"\n                {'|'.join(dict.fromkeys(names))}) {settings} ;;"
        for settings, names in after_options.items()
    )
    more = f"\n            case $previous in{branches}\n            esac" if branches else ""
    return f"        {text}{more} ;;"


def _lines_of(action: argparse.Action) -> list[str]:
    """The console lines that are followed by the values of an argument, by its name in the help."""
    names = set(str(action.metavar).split("|")) | set(action.option_strings)
    return [f"'{line}'" for line, name in ((JOBS, {"JOB", "--job"}), (PROGRAMS, {"PROGRAM"})) if names & name]


def _actions(described: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser, and of the parsers below it."""
    for action in described._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
