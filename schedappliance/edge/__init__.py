"""The devices of the daemon. Each turns what happens outside into events, and performs effects.

Rule: no device decides what the core decides.
"""
