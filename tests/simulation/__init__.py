"""Simulated histories of the real core on the real store.

`world.py` and `test_hour.py`: one hour in which only commits fail, simulated twice with equal results.

The other modules simulate days in which everything goes wrong. `history` plans one seed. It runs on a `machine`, where
the daemon starts, takes its turns and ends, among simulated `processes`, with a database that has `faults`. `operators`
type and drop, and `files` are edited. `dice` decide all of it. `journal` records what was committed. `checker` checks
the `invariants` (of rows) and the `promises` (of effects); both see a `view`. `mutants` are mistakes in the engine that
the simulation must find. By hand: `python -m tests.simulation`.
"""
