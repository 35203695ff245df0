"""The stanza files: when to check them, which directories to watch, and how to read them without mixing two edits.

Rule: events are hints; only the contents of the files count.
"""
