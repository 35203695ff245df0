"""The packages of a release: a .deb, an .rpm and a single file. `python -m packages DIRECTORY` builds them.

Rule: all hold the same files as a wheel with its dependencies, and nothing of the machine that builds them.
"""
