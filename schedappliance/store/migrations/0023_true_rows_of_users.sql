-- Counts the rows of each user again: rows that were removed before a user had a row here were not subtracted.
UPDATE rows_of_users SET jobs = 0, runs = 0;
INSERT INTO rows_of_users (uid, jobs) SELECT uid, count(*) FROM jobs WHERE uid <> 0 GROUP BY uid
  ON CONFLICT (uid) DO UPDATE SET jobs = excluded.jobs;
INSERT INTO rows_of_users (uid, runs) SELECT uid, count(*) FROM runs WHERE uid <> 0 GROUP BY uid
  ON CONFLICT (uid) DO UPDATE SET runs = excluded.runs;
