"""One batch of events, one transaction, its effects. Has neither threads nor sockets nor a clock: a simulation drives it."""
