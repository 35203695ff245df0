"""The turn: takes a batch of events, writes one transaction and returns effects.

Read `turn` first: it names a handler for each event. `state` is what the handlers share. `orders` carries out commands and
claims due jobs. `runs` starts, queues and ends their programs, with `queue` and `running`, and `stopping` sends them signals.
`reload` takes other stanza files, `recovery` is the first turn, and `degraded` is the turn without a disk. `authorization`,
`users` and `audit` decide and log who may do what. `drops`, `alerts`, `alert_limits`, `news`, `waits`, `clock`, `calendars`
and `pruning` do one thing each.

Rule: no threads, sockets or clocks here, so that tests, `preview` and the simulation can drive it.
"""
