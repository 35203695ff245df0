-- `pid_namespace`: where `pid` counts, or would count before the start is reported. Each container has its own numbers. NULL: not
-- known, as in the rows of earlier versions.
ALTER TABLE attempts ADD COLUMN pid_namespace TEXT;

DROP VIEW stored_attempts;
CREATE VIEW stored_attempts AS
  SELECT a.job, a.occurrence, a.attempt, a.program, a.state, a.reason, a.pid, a.start_ticks, a.pid_namespace, a.boot_id,
         a.started_ms, a.started_boot_ms, a.ended_ms, a.exit_status, a.exit_signal, a.cpu_ms, a.memory_bytes, a.took_ms,
         a.replaced, a.stopped_by, o.output, o.output_bytes
  FROM attempts a
  LEFT JOIN outputs o ON o.job = a.job AND o.occurrence = a.occurrence AND o.attempt = a.attempt;
