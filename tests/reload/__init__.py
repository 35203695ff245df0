"""Reloads on the real file system, with the quiet window on a manual clock."""
