"""The linter, the forms in which diagnostics are shown, and the pages of `explain`."""
