"""The spool directory: taking, reading, publishing; `spool.Spool` brings them together."""
