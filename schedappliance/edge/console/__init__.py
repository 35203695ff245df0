"""The console on its Unix socket: the server, the protocol in text and JSON, and sockets whose paths may be long.

Rule: each request gets one response, in the order of the requests. There is one server and one source of connection
numbers; a second way in is a second listener of that server.
"""
