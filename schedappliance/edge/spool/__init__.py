"""The spool: a program drops a file of commands, the appliance carries it out once, and writes a file with the result.

Rule: a file is renamed before it is read, and its result is stored before it is published.
"""
