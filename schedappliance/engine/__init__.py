"""Meaning and events to decisions. Pure: no clock, no store, no threads; same arguments, same answers."""
