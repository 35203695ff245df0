"""Programs that talk to a running appliance: the console client, and submit for the spool."""
