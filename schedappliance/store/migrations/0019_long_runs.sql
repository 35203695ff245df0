-- The ended runs of guests that take much room, and how many bytes of command, reason, answer and outputs each has. The oldest
-- of them are removed first. Runs that ended before this table existed are not in it.
CREATE TABLE long_runs (
  uid         INTEGER NOT NULL,
  sequence    INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  PRIMARY KEY (uid, sequence)
) STRICT, WITHOUT ROWID;

DROP VIEW run_history;
CREATE VIEW run_history AS
  SELECT r.sequence, r.job, r.occurrence, r.due_ms, r.state, r.reason, r.missed_count, r.missed_since_ms, r.command,
         r.user, r.uid, r.origin, r.attempts, r.claimed_ms, r.ended_ms, a.program, a.started_ms, a.exit_status, a.exit_signal,
         a.cpu_ms, a.memory_bytes, a.took_ms, a.started_boot_ms,
         r.answer IS NOT NULL OR EXISTS (
           SELECT 1 FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence) AS has_output,
         (SELECT j.declared FROM jobs j WHERE j.number = r.job) AS name, r.failed_job, r.failed_occurrence
  FROM runs r LEFT JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence AND a.attempt = r.attempts;
