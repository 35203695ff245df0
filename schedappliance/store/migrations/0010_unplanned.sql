-- `metrics` and `summary` count the declared jobs that are off or done. Without an index, they read all declared jobs.
CREATE INDEX jobs_unplanned ON jobs (enabled) WHERE declared IS NOT NULL AND (enabled = 0 OR next_run_ms IS NULL);
