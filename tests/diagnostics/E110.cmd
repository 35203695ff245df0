sched evry 60 run tidy
rnu tidy
