"""The devices of the daemon (console, files, programs, spool, previews, users, zones, log), their loop, and system calls.

Devices turn lines, drops, signals, file changes and ends of programs into events, and perform effects.

Rule: no device makes a decision that belongs to the core.
"""
