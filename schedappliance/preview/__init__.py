"""What would run, and when: the real core on a simulated clock, over a private copy of the store.

Rule: nothing outside changes.
"""
