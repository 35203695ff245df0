"""The screens of the page, one file for each, and what they share."""
