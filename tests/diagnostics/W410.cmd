config get message_expiration
#id: deploy-4711
sched list
