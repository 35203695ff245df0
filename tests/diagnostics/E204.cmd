sched every 0.5 run tidy
sched in -5 run tidy
sched at 1795370460000 run tidy
