"""Reads stanza files that the parser has rejected: one diagnostic for each fault, and a tree of the rest.

Rule: imported only when a file has been rejected; what is repaired here is checked further, never loaded.
"""
