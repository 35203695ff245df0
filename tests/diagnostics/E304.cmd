config reload
json summary
