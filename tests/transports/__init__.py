"""Tests of the transports of alerts."""
