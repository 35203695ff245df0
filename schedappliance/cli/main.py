"""The entry point of `schedappliance`: runs the subcommand that the first argument names.

Rule: a subcommand imports what it needs and nothing else, so that short commands start fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from schedappliance import __version__
from schedappliance.cli.errors import FAILED, INTERRUPTED, exit_status, print_error
from schedappliance.cli.streams import OutputFailed, discard_output, prepare_streams, use_utf8_mode

DESCRIPTION = "A job scheduler for Linux servers that runs each job on time and exactly once."
# Console commands that are subcommands too. Their arguments are those of the console command.
SHORT = {
    "why": "sched why",
    "stop": "sched stop",
    "pause": "sched pause",
    "resume": "sched resume",
    "next": "sched next",
    "hold": "sched hold",
    "release": "sched release",
}
# Each other is a module of this package: `parse` reads its arguments, `run` does its work and returns the exit status.
SUBCOMMANDS = {
    "init": "write the files of a new appliance",
    "serve": "run the appliance in the foreground",
    "console": "send a command to the appliance, or open a prompt",
    "status": "show what is wrong, what runs, what failed and what is next",
    "jobs": "show the jobs, with the end of their last runs",
    "runs": "show the last runs",
    "timeline": "show what ran and what will run, a lane for each job",
    "top": "show the same as `status`, and keep it up to date",
    "logs": "print the output of a run, and follow it",
    "run": "start a run of a job or a program now",
    **{name: f"short for `console {command} ...`" for name, command in SHORT.items()},
    "health": "tell by the exit status whether the appliance is well",
    "metrics": "print the metrics for Prometheus",
    "web": "serve the page that shows the appliance in a browser",
    "submit": "put a command file into the spool",
    "lint": "find mistakes in files before they take effect",
    "notify": "deliver an alert by mail, to a webhook or as a ping",
    "import": "print stanzas for crontabs, systemd timers and at jobs",
    "preview": "show which jobs would run, and when",
    "when": "show when a cron or calendar expression is due",
    "holidays": "print the public holidays of a country as a stanza",
    "doctor": "find problems of the machine, the paths and their permissions",
    "paths": "print the paths of all files of the appliance",
    "store": "check the store, or back it up while the appliance runs",
    "explain": "explain a diagnostic code, with examples",
    "completion": "print a script for the completion of bash or zsh",
    "schema": "print the JSON Schema of appliance.yaml, for editors",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `schedappliance ARGUMENTS` and returns its exit status; wrong usage raises SystemExit with status 2.

    `arguments` None: those of the process, which may have to be started again first.
    """
    if arguments is None:
        use_utf8_mode()
    words = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    try:
        try:
            return _run(words)
        finally:
            # Also after SystemExit, by which argparse ends a help: Python would report an error of the output as a bug.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputFailed as error:
        print_error(f"cannot write the output: {error.strerror}")
        discard_output()
        return FAILED
    except Exception as error:
        return exit_status(error)


def _run(words: list[str]) -> int:
    if not words or words[0] not in SUBCOMMANDS:
        _print_overview(words)
    name, *arguments = words
    if name in SHORT:
        console = import_module("schedappliance.cli.console")
        return int(console.run(console.parse(arguments, name, SHORT[name].split())))
    subcommand = import_module(f"schedappliance.cli.{name}")
    return int(subcommand.run(subcommand.parse(arguments)))


def _print_overview(words: list[str]) -> None:
    """The help, the version or a usage error; it always raises SystemExit."""
    parser = argparse.ArgumentParser(
        prog="schedappliance",
        description=DESCRIPTION,
        epilog="`schedappliance COMMAND --help` describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"schedappliance {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in SUBCOMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    parser.parse_known_args(words)
    parser.error("the first argument must be a command")


if __name__ == "__main__":
    sys.exit(main())
