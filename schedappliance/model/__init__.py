"""Trees to meaning: values, option tables, command forms, programs, declared jobs, references. Knows all words; no time."""
