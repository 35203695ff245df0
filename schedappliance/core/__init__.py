"""The turn: a batch of events in, one transaction, effects out.

Rule: no threads, sockets or clocks here, so that tests, `preview` and the simulation can drive it.
"""
