-- The whole schema. Instants and intervals are integer milliseconds; wall times count from the Unix epoch.
--
-- CHECK uses `=` and OR: for an IN list of more than two values, SQLite builds a table for each row that it writes,
-- which doubles the time of the write.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never used twice, even after the newest job was deleted.
CREATE TABLE jobs (
  number      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind        TEXT NOT NULL CHECK (kind = 'at' OR kind = 'in' OR kind = 'every' OR kind = 'run'),
  next_run_ms INTEGER,                                 -- NULL: nothing more is planned
  interval_ms INTEGER CHECK (interval_ms >= 1000),     -- NULL: not recurrent
  occurrence  INTEGER NOT NULL DEFAULT 0,              -- number of the last occurrence that was claimed or missed
  command     TEXT NOT NULL,                           -- verbatim
  parsed      TEXT NOT NULL,                           -- the parsed command as JSON
  grammar     INTEGER NOT NULL,                        -- version of the grammar that parsed it
  uid         INTEGER NOT NULL,
  user        TEXT NOT NULL,
  origin      TEXT NOT NULL CHECK (origin = 'console' OR origin = 'spool' OR origin = 'stanza'),
  declared    TEXT,                                    -- name of the job stanza
  schedule    TEXT,                                    -- of a declared job: the options that decide its due times
  enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  paused      INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  created_ms  INTEGER NOT NULL,
  program     TEXT,                                    -- the program that the command runs, however deeply nested
  failed_job  INTEGER,                                 -- the run whose failure the job answers (`on_failure`)
  failed_occurrence INTEGER
) STRICT;

CREATE INDEX jobs_by_next_run ON jobs (next_run_ms, number) WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0;
CREATE UNIQUE INDEX jobs_declared ON jobs (declared) WHERE declared IS NOT NULL;
CREATE INDEX jobs_paused ON jobs (next_run_ms, number) WHERE paused = 1;
CREATE INDEX jobs_by_program ON jobs (program, number) WHERE program IS NOT NULL;
CREATE INDEX jobs_on_failure ON jobs (failed_job, failed_occurrence) WHERE failed_job IS NOT NULL;

-- A job as the store reads it.
CREATE VIEW stored_jobs AS
  SELECT number, kind, next_run_ms, interval_ms, occurrence, command, parsed, grammar, uid, user, origin, declared,
         schedule, enabled, paused, failed_job, failed_occurrence
  FROM jobs;

-- The jobs that have a next run, as `sched list` shows them.
CREATE VIEW listed_jobs AS
  SELECT number, next_run_ms, interval_ms, command, uid, user, origin, declared, paused
  FROM jobs WHERE next_run_ms IS NOT NULL AND enabled = 1;

-- One row per occurrence that was claimed, exactly once. There is no foreign key, since the history outlives the job.
CREATE TABLE runs (
  sequence        INTEGER PRIMARY KEY,                 -- order of the claims
  job             INTEGER NOT NULL,
  occurrence      INTEGER NOT NULL,
  due_ms          INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state = 'succeeded' OR state = 'started' OR state = 'queued' OR state = 'failed' OR
                                        state = 'timed_out' OR state = 'interrupted' OR state = 'replaced' OR
                                        state = 'cancelled' OR state = 'skipped' OR state = 'missed'),
  reason          TEXT,
  missed_count    INTEGER,                             -- of a row 'missed': how many due times it counts
  missed_since_ms INTEGER,
  command         TEXT NOT NULL,
  parsed          TEXT,                                -- kept while the run is queued
  grammar         INTEGER,
  uid             INTEGER NOT NULL,
  user            TEXT NOT NULL,
  origin          TEXT NOT NULL,
  attempts        INTEGER NOT NULL DEFAULT 0,
  claimed_ms      INTEGER NOT NULL,
  ended_ms        INTEGER,
  retry_at_ms     INTEGER,                             -- of a row 'queued': when its next attempt is due
  answer          TEXT,                                -- what an internal command answered
  failed_job      INTEGER,                             -- the run whose failure this run answers (`on_failure`)
  failed_occurrence INTEGER,
  UNIQUE (job, occurrence)
) STRICT;

CREATE INDEX runs_queued ON runs (sequence) WHERE state = 'queued';
CREATE INDEX runs_started ON runs (sequence) WHERE state = 'started';
CREATE INDEX runs_on_failure ON runs (failed_job, failed_occurrence)
  WHERE failed_job IS NOT NULL AND state IN ('queued', 'started');

-- The runs whose failure a job or a run has yet to answer. They are not pruned.
CREATE VIEW needed_failures (job, occurrence) AS
  SELECT failed_job, failed_occurrence FROM jobs WHERE failed_job IS NOT NULL
  UNION ALL
  SELECT failed_job, failed_occurrence FROM runs WHERE failed_job IS NOT NULL AND state IN ('queued', 'started');

CREATE TABLE attempts (
  job             INTEGER NOT NULL,
  occurrence      INTEGER NOT NULL,
  attempt         INTEGER NOT NULL,
  program         TEXT NOT NULL,
  state           TEXT NOT NULL CHECK (state = 'succeeded' OR state = 'started' OR state = 'failed' OR state = 'timed_out' OR
                                        state = 'interrupted' OR state = 'replaced' OR state = 'cancelled'),
  reason          TEXT,
  pid             INTEGER,
  start_ticks     INTEGER,                             -- /proc/PID/stat field 22: with pid and boot it names a process
  boot_id         TEXT NOT NULL,
  started_ms      INTEGER NOT NULL,
  started_boot_ms INTEGER NOT NULL,
  ended_ms        INTEGER,
  exit_status     INTEGER,
  exit_signal     INTEGER,
  -- 1: a newer run replaced the run, so the program is being ended. It is stored, since the next daemon must know it.
  replaced        INTEGER NOT NULL DEFAULT 0 CHECK (replaced IN (0, 1)),
  PRIMARY KEY (job, occurrence, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE outputs (
  job          INTEGER NOT NULL,
  occurrence   INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  output       BLOB NOT NULL,
  output_bytes INTEGER NOT NULL,                       -- the size of the whole output, including the part not stored
  PRIMARY KEY (job, occurrence, attempt)
) STRICT;

-- An attempt with the stored part of its output.
CREATE VIEW stored_attempts AS
  SELECT a.job, a.occurrence, a.attempt, a.program, a.state, a.reason, a.pid, a.start_ticks, a.boot_id, a.started_ms,
         a.started_boot_ms, a.ended_ms, a.exit_status, a.exit_signal, a.replaced, o.output, o.output_bytes
  FROM attempts a
  LEFT JOIN outputs o ON o.job = a.job AND o.occurrence = a.occurrence AND o.attempt = a.attempt;

-- A run as the history shows it: with the end of its last attempt, and the name of its job while the job is declared.
CREATE VIEW run_history AS
  SELECT r.sequence, r.job, r.occurrence, r.due_ms, r.state, r.reason, r.missed_count, r.missed_since_ms, r.command,
         r.user, r.origin, r.attempts, r.claimed_ms, r.ended_ms, a.exit_status, a.exit_signal,
         r.answer IS NOT NULL OR EXISTS (
           SELECT 1 FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence) AS has_output,
         (SELECT j.declared FROM jobs j WHERE j.number = r.job) AS name, r.failed_job, r.failed_occurrence
  FROM runs r LEFT JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence AND a.attempt = r.attempts;

-- Option values set from the console or by a job. `base` is the value in the files at that time. When the files change
-- the value, the files win.
CREATE TABLE overrides (
  scope    TEXT NOT NULL DEFAULT '',
  instance TEXT NOT NULL DEFAULT '',
  option   TEXT NOT NULL,                              -- in lower case
  name     TEXT NOT NULL,                              -- as it is shown
  value    TEXT NOT NULL,
  base     TEXT,
  uid      INTEGER NOT NULL,
  user     TEXT NOT NULL,
  origin   TEXT NOT NULL,
  set_ms   INTEGER NOT NULL,
  PRIMARY KEY (scope, instance, option)
) STRICT, WITHOUT ROWID;

CREATE TABLE generations (
  generation INTEGER PRIMARY KEY AUTOINCREMENT,
  digest     TEXT NOT NULL,
  applied_ms INTEGER NOT NULL,
  files      TEXT NOT NULL                             -- JSON: [[path, text], ...]
) STRICT;

-- `mark` is the claimed name SEQ~NAME. A file in work/ whose mark has a row here has been carried out or rejected.
CREATE TABLE drops (
  mark     TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  uid      INTEGER NOT NULL,
  user     TEXT NOT NULL,
  taken_ms INTEGER NOT NULL,
  accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
  result   TEXT NOT NULL,                              -- JSON
  token    TEXT                                        -- the dropper's own id for the drop
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX drops_by_token ON drops (uid, token) WHERE token IS NOT NULL;
CREATE INDEX drops_by_name ON drops (name, mark);
CREATE INDEX drops_by_outcome ON drops (accepted);

CREATE VIEW finished_drops AS SELECT mark, name, user, taken_ms, accepted, result, uid, token FROM drops;
