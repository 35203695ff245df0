# What is submitted every morning.
sched in 15m run 'a name with blanks'
sched at 2026-11-22T18:01:00Z run report --site "two words"

sched every 1h json run queue
config set Message_Expiration = 86400
config get message_expiration
sched list
