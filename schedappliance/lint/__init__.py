"""The linter, the reports of its diagnostics, and the pages of `explain`."""
