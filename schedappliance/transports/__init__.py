"""The transports of `schedappliance notify`: they deliver an alert as a mail or as a request over HTTP.

Rule: a transport makes one attempt, and distinguishes a failure that may pass from one that will not.
"""
