-- The oldest runs of the user with the most are removed first. Most runs belong to root, whose uid is 0: the jobs of stanza
-- files. They cost nothing here, and the rows of `runs` are read in their order to find them.
CREATE INDEX runs_ended_by_user ON runs (uid, sequence) WHERE uid <> 0 AND state <> 'queued' AND state <> 'started';
