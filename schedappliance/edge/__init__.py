"""The devices of the daemon: each turns what happens outside into events, and performs effects. None decides anything."""
