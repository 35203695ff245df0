"""Starting: `appliance` is the order of a start, `opening` opens each part.

`configuration` finds what to start with, `process` adapts the process.
"""
