"""Problems of the machine and of the paths of an appliance.

Rule: `observe` collects facts, and changes nothing. The other modules decide from the facts alone.
"""
