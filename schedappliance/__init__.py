"""A job scheduler for Linux servers. docs/architecture.md describes the packages.

Rule: a package imports only packages that are above it in the list of that document.
"""

__version__ = "0.1.0"
