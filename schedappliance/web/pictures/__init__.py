"""Pictures of runs as SVG. Rule: functions of data without effects; what others wrote is escaped, and no style is inline."""
