-- `troubles`: the kinds of trouble of the appliance itself that an incident has told. For a degraded appliance, those that an
-- earlier version told are not known, so they are told once more.
ALTER TABLE incidents ADD COLUMN troubles TEXT NOT NULL DEFAULT '';
UPDATE incidents SET troubles = kind WHERE kind = 'reload_refused';
