"""Calendars: cron and calendar expressions, time zones, and the due times that they give.

Rule: pure; time is an argument, and only zones.py reads time zone data.
"""
