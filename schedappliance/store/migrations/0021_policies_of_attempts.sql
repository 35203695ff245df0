-- What an attempt was started with: `timeout`, `kill_after`, `success` and `output_limit` of its program then. `success`: exit
-- statuses with blanks between them. `timeout_ms` NULL: no limit. `kill_after_ms` NULL: not known, as in the rows of earlier
-- versions.
ALTER TABLE attempts ADD COLUMN timeout_ms INTEGER;
ALTER TABLE attempts ADD COLUMN kill_after_ms INTEGER;
ALTER TABLE attempts ADD COLUMN success TEXT;
ALTER TABLE attempts ADD COLUMN output_limit INTEGER;

DROP VIEW stored_attempts;
CREATE VIEW stored_attempts AS
  SELECT a.job, a.occurrence, a.attempt, a.program, a.state, a.reason, a.pid, a.start_ticks, a.pid_namespace, a.boot_id,
         a.started_ms, a.started_boot_ms, a.ended_ms, a.exit_status, a.exit_signal, a.cpu_ms, a.memory_bytes, a.took_ms,
         a.replaced, a.stopped_by, o.output, o.output_bytes, a.timeout_ms, a.kill_after_ms, a.success, a.output_limit
  FROM attempts a
  LEFT JOIN outputs o ON o.job = a.job AND o.occurrence = a.occurrence AND o.attempt = a.attempt;
