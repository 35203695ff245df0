-- The user of the run that an event is about: the events of the user with the most give way first. 0: root, and the appliance
-- itself. -1: nobody, for an event that stands for others.
ALTER TABLE alerts ADD COLUMN uid INTEGER NOT NULL DEFAULT 0;
UPDATE alerts SET uid = -1 WHERE json_extract(event, '$.kind') = 'left_out';
DROP INDEX alerts_by_notify;
CREATE INDEX alerts_by_notify ON alerts (notify, job, uid, size);
