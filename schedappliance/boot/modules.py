"""Imports, at the start of the daemon, the modules that others import only when they need them. A client needs few of them.

Rule: a running daemon imports nothing. It may have no free descriptor then, and an upgrade moves its package away.
"""

# ruff: noqa: F401  # to import them is all

from __future__ import annotations

import importlib.resources.readers
import json
import unicodedata

from watchdog import events, observers

from schedappliance.model import calendar_references
from schedappliance.model.calendars import checks, cron, day_sets, oncalendar
from schedappliance.syntax.recovery import lexer, repair
