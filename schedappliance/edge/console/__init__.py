"""The console on its Unix socket: the server, its two languages, and sockets under paths of any length."""
