-- No attempt follows this one: while its program ran, its job was paused, deleted, switched off or taken out of the files.
ALTER TABLE attempts ADD COLUMN is_last INTEGER NOT NULL DEFAULT 0;

DROP VIEW stored_attempts;
CREATE VIEW stored_attempts AS
  SELECT a.job, a.occurrence, a.attempt, a.program, a.state, a.reason, a.pid, a.start_ticks, a.pid_namespace, a.boot_id,
         a.started_ms, a.started_boot_ms, a.ended_ms, a.exit_status, a.exit_signal, a.cpu_ms, a.memory_bytes, a.took_ms,
         a.replaced, a.stopped_by, o.output, o.output_bytes, a.is_last,
         a.timeout_ms, a.kill_after_ms, a.success, a.output_limit
  FROM attempts a
  LEFT JOIN outputs o ON o.job = a.job AND o.occurrence = a.occurrence AND o.attempt = a.attempt;
