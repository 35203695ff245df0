"""The decisions: which jobs are due, which runs start or wait, and how the end of a program is judged.

Rule: everything is pure. The engine has no clock, store or threads. The same arguments give the same answers.
"""
