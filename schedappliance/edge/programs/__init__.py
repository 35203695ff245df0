"""Programs: the launcher starts them, itself or through the spawner; the supervisor follows them to their end.

`outputs` are the files that they write to, `survivors` those that outlived an earlier daemon.
"""
