"""The devices of the daemon (console, files, programs, spool, users, log), their loop, and system calls.

Devices turn what happens outside into events, and perform effects.

Rule: no device decides what the core decides.
"""
