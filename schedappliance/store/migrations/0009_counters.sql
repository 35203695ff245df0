-- The counters of `metrics` that survive a restart, and how many runs of each declared job ended in each state. A counter
-- grows in the transaction that stores what it counts.
CREATE TABLE counters (
  name        TEXT NOT NULL,
  labels      TEXT NOT NULL,                           -- JSON: the values of its labels
  value       INTEGER NOT NULL,
  PRIMARY KEY (name, labels)
) STRICT, WITHOUT ROWID;

CREATE TABLE ended_runs (
  job         INTEGER NOT NULL,
  state       TEXT NOT NULL,
  number      INTEGER NOT NULL,
  PRIMARY KEY (job, state)
) STRICT, WITHOUT ROWID;
