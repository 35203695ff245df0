"""The console on its Unix socket: the server, the protocol in text and JSON, and sockets whose paths may be long."""
