-- `rank`: 1 for a job that no stanza declares, since a user can make many of them; 0 for all others, which are listed first.
ALTER TABLE incidents ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
UPDATE incidents SET rank = 1 WHERE job > 0 AND job NOT IN (SELECT number FROM jobs WHERE declared IS NOT NULL);
CREATE INDEX incidents_by_rank ON incidents (rank, number);
