"""The transports that come with the appliance: an alert on standard input becomes a mail or a request over HTTP.

Rule: a transport has a deadline, tells a failure that may pass from one that will not, and repeats nothing itself.
"""
