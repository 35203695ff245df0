"""The store: the rows of jobs, runs, drops and settings in SQLite, with WAL and synchronous=FULL.

Rule: the store stores and never decides. No other package imports sqlite3.
"""
