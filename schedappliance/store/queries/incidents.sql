-- Statements on incidents and alerts. Rule: a row of an alert is removed when the run that delivers it has ended for good.

-- name: all_incidents
SELECT * FROM incidents WHERE number > ? ORDER BY number LIMIT ?;

-- name: rank_of_incident
SELECT rank FROM incidents WHERE number = ?;

-- name: page_of_incidents
-- The incidents after (rank, number). Two ranges: SQLite would find the place of such a pair by its first column alone, since
-- the second one is the rowid, and read all rows of this rank.
SELECT * FROM incidents WHERE rank = ?1 AND number > ?2 UNION ALL SELECT * FROM incidents WHERE rank > ?1
ORDER BY rank, number LIMIT ?3;

-- name: count_incidents_after
SELECT count(*) FROM (
  SELECT 1 FROM incidents WHERE rank = ?1 AND number > ?2 UNION ALL SELECT 1 FROM incidents WHERE rank > ?1 LIMIT ?3);

-- name: incidents_of
SELECT * FROM incidents WHERE subject = ? AND job = ?;

-- name: incidents_of_job
SELECT * FROM incidents WHERE job = ? AND job > 0 ORDER BY number;

-- name: named_incidents
SELECT * FROM incidents WHERE number = ? UNION SELECT * FROM incidents WHERE subject = ?
UNION SELECT * FROM incidents WHERE job = ? AND job > 0 ORDER BY number;

-- name: incident
SELECT * FROM incidents WHERE number = ?;

-- name: incident_of
SELECT * FROM incidents WHERE subject = ? AND job = ? AND notify = ?;

-- name: due_reminders
SELECT * FROM incidents WHERE remind_ms IS NOT NULL AND remind_ms <= ? ORDER BY remind_ms, number LIMIT ?;

-- name: mirror
-- Each finds its row by an index.
SELECT max(number), (SELECT min(remind_ms) FROM incidents WHERE remind_ms IS NOT NULL) FROM incidents;

-- name: add_incident
INSERT INTO incidents (notify, subject, job, kind, since_ms, count, last_ms, last_job, last_occurrence, told_ms, remind_ms,
                       acked_ms, acked_by, delivery, troubles, rank)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
        ?3 > 0 AND NOT EXISTS (SELECT 1 FROM jobs WHERE number = ?3 AND declared IS NOT NULL));

-- name: change_incident
UPDATE incidents SET kind = ?, since_ms = ?, count = ?, last_ms = ?, last_job = ?, last_occurrence = ?, told_ms = ?,
                     remind_ms = ?, acked_ms = ?, acked_by = ?, delivery = ?, troubles = ?
WHERE number = ?;

-- name: delete_incident
DELETE FROM incidents WHERE number = ?;

-- name: move_back_reminders
UPDATE incidents SET remind_ms = remind_ms - ? WHERE remind_ms IS NOT NULL;

-- name: noted_late
SELECT notify FROM late_runs WHERE job = ? AND occurrence = ?;

-- name: delete_old_late_runs
DELETE FROM late_runs WHERE NOT EXISTS (
  SELECT 1 FROM runs r
  WHERE r.job = late_runs.job AND r.occurrence = late_runs.occurrence AND r.state IN ('queued', 'started'));

-- name: add_late_run
INSERT INTO late_runs (job, occurrence, notify) VALUES (?, ?, ?);

-- name: add_alert
INSERT INTO alerts (job, notify, event, size, uid) VALUES (?, ?, ?, ?, ?);

-- name: alert
-- An event that stands for others comes first.
SELECT notify, event FROM alerts WHERE job = ? ORDER BY uid <> -1, sequence;

-- name: collecting
-- The last alert of a stanza, if its job waits for more events. A paused one may never be delivered.
SELECT a.job FROM (SELECT max(job) AS job FROM alerts WHERE notify = ?1) a JOIN jobs j ON j.number = a.job
WHERE j.paused = 0 AND (SELECT count(*) < ?2 AND sum(size) < ?3 FROM alerts WHERE notify = ?1 AND job = a.job);

-- name: waiting
SELECT count(*), coalesce(sum(size), 0) FROM alerts WHERE notify = ?;

-- name: waiting_alerts
SELECT a.job, EXISTS (SELECT 1 FROM runs r WHERE r.job = a.job AND r.occurrence = 1 AND r.attempts), a.uid, count(*), sum(a.size)
FROM alerts a WHERE a.notify = ? GROUP BY a.job, a.uid ORDER BY a.job, a.uid;

-- name: move_events
-- The events of an alert that are not those of a user, nor stand for others.
UPDATE alerts SET job = ?1 WHERE job = ?2 AND uid <> ?3 AND uid >= 0;

-- name: move_deliveries
-- The incidents whose last event was moved.
UPDATE incidents SET delivery = ?1
WHERE delivery = ?2 AND number IN (SELECT json_extract(event, '$.incident') FROM alerts WHERE job = ?1);

-- name: left_out
-- The event of an alert that stands for others.
SELECT sequence, event FROM alerts WHERE job = ? AND uid = -1;

-- name: delete_event
DELETE FROM alerts WHERE sequence = ?;

-- name: users_of_alert
SELECT uid FROM alerts WHERE job = ? AND uid >= 0 GROUP BY uid ORDER BY min(sequence);

-- name: users_of_alerts
SELECT job, uid FROM alerts WHERE uid >= 0 GROUP BY job, uid ORDER BY job, min(sequence);

-- name: is_alert
SELECT 1 FROM alerts WHERE job = ? LIMIT 1;

-- name: count_alerts
SELECT count(DISTINCT job) FROM alerts;

-- name: delete_alert
DELETE FROM alerts WHERE job = ?;

-- name: delete_left_alerts
-- Those whose job was deleted before its run, or whose run was pruned.
DELETE FROM alerts WHERE job NOT IN (SELECT number FROM jobs) AND job NOT IN (
  SELECT job FROM runs WHERE state = 'queued' UNION ALL SELECT job FROM runs WHERE state = 'started');

-- name: delete_left_alerts_of
-- The same for some jobs.
DELETE FROM alerts WHERE job IN (SELECT value FROM json_each(?))
AND NOT EXISTS (SELECT 1 FROM jobs WHERE number = alerts.job)
AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.job = alerts.job AND state IN ('queued', 'started'));
