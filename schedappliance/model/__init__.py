"""The meaning of trees: values, options, commands, programs, declared jobs, roles and the references between them.

Rule: the names of stanzas, options and commands are defined here. Nothing here depends on the current time.
"""
