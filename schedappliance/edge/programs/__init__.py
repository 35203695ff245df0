"""Programs: the launcher starts them, alone or through the spawner, and the supervisor follows them to their end.

`spawner` is the program of the spawner, `spawner_process` the daemon's side of it, and `requested_starts` the starts
that the daemon has requested from it.

`outputs` handles the files that they write to; `survivors` finds the processes that outlived an earlier daemon.

Rule: work that may block runs on a worker, never on the deciding thread.
"""
