-- Statements on drops. Rule: marks only grow, so their order is the order of the drops.

-- name: add_drop
INSERT INTO drops (mark, name, uid, user, taken_ms, accepted, result, token) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: drop
SELECT * FROM finished_drops WHERE mark = ?;

-- name: drop_by_token
SELECT * FROM finished_drops WHERE uid = ? AND token = ?;

-- name: drops_by_name
SELECT * FROM finished_drops WHERE name = ? ORDER BY mark DESC LIMIT ?;

-- name: last_drops
SELECT * FROM finished_drops ORDER BY mark DESC LIMIT ?;

-- name: last_mark
SELECT mark FROM drops ORDER BY mark DESC LIMIT 1;

-- name: count_drops
SELECT accepted, count(*) FROM drops GROUP BY accepted;

-- name: oldest_drop
SELECT taken_ms FROM drops ORDER BY mark LIMIT 1;

-- name: count_drops_of_users
SELECT uid, count(*) FROM drops GROUP BY uid;

-- name: prune_drops
-- The oldest drops of a user, but never the last one of all, since the next mark follows the mark of the last drop.
DELETE FROM drops WHERE mark IN (SELECT mark FROM drops WHERE uid = ? ORDER BY mark LIMIT ?)
  AND mark < (SELECT max(mark) FROM drops);

-- name: prune_old_drops
DELETE FROM drops WHERE mark IN (SELECT mark FROM drops ORDER BY mark LIMIT ?) AND taken_ms < ?
  AND mark < (SELECT max(mark) FROM drops);
