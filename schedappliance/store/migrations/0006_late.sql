-- The runs that take longer than usual, and the `notify` stanzas that have noted it. The rows of runs that have ended are
-- removed when another run is late.
CREATE TABLE late_runs (
  job         INTEGER NOT NULL,
  occurrence  INTEGER NOT NULL,
  notify      TEXT NOT NULL,
  PRIMARY KEY (job, occurrence, notify)
) STRICT, WITHOUT ROWID;
