"""Text to trees.

Rule: this package knows the shape of the languages but not the names of stanzas and options. Only it imports lark and
yaml.
"""
