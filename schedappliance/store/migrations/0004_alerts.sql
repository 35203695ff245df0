-- Jobs that have not recovered, one row for each `notify` stanza that tells of them.
CREATE TABLE incidents (
  number      INTEGER PRIMARY KEY AUTOINCREMENT,
  notify      TEXT NOT NULL,                           -- name of the stanza
  subject     TEXT NOT NULL,                           -- name or id of the job; else the name of the program
  job         INTEGER NOT NULL,                        -- 0: of a program; -1: of the appliance itself
  kind        TEXT NOT NULL,                           -- the last event
  since_ms    INTEGER NOT NULL,
  count       INTEGER NOT NULL,                        -- events so far
  last_ms     INTEGER NOT NULL,
  last_job    INTEGER,                                 -- the run of the last event
  last_occurrence INTEGER,
  told_ms     INTEGER,                                 -- NULL: not told
  remind_ms   INTEGER,                                 -- NULL: no reminder follows
  acked_ms    INTEGER,
  acked_by    TEXT,
  UNIQUE (subject, job, notify)
) STRICT;

CREATE INDEX incidents_by_reminder ON incidents (remind_ms) WHERE remind_ms IS NOT NULL;

-- The events of alerts that are not delivered yet. `job` is the job whose run delivers them.
CREATE TABLE alerts (
  sequence    INTEGER PRIMARY KEY,
  job         INTEGER NOT NULL,
  notify      TEXT NOT NULL,
  event       TEXT NOT NULL                            -- JSON
) STRICT;

CREATE INDEX alerts_by_job ON alerts (job);
