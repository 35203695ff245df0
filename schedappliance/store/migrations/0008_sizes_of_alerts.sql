-- What waits for its delivery is limited, also in bytes. The index holds all that this needs.
ALTER TABLE alerts ADD COLUMN size INTEGER NOT NULL DEFAULT 0;  -- bytes of `event`
UPDATE alerts SET size = length(CAST(event AS BLOB));
DROP INDEX alerts_by_notify;
CREATE INDEX alerts_by_notify ON alerts (notify, job, size);
