"""The decisions: what is due, what starts, what waits, and what the end of a program means.

Rule: everything is pure. No clock, no store, no threads; the same arguments give the same answers.
"""
