"""The command line. Law: a subcommand imports what it needs and nothing else, so that one-shot commands start fast."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance import __version__

if TYPE_CHECKING:
    from schedappliance.model.appliance_file import ApplianceFile

OK, USAGE, BAD_CONFIGURATION = 0, 2, 78

CONFIG_VARIABLE = "SCHEDAPPLIANCE_CONFIG"
DEFAULT_CONFIGS = ("etc/appliance.yaml", "/etc/schedappliance/appliance.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and (options.command is not _lint or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        # Paths may stand before and after options.
        options.paths += rest
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that is no text must not end the report of it.
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    try:
        status = int(options.command(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has gone, as in `... | head`: nothing is wrong.
        sys.stderr.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        print(f"error: cannot write the output: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="schedappliance", description="A scheduler that an operator deploys by writing files and then forgets."
    )
    parser.add_argument("--version", action="version", version=f"schedappliance {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_console(commands)
    _add_submit(commands)
    _add_lint(commands)
    _add_preview(commands)
    _add_doctor(commands)
    _add_store(commands)
    _add_explain(commands)
    _add_schema(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="run the appliance in the foreground",
        description="Runs the appliance in the foreground. SIGHUP reads the stanza files again, SIGTERM stops it. "
        "Exit status: 0 stopped in order; 78 bad configuration, store or socket.",
    )
    _add_config(serve)
    serve.set_defaults(command=_serve)


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
    console.set_defaults(command=_console)


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
    submit.set_defaults(command=_submit)


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
    lint.set_defaults(command=_lint)


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
    preview.set_defaults(command=_preview)


def _period(text: str) -> int:
    from schedappliance.model.values import positive_duration

    return _fit(positive_duration, text)


def _duration(text: str) -> int:
    from schedappliance.model.values import duration

    return _fit(duration, text)


def _drop_name(text: str) -> str:
    from schedappliance.edge.dropping import LONGEST_BASE, base_of

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
    doctor.set_defaults(command=_doctor)


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
    for parser, command in ((check, _store_check), (backup, _store_backup)):
        _add_config(parser)
        parser.set_defaults(command=command)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser("explain", help="what a code of the linter means, with examples")
    explain.add_argument("code", metavar="CODE", nargs="?", help="for example E202; without it all are listed")
    explain.set_defaults(command=_explain)


def _add_schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    schema = commands.add_parser("schema", help="print the JSON Schema of appliance.yaml, for editors")
    schema.set_defaults(command=_schema)


def _add_config(parser: argparse.ArgumentParser) -> None:
    listed = ", ".join((f"${CONFIG_VARIABLE}", *DEFAULT_CONFIGS))
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help=f"the appliance file; default: the first that exists of {listed}"
    )


def _config(options: argparse.Namespace) -> Path | None:
    """The appliance file, or None after saying that there is none."""
    if options.config:
        return Path(options.config)
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    for name in DEFAULT_CONFIGS:
        if Path(name).exists():
            return Path(name)
    print(f"error: no appliance file: give --config FILE, or create {DEFAULT_CONFIGS[0]}", file=sys.stderr)
    return None


def _serve(options: argparse.Namespace) -> int:
    config = _config(options)
    if config is None:
        return BAD_CONFIGURATION
    import signal

    # While the parts are loaded nothing runs yet: a reload is not lost on anything, a stop is a stop in order.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(OK))
    from schedappliance.appliance import serve

    return serve(config)


def _console(options: argparse.Namespace) -> int:
    endpoint = options.endpoint or _endpoint(options)
    if endpoint is None:
        return BAD_CONFIGURATION
    from schedappliance.edge import client

    if options.words:
        line = client.line_of(options.words)
        if line.lower().split() in (["config", "begin"], ["config", "commit"], ["config", "rollback"]):
            help = "the connection ends with the command; use the prompt, or send the lines through a pipe"
            print(f"error: a transaction belongs to one connection: {help}", file=sys.stderr)
            return client.FAILED
        return client.run(endpoint, [line], sys.stdout, sys.stderr)
    if sys.stdin.isatty():
        return client.prompt(endpoint)
    lines = (line.rstrip("\n") for line in sys.stdin)
    return client.run(endpoint, (line for line in lines if line.strip()), sys.stdout, sys.stderr)


def _endpoint(options: argparse.Namespace) -> Path | None:
    file = _appliance_file(options)
    if file is not None and file.listen is None:
        print(f"error: {file.path} has no `console.listen`; give --endpoint SOCKET", file=sys.stderr)
    return file.listen if file else None


def _appliance_file(options: argparse.Namespace) -> ApplianceFile | None:
    """What the appliance file says, or None after saying why it cannot be read."""
    config = _config(options)
    if config is None:
        return None
    from schedappliance.model.appliance_file import read_appliance_file

    file, diagnostics = read_appliance_file(config)
    if file is None:
        from schedappliance import report
        from schedappliance.diagnostics import in_order

        print(report.full(in_order(diagnostics)), file=sys.stderr, end="")
    return file


def _submit(options: argparse.Namespace) -> int:
    if options.timeout is not None and not options.wait:
        print("error: --timeout goes with --wait", file=sys.stderr)
        return USAGE
    spool = options.spool
    if spool is None:
        file = _appliance_file(options)
        if file is not None and file.spool is None:
            print(f"error: {file.path} has no `spool.path`; give --spool DIR", file=sys.stderr)
        spool = file.spool if file else None
    if spool is None:
        return BAD_CONFIGURATION
    from schedappliance.edge import submit

    return submit.run(options, spool)


def _lint(options: argparse.Namespace) -> int:
    from schedappliance import linting

    return linting.run(options)


def _preview(options: argparse.Namespace) -> int:
    config = _config(options)
    if config is None:
        return BAD_CONFIGURATION
    from schedappliance.preview import command

    return command.run(config, options.period, options.limit, options.format)


def _doctor(options: argparse.Namespace) -> int:
    config = _config(options)
    if config is None:
        return BAD_CONFIGURATION
    from schedappliance import examination

    return examination.run(config, options.format)


def _store_path(options: argparse.Namespace) -> Path | None:
    """The backing store that the configuration names, or None after saying why there is none."""
    file = _appliance_file(options)
    if file is None:
        return None
    from schedappliance.store import command

    return command.store_of(file)


def _store_check(options: argparse.Namespace) -> int:
    path = options.file or _store_path(options)
    if path is None:
        return BAD_CONFIGURATION
    from schedappliance.store import command

    return command.check(path)


def _store_backup(options: argparse.Namespace) -> int:
    path = _store_path(options)
    if path is None:
        return BAD_CONFIGURATION
    from schedappliance.store import command

    return command.backup(path, options.target)


def _explain(options: argparse.Namespace) -> int:
    from schedappliance import explanations
    from schedappliance.diagnostics import CODES, did_you_mean

    if not options.code:
        sys.stdout.write("".join(f"{code}  {title}\n" for code, title in CODES.items()))
        return OK
    code = options.code.upper()
    if code not in CODES:
        print(f"error: no code {options.code}; {did_you_mean(code, CODES, '`explain` lists all')}", file=sys.stderr)
        return USAGE
    sys.stdout.write(explanations.page(code))
    return OK


def _schema(_options: argparse.Namespace) -> int:
    import json

    from schedappliance.model.appliance_file import json_schema

    print(json.dumps(json_schema(), indent=2))
    return OK


if __name__ == "__main__":
    sys.exit(main())
