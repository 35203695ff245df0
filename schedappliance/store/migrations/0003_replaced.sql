-- An attempt whose run gave its place to a newer one of its job is being ended: also the next daemon must know it.

ALTER TABLE attempts ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0 CHECK (replaced IN (0, 1));
