-- Statements on runs, attempts and outputs. Rule: an UPDATE that changes the state of a run names the states that the
-- run may be in.

-- name: add_run
INSERT INTO runs (job, occurrence, due_ms, state, reason, command, uid, user, origin, attempts, claimed_ms, ended_ms, answer)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_whole_run
INSERT INTO runs (job, occurrence, due_ms, state, reason, command, uid, user, origin, attempts, claimed_ms, ended_ms, answer,
                  missed_count, missed_since_ms, parsed, grammar, failed_job, failed_occurrence)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: live_runs
-- The last column is the row that an index finds by job and occurrence. In a damaged file it may be another row.
WITH live AS (
  SELECT job, occurrence, state, attempts, sequence FROM runs WHERE state = 'queued'
  UNION ALL
  SELECT job, occurrence, state, attempts, sequence FROM runs WHERE state = 'started')
SELECT job, occurrence, state, attempts, sequence,
       (SELECT r.sequence FROM runs r WHERE r.job = live.job AND r.occurrence = live.occurrence)
FROM live ORDER BY sequence;

-- name: queued_runs
SELECT sequence, job, occurrence, command, parsed, grammar, retry_at_ms, uid FROM runs WHERE state = 'queued'
ORDER BY sequence;

-- name: waits
SELECT 1 FROM runs WHERE job = ? AND state = 'queued' LIMIT 1;

-- name: has_due
SELECT 1 FROM runs WHERE job = ? AND due_ms = ? LIMIT 1;

-- name: queued_run
SELECT due_ms, command, parsed, grammar, attempts, uid, user, origin, claimed_ms, retry_at_ms IS NULL, failed_job,
       failed_occurrence
FROM runs WHERE job = ? AND occurrence = ?;

-- name: queue_run
-- After an attempt that did not succeed, the run waits for the next attempt.
UPDATE runs SET state = 'queued', reason = ?3, retry_at_ms = ?4
WHERE job = ?1 AND occurrence = ?2 AND state = 'started';

-- name: move_back_retries
UPDATE runs SET retry_at_ms = retry_at_ms - ? WHERE state = 'queued' AND retry_at_ms IS NOT NULL;

-- name: forget_attempt
DELETE FROM attempts WHERE job = ? AND occurrence = ? AND attempt = ?;

-- name: one_attempt_less
UPDATE runs SET attempts = attempts - 1 WHERE job = ? AND occurrence = ?;

-- name: uid_of_run
SELECT uid FROM runs WHERE job = ? AND occurrence = ?;

-- name: sequence_of
SELECT sequence FROM runs WHERE job = ? AND occurrence = ?;

-- name: start_run
UPDATE runs SET state = 'started', reason = NULL, retry_at_ms = NULL, attempts = ?3
WHERE job = ?1 AND occurrence = ?2 AND state = 'queued';

-- name: count_runs
SELECT count(*) FROM runs;

-- name: runs_of_users
SELECT uid, runs FROM rows_of_users WHERE runs > 0;

-- name: count_rows
-- Counts so many rows more of a user; a negative number counts fewer.
INSERT INTO rows_of_users (uid, runs) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET runs = runs + excluded.runs;

-- name: oldest_ended
-- The runs of root, with the size of their stored outputs in bytes.
SELECT r.sequence, r.job, r.occurrence, (
  SELECT coalesce(sum(length(o.output)), 0) FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence)
FROM runs r
WHERE r.uid = ? AND r.sequence > ? AND r.sequence <= ? AND r.state NOT IN ('queued', 'started') AND NOT EXISTS (
  SELECT 1 FROM needed_failures n WHERE n.job = r.job AND n.occurrence = r.occurrence)
ORDER BY r.sequence LIMIT ?;

-- name: next_to_sweep
SELECT max(sequence), count(*) FROM (SELECT sequence FROM runs WHERE sequence > ? ORDER BY sequence LIMIT ?);

-- name: bytes_of_long_runs
SELECT uid, sum(bytes) FROM long_runs GROUP BY uid;

-- name: bytes_of_run
-- The last column has the bytes that were noted before.
SELECT r.uid, r.sequence,
       length(CAST(r.command || coalesce(r.reason, '') || coalesce(r.answer, '') AS BLOB)) + (
         SELECT coalesce(sum(length(o.output)), 0) FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence),
       coalesce((SELECT l.bytes FROM long_runs l WHERE l.uid = r.uid AND l.sequence = r.sequence), 0)
FROM runs r WHERE r.job = ? AND r.occurrence = ?;

-- name: note_long_run
INSERT OR REPLACE INTO long_runs (uid, sequence, bytes) VALUES (?, ?, ?);

-- name: oldest_long_run
SELECT l.sequence, r.job, r.occurrence, l.bytes FROM long_runs l JOIN runs r ON r.sequence = l.sequence
WHERE l.uid = ? AND NOT EXISTS (SELECT 1 FROM needed_failures n WHERE n.job = r.job AND n.occurrence = r.occurrence)
ORDER BY l.sequence LIMIT 1;

-- name: forget_long_runs
DELETE FROM long_runs WHERE uid = ? AND sequence IN (SELECT value FROM json_each(?)) RETURNING bytes;

-- name: oldest_ended_of_user
-- The same for another user.
SELECT r.sequence, r.job, r.occurrence, (
  SELECT coalesce(sum(length(o.output)), 0) FROM outputs o WHERE o.job = r.job AND o.occurrence = r.occurrence)
FROM runs r INDEXED BY runs_ended_by_user
WHERE r.uid = ? AND r.sequence > ? AND r.sequence <= ? AND r.uid <> 0 AND r.state <> 'queued' AND r.state <> 'started'
  AND NOT EXISTS (SELECT 1 FROM needed_failures n WHERE n.job = r.job AND n.occurrence = r.occurrence)
ORDER BY r.sequence LIMIT ?;

-- name: next_of_user_to_sweep
SELECT max(sequence), count(*) FROM (
  SELECT sequence FROM runs INDEXED BY runs_ended_by_user
  WHERE uid = ? AND sequence > ? AND uid <> 0 AND state <> 'queued' AND state <> 'started' ORDER BY sequence LIMIT ?);

-- name: delete_attempts
DELETE FROM attempts WHERE job = ? AND occurrence = ?;

-- name: delete_outputs
DELETE FROM outputs WHERE job = ? AND occurrence = ?;

-- name: delete_run
DELETE FROM runs WHERE sequence = ?;

-- name: end_run
-- The update applies only if the run is in one of two states. No other state may move to the new state.
UPDATE runs SET state = ?3, reason = ?4, ended_ms = ?5, parsed = NULL, retry_at_ms = NULL, answer = coalesce(?6, answer)
WHERE job = ?1 AND occurrence = ?2 AND state IN (?7, ?8);

-- name: last_ends
-- Of each of the jobs: how many runs failed after the last one that succeeded, when that one and the last run of all
-- ended, and how long the last attempt of the last run took. For 1,000 jobs with 100 runs each it takes 15 ms.
WITH places (job, success, last) AS MATERIALIZED (
  SELECT value,
         (SELECT occurrence FROM runs WHERE job = value AND state = 'succeeded' ORDER BY occurrence DESC LIMIT 1),
         (SELECT occurrence FROM runs WHERE job = value AND state IN ('succeeded', 'failed', 'timed_out', 'interrupted')
          ORDER BY occurrence DESC LIMIT 1)
  FROM json_each(?1))
SELECT p.job,
       (SELECT count(*) FROM runs WHERE job = p.job AND occurrence > coalesce(p.success, -1)
        AND state IN ('failed', 'timed_out', 'interrupted')),
       s.ended_ms, l.ended_ms, coalesce(a.took_ms, 0)
FROM places p JOIN runs l ON l.job = p.job AND l.occurrence = p.last
  LEFT JOIN runs s ON s.job = p.job AND s.occurrence = p.success
  LEFT JOIN attempts a ON a.job = p.job AND a.occurrence = l.occurrence AND a.attempt = l.attempts;

-- name: run_state
SELECT state FROM runs WHERE job = ? AND occurrence = ?;

-- name: history
SELECT * FROM run_history ORDER BY sequence DESC LIMIT ?;

-- name: history_of_job
SELECT * FROM run_history WHERE job = ? ORDER BY occurrence DESC LIMIT ?;

-- name: states_of_job
-- The state comes before the command in a row, which may have 64 KiB.
SELECT occurrence, state FROM runs WHERE job = ? ORDER BY occurrence DESC LIMIT ?;

-- name: selected_runs
-- Rows of the history, the newest first. Their places are in a range, since a rare state would examine every run.
SELECT * FROM run_history
WHERE sequence >= ?1 AND sequence < ?2 AND (?3 IS NULL OR state IN (SELECT value FROM json_each(?3)))
  AND due_ms >= ?4 AND coalesce(missed_since_ms, due_ms) <= ?5
  AND (?6 IS NULL OR coalesce(ended_ms, due_ms) >= ?6 OR state IN ('queued', 'started'))
ORDER BY sequence DESC LIMIT ?7;

-- name: count_selected_runs
SELECT count(*) FROM (
  SELECT 1 FROM runs
  WHERE sequence >= ?1 AND sequence < ?2 AND (?3 IS NULL OR state IN (SELECT value FROM json_each(?3)))
    AND due_ms >= ?4 AND coalesce(missed_since_ms, due_ms) <= ?5
  AND (?6 IS NULL OR coalesce(ended_ms, due_ms) >= ?6 OR state IN ('queued', 'started'))
  LIMIT ?7);

-- name: selected_runs_of_job
SELECT * FROM run_history
WHERE job = ?8 AND occurrence >= ?1 AND occurrence < ?2 AND (?3 IS NULL OR state IN (SELECT value FROM json_each(?3)))
  AND due_ms >= ?4 AND coalesce(missed_since_ms, due_ms) <= ?5
  AND (?6 IS NULL OR coalesce(ended_ms, due_ms) >= ?6 OR state IN ('queued', 'started'))
ORDER BY occurrence DESC LIMIT ?7;

-- name: count_selected_runs_of_job
SELECT count(*) FROM (
  SELECT 1 FROM runs
  WHERE job = ?8 AND occurrence >= ?1 AND occurrence < ?2 AND (?3 IS NULL OR state IN (SELECT value FROM json_each(?3)))
    AND due_ms >= ?4 AND coalesce(missed_since_ms, due_ms) <= ?5
  AND (?6 IS NULL OR coalesce(ended_ms, due_ms) >= ?6 OR state IN ('queued', 'started'))
  LIMIT ?7);

-- name: waiting_runs
-- The last runs that wait, with their reasons, of those that were claimed before a place.
SELECT job, occurrence, reason FROM runs
WHERE state = 'queued' AND sequence < ?1 AND (?2 IS NULL OR job = ?2) AND due_ms >= ?3 AND due_ms <= ?4
ORDER BY sequence DESC LIMIT ?5;

-- name: last_place
SELECT max(sequence) FROM runs WHERE sequence < ?;

-- name: last_place_of_job
SELECT max(occurrence) FROM runs WHERE occurrence < ?1 AND job = ?2;

-- name: first_examined
-- The first run from a place on, if there are runs before that place.
SELECT job, occurrence FROM runs WHERE sequence >= ?1 AND EXISTS (SELECT 1 FROM runs WHERE sequence < ?1)
ORDER BY sequence LIMIT 1;

-- name: first_examined_of_job
SELECT job, occurrence FROM runs WHERE job = ?2 AND occurrence >= ?1
  AND EXISTS (SELECT 1 FROM runs WHERE job = ?2 AND occurrence < ?1)
ORDER BY occurrence LIMIT 1;

-- name: past_run
SELECT * FROM run_history WHERE job = ? AND occurrence = ?;

-- name: on_failure_of
SELECT failed_job, failed_occurrence FROM runs WHERE job = ? AND occurrence = ?;

-- name: ended_run
-- The output is read only if the first parameter is 1: it can be large, and `sched wait` does not show it.
SELECT r.due_ms, r.state, r.reason, r.command, a.exit_status, a.exit_signal, o.output
FROM runs r
LEFT JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence AND a.attempt = r.attempts
LEFT JOIN outputs o ON ? AND o.job = r.job AND o.occurrence = r.occurrence AND o.attempt = r.attempts
WHERE r.job = ? AND r.occurrence = ?;

-- name: run
SELECT due_ms, command FROM runs WHERE job = ? AND occurrence = ?;

-- name: lasted
-- The durations of the last attempts, and whether they succeeded, the newest first.
SELECT r.job, r.command, a.took_ms, a.state = 'succeeded'
FROM runs r JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence
WHERE a.ended_ms IS NOT NULL ORDER BY r.sequence DESC LIMIT ?;

-- name: durations
-- Of the last runs of a job that succeeded. Only so many occurrences are examined, since a job may never succeed.
SELECT a.took_ms
FROM runs r JOIN attempts a ON a.job = r.job AND a.occurrence = r.occurrence AND a.attempt = r.attempts
WHERE r.job = ?1 AND r.occurrence > ?2 - 100 AND r.occurrence <= ?2 AND r.state = 'succeeded' ORDER BY r.occurrence DESC LIMIT ?3;

-- name: add_attempt
INSERT INTO attempts (job, occurrence, attempt, program, state, boot_id, pid_namespace, started_ms, started_boot_ms, timeout_ms,
  kill_after_ms, success, output_limit)
VALUES (?, ?, ?, ?, 'started', ?, nullif(?, ''), ?, ?, ?, ?, ?, ?);

-- name: set_pid
UPDATE attempts SET pid = ?4, start_ticks = ?5, pid_namespace = nullif(?6, '')
WHERE job = ?1 AND occurrence = ?2 AND attempt = ?3;

-- name: mark_replaced
UPDATE attempts SET replaced = 1 WHERE job = ? AND occurrence = ? AND attempt = ?;

-- name: mark_last
UPDATE attempts SET is_last = 1 WHERE job = ? AND occurrence = ? AND attempt = ?;

-- name: mark_stopped
UPDATE attempts SET stopped_by = ?4 WHERE job = ?1 AND occurrence = ?2 AND attempt = ?3;

-- name: failures
SELECT count(*) FROM attempts WHERE job = ? AND occurrence = ? AND state IN ('failed', 'timed_out');

-- name: end_attempt
UPDATE attempts SET state = ?4, reason = ?5, ended_ms = ?6, exit_status = ?7, exit_signal = ?8, cpu_ms = ?9,
  memory_bytes = ?10, took_ms = ?11
WHERE job = ?1 AND occurrence = ?2 AND attempt = ?3;

-- name: live_attempts
-- The attempts whose end is not recorded, in the order of their claims.
SELECT a.* FROM runs r JOIN stored_attempts a ON a.job = r.job AND a.occurrence = r.occurrence
WHERE r.state = 'started' AND a.state = 'started' ORDER BY r.sequence;

-- name: add_output
INSERT OR REPLACE INTO outputs (job, occurrence, attempt, output, output_bytes) VALUES (?, ?, ?, ?, ?);

-- name: answer
SELECT answer FROM runs WHERE job = ? AND occurrence = ?;

-- name: last_attempts
-- The last attempts of a run, the newest first, with their outputs up to so many bytes.
SELECT job, occurrence, attempt, program, state, reason, pid, start_ticks, pid_namespace, boot_id, started_ms, started_boot_ms,
       ended_ms, exit_status, exit_signal, cpu_ms, memory_bytes, took_ms, replaced, stopped_by, iif(length(output) <= ?, output, NULL), output_bytes,
       is_last, timeout_ms, kill_after_ms, success, output_limit
FROM stored_attempts WHERE job = ? AND occurrence = ? ORDER BY attempt DESC LIMIT ?;

-- name: attempt
SELECT * FROM stored_attempts WHERE job = ? AND occurrence = ? AND attempt = ?;
