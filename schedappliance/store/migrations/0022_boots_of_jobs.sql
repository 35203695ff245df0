-- The last boot in which a declared job was due by `at = boot`, while its row shows other due times; NULL: in none that is known.
ALTER TABLE jobs ADD COLUMN boot TEXT;

DROP VIEW stored_jobs;
CREATE VIEW stored_jobs AS
  SELECT number, kind, next_run_ms, interval_ms, occurrence, command, parsed, grammar, uid, user, origin, declared,
         schedule, enabled, paused, failed_job, failed_occurrence, boot
  FROM jobs;
