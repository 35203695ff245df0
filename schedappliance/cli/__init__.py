"""The command line: one file for each subcommand of `schedappliance`.

Rule: `run` of a subcommand returns the exit status, and raises Unusable or Failure if it cannot continue.
"""
