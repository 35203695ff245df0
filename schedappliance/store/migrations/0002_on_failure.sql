-- A job that `on_failure` of a program made, and its runs, name the run that failed. NULL: they answer no failure.

ALTER TABLE jobs ADD COLUMN failed_job INTEGER;
ALTER TABLE jobs ADD COLUMN failed_occurrence INTEGER;
ALTER TABLE runs ADD COLUMN failed_job INTEGER;
ALTER TABLE runs ADD COLUMN failed_occurrence INTEGER;

CREATE INDEX jobs_on_failure ON jobs (failed_job, failed_occurrence) WHERE failed_job IS NOT NULL;
CREATE INDEX runs_on_failure ON runs (failed_job, failed_occurrence)
  WHERE failed_job IS NOT NULL AND state IN ('queued', 'started');

-- The runs whose failure a job or a run has still to answer: they are not pruned.
CREATE VIEW needed_failures (job, occurrence) AS
  SELECT failed_job, failed_occurrence FROM jobs WHERE failed_job IS NOT NULL
  UNION ALL
  SELECT failed_job, failed_occurrence FROM runs WHERE failed_job IS NOT NULL AND state IN ('queued', 'started');
