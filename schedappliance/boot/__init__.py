"""Start of the daemon: process settings, first configuration, wiring of the parts."""
