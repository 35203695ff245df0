-- Statements on overrides, generations and meta. Rule: a generation is never changed, only added and removed.

-- name: overrides
SELECT scope, instance, option, name, value, base FROM overrides ORDER BY scope, instance, option;

-- name: set_override
INSERT OR REPLACE INTO overrides (scope, instance, option, name, value, base, uid, user, origin, set_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: drop_override
DELETE FROM overrides WHERE scope = ? AND instance = ? AND option = ?;

-- name: add_generation
INSERT INTO generations (digest, applied_ms, files) VALUES (?, ?, ?);

-- name: prune_generations
DELETE FROM generations WHERE generation <= ?;

-- name: generations
SELECT generation, digest, applied_ms FROM generations ORDER BY generation DESC;

-- name: generation_paths
SELECT (SELECT json_group_array(json_extract(file.value, '$[0]')) FROM json_each(files) AS file)
FROM generations WHERE generation = ?;

-- name: generation_size
SELECT length(files) FROM generations WHERE generation = ?;

-- name: generation_files
SELECT files FROM generations WHERE generation = ?;

-- name: last_generation
SELECT generation, digest, applied_ms FROM generations ORDER BY generation DESC LIMIT 1;

-- name: get_meta
SELECT value FROM meta WHERE key = ?;

-- name: set_meta
INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?);
