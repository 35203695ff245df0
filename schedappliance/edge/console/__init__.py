"""The console on its Unix socket: the server, the protocol in text and JSON, and sockets under paths of any length."""
