-- A store of schema 1 as the appliance of that schema left it: a declared job, a recurrent one whose run is started, a
-- dropped one, a run that waits for its next attempt, an ended run with its output, an override. Made by iterdump().
BEGIN TRANSACTION;
CREATE TABLE attempts (
  job             INTEGER NOT NULL,
  occurrence      INTEGER NOT NULL,
  attempt         INTEGER NOT NULL,
  program         TEXT NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('started', 'succeeded', 'failed', 'timed_out',
                                                 'interrupted', 'replaced', 'cancelled')),
  reason          TEXT,
  pid             INTEGER,
  start_ticks     INTEGER,                             -- /proc/PID/stat field 22: with pid and boot it names a process
  boot_id         TEXT NOT NULL,
  started_ms      INTEGER NOT NULL,
  started_boot_ms INTEGER NOT NULL,
  ended_ms        INTEGER,
  exit_status     INTEGER,
  exit_signal     INTEGER,
  PRIMARY KEY (job, occurrence, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES(2,1,1,'hello','started',NULL,NULL,NULL,'3f1c1f9e-0000-4000-8000-000000000001',1700000060000,560000,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES(4,1,1,'p','failed','exit status 3',NULL,NULL,'3f1c1f9e-0000-4000-8000-000000000001',1700000000000,500000,1700000000000,3,NULL);
INSERT INTO "attempts" VALUES(5,1,1,'hello','succeeded',NULL,NULL,NULL,'3f1c1f9e-0000-4000-8000-000000000001',1700000000000,500000,1700000000000,0,NULL);
CREATE TABLE drops (
  mark     TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  uid      INTEGER NOT NULL,
  user     TEXT NOT NULL,
  taken_ms INTEGER NOT NULL,
  accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
  result   TEXT NOT NULL,                              -- JSON
  token    TEXT                                        -- the dropper's own id for the work
) STRICT, WITHOUT ROWID;
INSERT INTO "drops" VALUES('1~a.cmd','a.cmd',1000,'operator',1700000060000,1,'{
  "file": "a.cmd",
  "accepted": true,
  "user": "operator",
  "results": [
    {
      "command": "sched in 900 pid",
      "output": "example.com-000000006"
    }
  ],
  "diagnostics": []
}
',NULL);
CREATE TABLE generations (
  generation INTEGER PRIMARY KEY AUTOINCREMENT,
  digest     TEXT NOT NULL,
  applied_ms INTEGER NOT NULL,
  files      TEXT NOT NULL                             -- JSON: [[path, text], ...]
) STRICT;
INSERT INTO "generations" VALUES(1,'bc2dee183dc6b129f6e23441b278785dde7a71c08a8769994228d582876223dc',1700000000000,'[["/etc/schedappliance/sched.conf", "sched { backing_store = \"/var/lib/schedappliance/sched.db\" }\nMessage_Expiration = 86400\nprogram \"hello\" { argv = ( \"/bin/echo\" \"hello\" ) }\nprogram \"sleep\" { argv = ( \"/bin/sleep\" ) args = ( \"[0-9]+\" ) }\nprogram \"limited\" { argv = ( \"/bin/sleep\" \"100\" ) timeout = 10 kill_after = 5 }\nprogram \"expiring\" {\n    argv = ( \"/bin/expire\" \"--after=%{message_expiration}\" \"%%{literal}\" )\n    env = [ AFTER = \"%{Message_Expiration}\" ]\n}\nprogram \"unset\" { argv = ( \"/bin/expire\" \"%{nowhere_set}\" ) }\nprogram \"p\" { argv = ( \"/bin/work\" ) retries = 3 retry_delay = 60 }\njob \"nightly\" { every = 1d command = \"run hello\" }\n"]]');
CREATE TABLE jobs (
  number      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind        TEXT NOT NULL CHECK (kind IN ('at', 'in', 'every', 'run')),
  next_run_ms INTEGER,                                 -- NULL: nothing more is planned
  interval_ms INTEGER CHECK (interval_ms >= 1000),     -- NULL: not recurrent
  occurrence  INTEGER NOT NULL DEFAULT 0,              -- number of the last one claimed
  command     TEXT NOT NULL,                           -- verbatim
  parsed      TEXT NOT NULL,                           -- the same, parsed: JSON
  grammar     INTEGER NOT NULL,                        -- version of the grammar that parsed it
  uid         INTEGER NOT NULL,
  user        TEXT NOT NULL,
  origin      TEXT NOT NULL CHECK (origin IN ('console', 'spool', 'stanza')),
  declared    TEXT,                                    -- name of the job stanza
  schedule    TEXT,                                    -- of a declared job: what decides its due times
  enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  paused      INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  created_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO "jobs" VALUES(1,'every',1700006400000,86400000,0,'run hello','["run",["hello"],null,null,"run hello"]',1,0,'@config','stanza','nightly','every 86400000 offset 0',1,0,1700000000000);
INSERT INTO "jobs" VALUES(2,'every',1700000120000,60000,1,'run hello','["run",["hello"],null,null,"run hello"]',1,1000,'operator','console',NULL,NULL,1,0,1700000000000);
INSERT INTO "jobs" VALUES(6,'in',1700000960000,NULL,0,'pid','["pid",[],null,null,"pid"]',1,1000,'operator','spool',NULL,NULL,1,0,1700000060000);
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('identity','0123456789abcdef');
INSERT INTO "meta" VALUES('last_boot_id','3f1c1f9e-0000-4000-8000-000000000001');
INSERT INTO "meta" VALUES('last_boot_ms',560000);
INSERT INTO "meta" VALUES('last_wall_ms',1700000060000);
INSERT INTO "meta" VALUES('node','example.com');
CREATE TABLE outputs (
  job          INTEGER NOT NULL,
  occurrence   INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  output       BLOB NOT NULL,
  output_bytes INTEGER NOT NULL,                       -- all of it, also what was not kept
  PRIMARY KEY (job, occurrence, attempt)
) STRICT;
INSERT INTO "outputs" VALUES(4,1,1,X'66697273740A',6);
INSERT INTO "outputs" VALUES(5,1,1,X'68656C6C6F0A',6);
CREATE TABLE overrides (
  scope    TEXT NOT NULL DEFAULT '',
  instance TEXT NOT NULL DEFAULT '',
  option   TEXT NOT NULL,                              -- in lower case
  name     TEXT NOT NULL,                              -- as it is shown
  value    TEXT NOT NULL,
  base     TEXT,
  uid      INTEGER NOT NULL,
  user     TEXT NOT NULL,
  origin   TEXT NOT NULL,
  set_ms   INTEGER NOT NULL,
  PRIMARY KEY (scope, instance, option)
) STRICT, WITHOUT ROWID;
INSERT INTO "overrides" VALUES('','','message_expiration','Message_Expiration','300','86400',1000,'operator','console',1700000000000);
CREATE TABLE runs (
  sequence        INTEGER PRIMARY KEY,                 -- order of the claims
  job             INTEGER NOT NULL,
  occurrence      INTEGER NOT NULL,
  due_ms          INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('queued', 'started', 'succeeded', 'failed', 'timed_out',
                                                 'interrupted', 'replaced', 'cancelled', 'skipped', 'missed')),
  reason          TEXT,
  missed_count    INTEGER,                             -- of a row 'missed': how many due times it stands for
  missed_since_ms INTEGER,
  command         TEXT NOT NULL,
  parsed          TEXT,                                -- kept while the run is queued
  grammar         INTEGER,
  uid             INTEGER NOT NULL,
  user            TEXT NOT NULL,
  origin          TEXT NOT NULL,
  attempts        INTEGER NOT NULL DEFAULT 0,
  claimed_ms      INTEGER NOT NULL,
  ended_ms        INTEGER,
  retry_at_ms     INTEGER,                             -- of a row 'queued': when its next attempt is due
  answer          TEXT,                                -- what an internal command answered
  UNIQUE (job, occurrence)
) STRICT;
INSERT INTO "runs" VALUES(1,4,1,1700000000000,'queued','attempt 1 failed: exit status 3; the next one follows',NULL,NULL,'run p',NULL,NULL,1000,'operator','console',1,1700000000000,NULL,1700000064283,NULL);
INSERT INTO "runs" VALUES(2,5,1,1700000000000,'succeeded',NULL,NULL,NULL,'run hello',NULL,NULL,1000,'operator','console',1,1700000000000,1700000000000,NULL,NULL);
INSERT INTO "runs" VALUES(3,2,1,1700000060000,'started',NULL,NULL,NULL,'run hello',NULL,NULL,1000,'operator','console',1,1700000060000,NULL,NULL,NULL);
CREATE INDEX jobs_by_next_run ON jobs (next_run_ms, number) WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0;
CREATE UNIQUE INDEX jobs_declared ON jobs (declared) WHERE declared IS NOT NULL;
CREATE INDEX jobs_paused ON jobs (next_run_ms, number) WHERE paused = 1;
CREATE INDEX runs_queued ON runs (sequence) WHERE state = 'queued';
CREATE INDEX runs_started ON runs (sequence) WHERE state = 'started';
CREATE UNIQUE INDEX drops_by_token ON drops (uid, token) WHERE token IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',6);
INSERT INTO "sqlite_sequence" VALUES('generations',1);
COMMIT;
