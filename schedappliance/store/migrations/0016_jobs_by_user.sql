-- The jobs of one user are counted when many jobs exist. Those of root, such as the jobs of stanza files, never are.
CREATE INDEX jobs_by_user ON jobs (uid) WHERE uid <> 0;
