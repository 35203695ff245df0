"""The outside: files, spool, programs, console socket, timers. Thin: one device per file, events in, effects out."""
