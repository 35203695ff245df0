"""Simulated histories of the real core on the real store.

`world.py` and `test_hour.py`: an hour in which nothing but commits goes wrong, lived twice the same.

The rest: days in which everything goes wrong. `history` lives one seed: it plans what happens on a `machine`, where the
daemon ends, starts and takes its turns among simulated `processes`, with a database that meets `faults`; `operators`
type and drop, `files` are edited, all by `dice`. `journal` writes down what was committed, `checker` asks the
`invariants` (of rows) and `promises` (of what comes out) about it; both see a `view`. `mutants` are mistakes that this
must find. By hand: `python -m tests.simulation`.
"""
