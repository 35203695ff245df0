"""What would run, and when: the real core on a moved clock, over a private copy of the store. Law: nothing outside changes."""
