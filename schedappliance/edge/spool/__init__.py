"""The spool: a program drops a file of commands, the appliance carries it out once, and writes a file with the result."""
