-- Drops are looked up by name and counted by outcome without reading their results.

CREATE INDEX drops_by_name ON drops (name, mark);
CREATE INDEX drops_by_outcome ON drops (accepted);
