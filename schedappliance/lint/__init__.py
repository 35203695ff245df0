"""The linter, the formats of its reports, and the pages of `explain`."""
