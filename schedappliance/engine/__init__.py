"""The decisions: what is due, what starts, what waits, and what the end of a program means.

Rule: everything is pure. The engine has no clock, store or threads. The same arguments give the same answers.
"""
