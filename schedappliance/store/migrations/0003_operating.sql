-- The history also shows the program of the last attempt of a run, and when that attempt started.
DROP VIEW run_history;
CREATE VIEW run_history AS
  SELECT r.sequence, r.job, r.occurrence, r.due_ms, r.state, r.reason, r.missed_count, r.missed_since_ms, r.command,
         r.user, r.origin, r.attempts, r.claimed_ms, r.ended_ms, a.program, a.started_ms, a.exit_status, a.exit_signal,
         r.answer IS NOT NULL OR EXISTS (
           SELECT 1 FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence) AS has_output,
         (SELECT j.declared FROM jobs j WHERE j.number = r.job) AS name, r.failed_job, r.failed_occurrence
  FROM runs r LEFT JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence AND a.attempt = r.attempts;
