-- How long an attempt took, by the time since the boot: the clock may be set while its program runs. NULL: it has not ended.
ALTER TABLE attempts ADD COLUMN took_ms INTEGER;
UPDATE attempts SET took_ms = max(0, ended_ms - started_ms) WHERE ended_ms IS NOT NULL;

DROP VIEW run_history;
CREATE VIEW run_history AS
  SELECT r.sequence, r.job, r.occurrence, r.due_ms, r.state, r.reason, r.missed_count, r.missed_since_ms, r.command,
         r.user, r.origin, r.attempts, r.claimed_ms, r.ended_ms, a.program, a.started_ms, a.exit_status, a.exit_signal,
         a.cpu_ms, a.memory_bytes, a.took_ms, a.started_boot_ms,
         r.answer IS NOT NULL OR EXISTS (
           SELECT 1 FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence) AS has_output,
         (SELECT j.declared FROM jobs j WHERE j.number = r.job) AS name, r.failed_job, r.failed_occurrence
  FROM runs r LEFT JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence AND a.attempt = r.attempts;

DROP VIEW stored_attempts;
CREATE VIEW stored_attempts AS
  SELECT a.job, a.occurrence, a.attempt, a.program, a.state, a.reason, a.pid, a.start_ticks, a.boot_id, a.started_ms,
         a.started_boot_ms, a.ended_ms, a.exit_status, a.exit_signal, a.cpu_ms, a.memory_bytes, a.took_ms, a.replaced,
         a.stopped_by, o.output, o.output_bytes
  FROM attempts a
  LEFT JOIN outputs o ON o.job = a.job AND o.occurrence = a.occurrence AND o.attempt = a.attempt;
