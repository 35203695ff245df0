"""Shows which jobs would run, and when: the real core on a simulated clock, with a private copy of the store.

Rule: a preview changes nothing outside.
"""
