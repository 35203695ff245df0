-- Thousands of jobs can have incidents at once, and thousands of alerts can wait while a mail server is down.
CREATE INDEX incidents_by_job ON incidents (job) WHERE job > 0;
CREATE INDEX alerts_by_notify ON alerts (notify, job);
