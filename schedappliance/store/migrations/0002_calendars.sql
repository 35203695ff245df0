-- Jobs of kind `calendar`. Their `interval_ms` is NULL, and `schedule` holds the text of their calendar.
--
-- Only the CHECK of `kind` changes, so no row changes. SQLite describes this way for such a change
-- (lang_altertable.html#otheralter). It takes no time however many jobs there are, while a copy of the table would lose
-- the indexes and triggers that an operator added. RESET makes this connection read the schema again.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'OR kind = ''run'')', 'OR kind = ''run'' OR kind = ''calendar'')')
WHERE type = 'table' AND name = 'jobs';
PRAGMA writable_schema = RESET;

-- Calendar jobs follow the clock and the time zone data one by one.
CREATE INDEX jobs_calendar ON jobs (number) WHERE kind = 'calendar';

-- The jobs that have a next run, as `sched list` shows them. `calendar`: the text of a calendar.
DROP VIEW listed_jobs;
CREATE VIEW listed_jobs AS
  SELECT number, next_run_ms, interval_ms, command, uid, user, origin, declared, paused,
         CASE kind WHEN 'calendar' THEN schedule END AS calendar
  FROM jobs WHERE next_run_ms IS NOT NULL AND enabled = 1;
