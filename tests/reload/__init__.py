"""Reloads on the real file system, with the window on a clock that is moved by hand."""
