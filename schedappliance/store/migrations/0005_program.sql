-- The program that a job's command runs, however deep it stands, so that the jobs of one are found without reading all.

ALTER TABLE jobs ADD COLUMN program TEXT;

WITH RECURSIVE nest (number, command) AS (
  SELECT number, parsed FROM jobs WHERE json_valid(parsed) AND instr(parsed, '"run"') > 0
  UNION ALL
  SELECT number, json_extract(command, '$[3]') FROM nest WHERE json_type(command, '$[3]') = 'array')
UPDATE jobs SET program = found.program
FROM (SELECT number, json_extract(command, '$[1][0]') AS program FROM nest WHERE json_extract(command, '$[0]') = 'run') AS found
WHERE found.number = jobs.number;

CREATE INDEX jobs_by_program ON jobs (program, number) WHERE program IS NOT NULL;
