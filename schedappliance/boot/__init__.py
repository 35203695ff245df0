"""The start of the daemon: `appliance` holds the order of the steps, and `opening` opens each part.

`configuration` finds the configuration to start with. `process` changes limits and signals of the process.
"""
