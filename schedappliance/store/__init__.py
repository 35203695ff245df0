"""Decisions to rows: SQLite, WAL, synchronous=FULL. Stores, never decides; the only place that imports sqlite3."""
