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

from schedappliance.cli.arguments import CONFIG_VARIABLE, DEFAULT_CONFIGS, parser

if TYPE_CHECKING:
    from schedappliance.model.appliance_file import ApplianceFile

OK, USAGE, BAD_CONFIGURATION = 0, 2, 78


def main(arguments: Sequence[str] | None = None) -> int:
    known = parser()
    options, rest = known.parse_known_args(arguments)
    if rest and (options.command != "lint" or any(word.startswith("-") for word in rest)):
        known.error(f"unrecognized arguments: {' '.join(rest)}")
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
        status = int(COMMANDS[options.command](options))
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
        # What cannot be used is told by Unusable; here the output itself failed.
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        print(f"error: cannot write the output: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        # Imported for failures alone: it takes 15 ms, a third of the time of a console command.
        from schedappliance.cli.errors import print_unusable
        from schedappliance.diagnostics import Unusable

        if not isinstance(error, Unusable):
            raise
        print_unusable(error)
        return BAD_CONFIGURATION


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
    from schedappliance.boot.appliance import serve

    return serve(config, options.last_good is not None, Path(options.last_good) if options.last_good else None)


def _console(options: argparse.Namespace) -> int:
    endpoint = options.endpoint or _endpoint(options)
    if endpoint is None:
        return BAD_CONFIGURATION
    from schedappliance.client import console as client

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
        from schedappliance.diagnostics import in_order
        from schedappliance.lint import report

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
    from schedappliance.client import submit

    return submit.run(options, spool)


def _lint(options: argparse.Namespace) -> int:
    from schedappliance.cli import lint as linting

    return linting.run(options)


def _preview(options: argparse.Namespace) -> int:
    config = _config(options)
    if config is None:
        return BAD_CONFIGURATION
    from schedappliance.cli import preview as command

    return command.run(config, options.period, options.limit, options.format)


def _doctor(options: argparse.Namespace) -> int:
    config = _config(options)
    if config is None:
        return BAD_CONFIGURATION
    from schedappliance.cli import doctor as examination

    return examination.run(config, options.format)


def _store_path(options: argparse.Namespace) -> Path | None:
    """The backing store that the configuration names, or None after saying why there is none."""
    file = _appliance_file(options)
    if file is None:
        return None
    from schedappliance.cli import store as command

    return command.store_of(file)


def _store_check(options: argparse.Namespace) -> int:
    path = options.file or _store_path(options)
    if path is None:
        return BAD_CONFIGURATION
    from schedappliance.cli import store as command

    return command.check(path)


def _store_backup(options: argparse.Namespace) -> int:
    path = _store_path(options)
    if path is None:
        return BAD_CONFIGURATION
    from schedappliance.cli import store as command

    return command.backup(path, options.target)


def _explain(options: argparse.Namespace) -> int:
    from schedappliance.diagnostics import CODES, did_you_mean
    from schedappliance.lint import explanations

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


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "console": _console,
    "submit": _submit,
    "lint": _lint,
    "preview": _preview,
    "doctor": _doctor,
    "explain": _explain,
    "schema": _schema,
    "store_check": _store_check,
    "store_backup": _store_backup,
}


if __name__ == "__main__":
    sys.exit(main())
