-- Statements on jobs. Rule: a query for due jobs repeats the conditions of the index jobs_by_next_run, or SQLite would
-- not use it.

-- name: add_job
INSERT INTO jobs (kind, next_run_ms, interval_ms, command, parsed, grammar, uid, user, origin, declared, schedule,
                  enabled, created_ms, program, failed_job, failed_occurrence)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: due_jobs
SELECT * FROM stored_jobs WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0 AND next_run_ms <= ?
ORDER BY next_run_ms, number LIMIT ?;

-- name: due_jobs_but
-- The due jobs, without all jobs of these users and without the jobs with these numbers.
SELECT * FROM stored_jobs WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0 AND next_run_ms <= ?1
  AND (origin = 'stanza' OR uid NOT IN (SELECT value FROM json_each(?2)))
  AND number NOT IN (SELECT value FROM json_each(?3))
ORDER BY next_run_ms, number LIMIT ?4;

-- name: next_due
SELECT next_run_ms FROM jobs WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0 ORDER BY next_run_ms LIMIT 1;

-- name: count_due
-- How many jobs are due by an instant, up to a limit.
SELECT count(*) FROM (
  SELECT 1 FROM jobs WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0 AND next_run_ms <= ? LIMIT ?
);

-- name: next_due_but
-- Up to an instant, since a user may have any number of jobs that are due before the next job of somebody else.
SELECT next_run_ms FROM jobs WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0
  AND (origin = 'stanza' OR uid NOT IN (SELECT value FROM json_each(?1)))
  AND number NOT IN (SELECT value FROM json_each(?2))
  AND next_run_ms <= ?3
ORDER BY next_run_ms LIMIT 1;

-- name: job
SELECT * FROM stored_jobs WHERE number = ?;

-- name: number_of
SELECT number FROM jobs WHERE declared = ?;

-- name: declared_jobs
SELECT * FROM stored_jobs WHERE declared IS NOT NULL ORDER BY +number;

-- name: declared_as
SELECT * FROM stored_jobs WHERE declared IN (SELECT value FROM json_each(?)) ORDER BY +number;

-- name: list_jobs
-- A page of the list: the jobs after (next_run_ms, number). Two ranges: SQLite would find the place of such a pair by its first
-- column alone, since the second one is the rowid, and read all jobs that are due at this time.
SELECT * FROM listed_jobs WHERE paused = 0 AND next_run_ms = ?1 AND number > ?2
UNION ALL SELECT * FROM listed_jobs WHERE paused = 0 AND next_run_ms > ?1
ORDER BY next_run_ms, number LIMIT ?3;

-- name: list_paused
SELECT * FROM listed_jobs WHERE paused = 1 AND next_run_ms = ?1 AND number > ?2
UNION ALL SELECT * FROM listed_jobs WHERE paused = 1 AND next_run_ms > ?1
ORDER BY next_run_ms, number LIMIT ?3;

-- name: count_unplanned
-- Only declared jobs keep their rows when they are disabled or done. SQLite would choose the index of all declared jobs.
SELECT count(*) FROM jobs INDEXED BY jobs_unplanned WHERE declared IS NOT NULL AND (enabled = 0 OR next_run_ms IS NULL);

-- name: count_paused_and_disabled
-- The paused jobs without those that are also disabled or done, in two counts, since the first needs only an index. Then the
-- disabled jobs, with the condition of their index.
SELECT (SELECT count(*) FROM jobs WHERE paused = 1 AND next_run_ms IS NOT NULL)
     - (SELECT count(*) FROM jobs WHERE declared IS NOT NULL AND paused = 1 AND next_run_ms IS NOT NULL AND enabled = 0),
       (SELECT count(*) FROM jobs WHERE declared IS NOT NULL AND (enabled = 0 OR next_run_ms IS NULL) AND enabled = 0);

-- name: advance_job
UPDATE jobs SET occurrence = ?, next_run_ms = ? WHERE number = ?;

-- name: change_job
UPDATE jobs SET kind = ?, next_run_ms = ?, interval_ms = ?, schedule = ?, enabled = ?, boot = ?, command = ?, parsed = ?,
                grammar = ?, program = ?
WHERE number = ?;

-- name: change_times
UPDATE jobs SET kind = ?, next_run_ms = ?, interval_ms = ?, schedule = ?, enabled = ?, boot = ? WHERE number = ?;

-- name: calendar_jobs
-- The calendar jobs and the timed alerts after a number.
SELECT * FROM stored_jobs WHERE kind = 'calendar' AND number > ?1
UNION ALL SELECT * FROM stored_jobs WHERE number IN (SELECT job FROM alerts) AND schedule IS NOT NULL AND number > ?1
ORDER BY number LIMIT ?2;

-- name: overdue_calendars
SELECT * FROM stored_jobs WHERE kind = 'calendar' AND next_run_ms <= ?1
UNION ALL SELECT * FROM stored_jobs WHERE number IN (SELECT job FROM alerts) AND schedule IS NOT NULL AND next_run_ms <= ?1
ORDER BY number;

-- name: set_due
UPDATE jobs SET next_run_ms = ? WHERE number = ?;

-- name: set_times
UPDATE jobs SET next_run_ms = ?, schedule = ? WHERE number = ?;

-- name: last_number
SELECT seq FROM sqlite_sequence WHERE name = 'jobs';

-- name: jobs_of_user
SELECT jobs FROM rows_of_users WHERE uid = ?;

-- name: count_rows
-- Counts so many rows more of a user; a negative number counts fewer.
INSERT INTO rows_of_users (uid, jobs) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET jobs = jobs + excluded.jobs;

-- name: delete_job
DELETE FROM jobs WHERE number = ? RETURNING uid;

-- name: delete_jobs
DELETE FROM jobs WHERE number IN (SELECT value FROM json_each(?));

-- name: numbers_below
SELECT number FROM jobs WHERE number < ? ORDER BY number DESC LIMIT 3;

-- name: numbers_above
SELECT number FROM jobs WHERE number > ? ORDER BY number LIMIT 3;

-- name: next_run_index
SELECT sql FROM sqlite_schema WHERE name = 'jobs_by_next_run';

-- name: drop_next_run_index
DROP INDEX jobs_by_next_run;

-- name: move_back_recurrent
-- By whole periods, so that each job keeps its phase.
UPDATE jobs SET next_run_ms = next_run_ms - (?1 / interval_ms) * interval_ms
WHERE next_run_ms IS NOT NULL AND interval_ms IS NOT NULL AND interval_ms <= ?1;

-- name: move_back_relative
UPDATE jobs SET next_run_ms = next_run_ms - ?1 WHERE next_run_ms IS NOT NULL AND (kind = 'in' OR (kind = 'run' AND schedule IS NULL));

-- name: move_forward_recurrent
UPDATE jobs SET next_run_ms = next_run_ms + (?1 / interval_ms) * interval_ms
WHERE next_run_ms IS NOT NULL AND interval_ms IS NOT NULL AND interval_ms <= ?1;

-- name: move_forward_relative
UPDATE jobs SET next_run_ms = next_run_ms + ?1
WHERE next_run_ms IS NOT NULL AND kind IN ('in', 'run') AND schedule IS NULL;

-- name: move_forward_at_boot
-- The jobs of `at = boot` are the declared ones of this kind.
UPDATE jobs SET next_run_ms = next_run_ms + ?1
WHERE declared IS NOT NULL AND kind = 'in' AND next_run_ms IS NOT NULL;

-- name: move_creation
UPDATE jobs SET created_ms = created_ms + ?2 WHERE number >= ?1 AND (schedule IS NOT NULL OR declared IS NOT NULL);

-- name: created_calendars
SELECT s.*, j.created_ms FROM stored_jobs s JOIN jobs j USING (number)
WHERE s.number >= ?1 AND s.kind = 'calendar'
UNION ALL SELECT s.*, j.created_ms FROM stored_jobs s JOIN jobs j USING (number)
WHERE s.number >= ?1 AND s.number IN (SELECT job FROM alerts) AND s.schedule IS NOT NULL
ORDER BY number LIMIT ?2;

-- name: jobs_that_run
SELECT number FROM jobs WHERE program = ? ORDER BY number LIMIT ?;

-- name: pause_jobs
UPDATE jobs SET paused = ? WHERE number IN (SELECT value FROM json_each(?));

-- name: pause_all
-- Deliveries of alerts are not paused: the events came before.
UPDATE jobs SET paused = ?1 WHERE paused <> ?1 AND (NOT ?1 OR number NOT IN (SELECT job FROM alerts));

-- name: count_deliveries
SELECT count(*) FROM jobs WHERE number IN (SELECT job FROM alerts);

-- name: declared_columns
-- A JSON array of each column takes a quarter of the time of reading rows, and half the time of an array of rows.
SELECT json_group_array(number), json_group_array(declared), json_group_array(interval_ms),
       json_group_array(next_run_ms), json_group_array(number) FILTER (WHERE paused = 1),
       json_group_array(number) FILTER (WHERE enabled = 0)
FROM jobs INDEXED BY jobs_declared WHERE declared IS NOT NULL;

-- name: names
SELECT number, declared, paused FROM jobs WHERE declared IS NOT NULL ORDER BY declared;

-- name: named_by_pause
-- Those that `pause_all` changes.
SELECT number, declared FROM jobs WHERE paused = ?1 AND (?1 OR number NOT IN (SELECT job FROM alerts))
ORDER BY number LIMIT ?2;

-- name: paused_and_due
SELECT * FROM stored_jobs WHERE paused = 1 AND next_run_ms <= ? ORDER BY next_run_ms, number LIMIT ?;

-- name: passed_jobs
-- The order of the numbers is that of the array.
SELECT s.* FROM json_each(?) AS wanted CROSS JOIN stored_jobs AS s ON s.number = wanted.value WHERE s.next_run_ms <= ?;

-- name: count_all
SELECT count(*) FROM jobs;

-- name: census
-- How many jobs there are, and how many are paused, are disabled or done, and are due after an instant.
SELECT count(*), total(paused AND enabled AND next_run_ms IS NOT NULL), total(NOT enabled OR next_run_ms IS NULL),
       total(enabled AND NOT paused AND next_run_ms > ?)
FROM jobs;
