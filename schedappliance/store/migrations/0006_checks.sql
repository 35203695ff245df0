-- The same checks in words that cost nothing: for `IN` with more than two values SQLite builds a table of them each time
-- a row is written, which took as long as all else of it. The text of a CHECK alone is changed, no row, and nothing that
-- an operator has put beside ours. See "Making Other Kinds Of Table Schema Changes" in SQLite's ALTER TABLE.

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

-- A table that comes and goes tells whoever has the file open that the schema is another one.
CREATE TABLE schedappliance_checks (a);

DROP TABLE schedappliance_checks;
