"""The stanza files: when to look at them, which directories to watch, and how to read them without mixing two edits."""
