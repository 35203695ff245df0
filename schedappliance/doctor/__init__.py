"""Problems of the machine and the paths of an appliance. `observe` collects facts; the others decide from facts alone."""
