-- Statements on the counters of `metrics`. Rule: a counter only grows, until what its labels name is gone.

-- name: counters
SELECT name, labels, value FROM counters;

-- name: add_to_counter
INSERT INTO counters (name, labels, value) VALUES (?, ?, ?)
ON CONFLICT (name, labels) DO UPDATE SET value = value + excluded.value;

-- name: delete_counter
DELETE FROM counters WHERE name = ? AND labels = ?;

-- name: count_end
INSERT INTO ended_runs (job, state, number) VALUES (?, ?, 1)
ON CONFLICT (job, state) DO UPDATE SET number = number + 1;

-- name: ended_runs
SELECT job, state, number FROM ended_runs WHERE job IN (SELECT value FROM json_each(?));

-- name: forget_job
DELETE FROM ended_runs WHERE job = ?;
