"""The stanza files: watching them, and reading them so that nothing changes meanwhile."""
