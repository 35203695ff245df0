-- `told_ms` is when an alert of the incident was delivered last. `delivery` is the job that has to deliver its last alert,
-- or that could not; NULL: none. Earlier versions noted an alert in `told_ms` before its delivery.
ALTER TABLE incidents ADD COLUMN delivery INTEGER;
UPDATE incidents
SET delivery = waiting.job, told_ms = iif(waiting.is_reminder, told_ms, NULL)
FROM (
  SELECT json_extract(event, '$.incident') AS incident, max(job) AS job, min(json_extract(event, '$.reminder')) AS is_reminder
  FROM alerts GROUP BY incident
) AS waiting
WHERE number = waiting.incident;
