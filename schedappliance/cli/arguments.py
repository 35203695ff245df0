"""What the command line takes: the subcommands with their options and help. Law: it imports what reads a value, when it is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from schedappliance import __version__

CONFIG_VARIABLE = "SCHEDAPPLIANCE_CONFIG"
DEFAULT_CONFIGS = ("etc/appliance.yaml", "/etc/schedappliance/appliance.yaml")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="schedappliance", description="A scheduler that an operator deploys by writing files and then forgets."
    )
    top.add_argument("--version", action="version", version=f"schedappliance {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_console(commands)
    _add_submit(commands)
    _add_lint(commands)
    _add_preview(commands)
    _add_doctor(commands)
    _add_store(commands)
    _add_explain(commands)
    _add_schema(commands)
    return top


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="run the appliance in the foreground",
        description="Runs the appliance in the foreground. SIGHUP reads the stanza files again, SIGTERM stops it. "
        "Exit status: 0 stopped in order; 78 bad configuration, store or socket.",
    )
    _add_config(serve)
    serve.add_argument(
        "--last-good",
        metavar="STORE",
        nargs="?",
        const="",
        help="when the stanza files are bad, start from those that were active last, as the store keeps them; STORE: "
        "where it is, if the files do not say it any more",
    )
    serve.set_defaults(command="serve")


def _add_console(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    console = commands.add_parser(
        "console",
        help="give the appliance a command, or a prompt",
        description="Gives the appliance one command, the lines of stdin, or shows a prompt. `console help` lists the "
        "commands. Exit status: 0 well; 1 a command failed; 69 no appliance answers.",
    )
    _add_config(console)
    console.add_argument("--endpoint", metavar="SOCKET", type=Path, help="the console's socket, instead of --config")
    console.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="for example: sched list")
    console.set_defaults(command="console")


def _add_submit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    submit = commands.add_parser(
        "submit",
        help="put a command file into the spool",
        description="Puts a file of commands into the spool, also while the appliance is down, and prints the name under "
        "which it is queued; with --wait the answer. Exit status: 0 queued, with --wait accepted; 1 rejected; 2 usage; "
        "75 still queued after --timeout; 78 no spool, or none you may write to; 130 interrupted, and still queued.",
    )
    _add_config(submit)
    submit.add_argument("--spool", metavar="DIR", type=Path, help="the spool directory, instead of --config")
    submit.add_argument("--check", action="store_true", help="queue nothing when lint finds an error in the file alone")
    submit.add_argument("--wait", action="store_true", help="wait for the answer; print outputs, or what is wrong")
    submit.add_argument(
        "--timeout", metavar="DURATION", type=_duration, help="wait no longer: 0, 30, 15m; default: no limit"
    )
    submit.add_argument("--name", type=_drop_name, help="what the queued name begins with; default: the file's name")
    submit.add_argument("--format", choices=("full", "json"), default="full", help="default: full")
    submit.add_argument("file", metavar="FILE", help="a file of commands, or - for stdin")
    submit.set_defaults(command="submit")


def _add_lint(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = commands.add_parser(
        "lint",
        help="find the mistakes in files before they run",
        description="Checks stanza files, command files (.cmd) and appliance.yaml; a directory means its *.conf, *.cmd "
        "and appliance.yaml. Exit status: 0 no error (with --strict: no warning either); 1 findings; 2 usage, or a file "
        "that cannot be read.",
    )
    lint.add_argument("paths", metavar="PATH", nargs="+", help="a file, a directory, or - for stdin")
    lint.add_argument("--config", metavar="FILE", type=Path, help="the appliance file that references are judged from")
    lint.add_argument("--format", choices=("full", "concise", "json", "github"), default="full", help="default: full")
    lint.add_argument("--strict", action="store_true", help="a warning is a finding too")
    lint.add_argument("--stdin-filename", metavar="FILE", type=Path, help="the file that `-` stands for")
    lint.set_defaults(command="lint")


def _add_preview(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    preview = commands.add_parser(
        "preview",
        help="what would run, and when",
        description="Shows what would run, when, and what would not, from the files and the store as they are: the "
        "appliance's own engine on a moved clock. It changes nothing, and the appliance may run meanwhile. A program "
        "is taken to succeed, and to run as long as its job's last runs did. Exit status: 0 well; 78 bad configuration "
        "or store.",
    )
    _add_config(preview)
    preview.add_argument(
        "--for",
        dest="period",
        metavar="DURATION",
        type=_period,
        default="24h",
        help="how far: 90, 15m, 2h30m, 1d; default: 24h",
    )
    preview.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    preview.add_argument(
        "--limit", metavar="N", type=_count, default=1000, help="how many rows are shown, 0 for all; default: 1000"
    )
    preview.set_defaults(command="preview")


def _period(text: str) -> int:
    from schedappliance.model.values import positive_duration

    return _fit(positive_duration, text)


def _duration(text: str) -> int:
    from schedappliance.model.values import duration

    return _fit(duration, text)


def _drop_name(text: str) -> str:
    from schedappliance.client.drop import LONGEST_BASE, base_of

    if base_of(text) != text.removesuffix(".cmd"):
        help = f"use letters, digits, `.`, `_`, `-`, first a letter or digit, at most {LONGEST_BASE}"
        raise argparse.ArgumentTypeError(f"`{text}` is no name for a drop; {help}")
    return text


def _count(text: str) -> int:
    from schedappliance.model.values import integer

    return _fit(lambda number: integer(number, 0, 10**12), text)


def _fit(read: Callable[[str], int], text: str) -> int:
    """A value as the languages write it; argparse says the rest."""
    from schedappliance.model.values import Unfit

    try:
        return read(text)
    except Unfit as unfit:
        raise argparse.ArgumentTypeError(f"{unfit.message}; {unfit.help}") from None


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="find what is wrong with the machine and the places",
        description="Looks at the machine, the files, the store, the spool and the socket, also while the appliance "
        "runs, and prints one line for each thing that is wrong, with the remedy. It changes nothing. Run it as the "
        "appliance's user or as root. Exit status: 0 all is well; 1 something is wrong; 78 the configuration cannot "
        "be read.",
    )
    _add_config(doctor)
    doctor.add_argument("--format", choices=("full", "json"), default="full", help="default: full")
    doctor.set_defaults(command="doctor")


def _add_store(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    store = commands.add_parser(
        "store",
        help="check the store, or back it up while the appliance runs",
        description="Checks the store or copies it, also while the appliance runs; neither changes it. Exit status: "
        "0 well; 1 damaged; 78 there is no store, or it cannot be read or copied.",
    )
    actions = store.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="SQLite's integrity check")
    backup = actions.add_parser("backup", help="copy the store to a new file")
    backup.add_argument("target", metavar="FILE", type=Path)
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a store, or a backup; default: the store in use"
    )
    for parser, command in ((check, "store_check"), (backup, "store_backup")):
        _add_config(parser)
        parser.set_defaults(command=command)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser("explain", help="what a code of the linter means, with examples")
    explain.add_argument("code", metavar="CODE", nargs="?", help="for example E202; without it all are listed")
    explain.set_defaults(command="explain")


def _add_schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    schema = commands.add_parser("schema", help="print the JSON Schema of appliance.yaml, for editors")
    schema.set_defaults(command="schema")


def _add_config(parser: argparse.ArgumentParser) -> None:
    listed = ", ".join((f"${CONFIG_VARIABLE}", *DEFAULT_CONFIGS))
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help=f"the appliance file; default: the first that exists of {listed}"
    )
