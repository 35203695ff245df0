sched in 5 quit
sched every 60 sched in 5 shutdown
sched every 60 sched every 60 run tidy
sched in 5 run --wait tidy --now
