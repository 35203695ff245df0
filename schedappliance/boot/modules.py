"""Imports the modules that other modules import late, since a client rarely needs them.

Rule: a running daemon imports nothing. It may have no free descriptor, and an upgrade may have moved its package away.
"""

# ruff: noqa: F401  # imported only to be loaded

from __future__ import annotations

import importlib.resources.readers
import json
import unicodedata

from watchdog import events, observers

from schedappliance.model import calendar_references
from schedappliance.model.calendars import checks, cron, day_sets, oncalendar
from schedappliance.syntax.recovery import lexer, repair
