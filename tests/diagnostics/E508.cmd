config set program hello timeout 5
config set program hello argv ( "/bin/sh" )
config unset Logs chatter
config get program hello
