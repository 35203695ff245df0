"""The parsers of stanza files, commands and YAML: they turn text into trees.

Rule: this package knows the shape of the languages but not the names of stanzas and options. No other package imports
lark or yaml.
"""
