"""Programs: the launcher requests their starts from the keeper, and the supervisor follows them to their end.

`keeper`, with `keeper_files`, `keeper_programs` and `keeper_starts`, and `spawner` run as processes of their own.
`keeper_link` is the daemon's side of the keeper, with `keeper_paths` and `keeper_reports`. `requested` finds the attempts that
were never requested of it.
`inherited` sets back what programs must not inherit. `restraints` and `cgroups` prepare the limits of programs. `accounts`
looks up users. `start_failures` explains why a program was not started. `outputs` handles the files that programs write
to, and `output_lines` passes their lines on to the log. `survivors` finds keepers, and the processes that outlived theirs.

Rule: work that may block runs on a worker, never on the deciding thread.
"""
