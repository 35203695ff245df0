"""The spool: any program drops a file of commands, they happen once, and a result file says what became of them."""
