"""A scheduler that an operator deploys by writing files and then forgets.

Text travels through the folders in this order, and a folder imports only from those before it:

    diagnostics, clock   what is said to a user; the one place for time
    syntax/              text to trees, by the grammars in grammar/
    model/               trees to meaning: values, option tables, command forms, checks
    engine/              meaning and events to decisions: pure
    store/               decisions to rows: SQLite
    commands/            what each console command does
    core/                one batch of events, one transaction, its effects
    edge/                the outside: files, spool, programs, console socket
    appliance, cli       wiring and the command line
"""

__version__ = "0.1.0"
