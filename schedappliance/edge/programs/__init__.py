"""Programs: the launcher requests their starts from the keeper, and the supervisor follows them to their end.

`keeper` is the program of the keeper, and `keeper_link` the daemon's side of it. `accounts` looks up users; `start_failures`
says why a program was not started.

`outputs` handles the files that they write to; `survivors` finds the processes that outlived their keeper.

Rule: work that may block runs on a worker, never on the deciding thread.
"""
