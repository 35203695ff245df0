-- The same checks in words that cost nothing: for `IN` with more than two values SQLite builds a table of them each time
-- a row is written, which took as long as all else of it. The text of a CHECK alone is changed, no row, and nothing that
-- an operator has put beside ours; making the view anew tells whoever has the file open. See "Making Other Kinds Of
-- Table Schema Changes" in SQLite's ALTER TABLE.

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql,
  'CHECK (kind IN (''at'', ''in'', ''every'', ''run''))',
  'CHECK (kind = ''at'' OR kind = ''in'' OR kind = ''every'' OR kind = ''run'')')
WHERE type = 'table' AND name = 'jobs';

UPDATE sqlite_schema SET sql = replace(sql,
  'CHECK (origin IN (''console'', ''spool'', ''stanza''))',
  'CHECK (origin = ''console'' OR origin = ''spool'' OR origin = ''stanza'')')
WHERE type = 'table' AND name = 'jobs';

UPDATE sqlite_schema SET sql = replace(sql,
  'CHECK (state IN (''queued'', ''started'', ''succeeded'', ''failed'', ''timed_out'',
                                                 ''interrupted'', ''replaced'', ''cancelled'', ''skipped'', ''missed''))',
  'CHECK (state = ''succeeded'' OR state = ''started'' OR state = ''queued'' OR state = ''failed'' OR
                                                 state = ''timed_out'' OR state = ''interrupted'' OR state = ''replaced'' OR
                                                 state = ''cancelled'' OR state = ''skipped'' OR state = ''missed'')')
WHERE type = 'table' AND name = 'runs';

UPDATE sqlite_schema SET sql = replace(sql,
  'CHECK (state IN (''started'', ''succeeded'', ''failed'', ''timed_out'',
                                                 ''interrupted'', ''replaced'', ''cancelled''))',
  'CHECK (state = ''succeeded'' OR state = ''started'' OR state = ''failed'' OR state = ''timed_out'' OR
                                                 state = ''interrupted'' OR state = ''replaced'' OR state = ''cancelled'')')
WHERE type = 'table' AND name = 'attempts';

PRAGMA writable_schema = RESET;

DROP VIEW needed_failures;

CREATE VIEW needed_failures (job, occurrence) AS
  SELECT failed_job, failed_occurrence FROM jobs WHERE failed_job IS NOT NULL
  UNION ALL
  SELECT failed_job, failed_occurrence FROM runs WHERE failed_job IS NOT NULL AND state IN ('queued', 'started');
