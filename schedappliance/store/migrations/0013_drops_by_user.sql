-- The results of the user with the most of them are removed first.

CREATE INDEX drops_by_user ON drops (uid, mark);
