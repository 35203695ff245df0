"""The turn: takes a batch of events, writes one transaction and returns effects.

Rule: no threads, sockets or clocks here, so that tests, `preview` and the simulation can drive it.
"""
