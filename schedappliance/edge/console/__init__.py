"""The console on its Unix socket: the server, the protocol in text and JSON, and sockets whose paths may be long.

Rule: each request gets one response, in the order of the requests. One server numbers all connections.
"""
