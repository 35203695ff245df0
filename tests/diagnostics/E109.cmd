# The command is missing here:
sched in 5
