"""Connections to the console of an appliance, and drops into its spool."""
