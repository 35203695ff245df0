"""Programs: the launcher starts them, alone or through the spawner, and the supervisor follows them to their end.

`outputs` handles the files that they write to; `survivors` finds the processes that outlived an earlier daemon.

Rule: work that may block runs on a worker, never on the deciding thread.
"""
