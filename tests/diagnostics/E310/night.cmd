config set job tidy enabled off
config set job tydi enabled off
config set program tidi timeout 5m
