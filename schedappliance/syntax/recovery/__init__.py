"""Reads stanza files that the parser has rejected: one diagnostic for each fault, and a tree of the rest.

Rule: this package is imported only after a file was rejected. A repaired file is checked further, but never loaded.
"""
